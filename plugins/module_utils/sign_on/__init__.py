"""Single sign-on: who a Workspace account is to the gateway, and the configs of the parts that carry it.

``mapping`` is pure and needs the standard library alone, as ``gate`` runs with it on a stock Python image;
``config`` renders the configs of oauth2-proxy and of the proxy in front of Grafana.
"""
