"""Stand-in for ai-quota and ai-token-ratelimit, which need Redis host calls that stock Envoy lacks.

`authz` checks before a request, `usage` debits after it; both keep the real plugins' Redis keys and refusals.
"""
