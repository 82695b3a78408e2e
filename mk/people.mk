# People's side: dashboards, rules, telemetry, roles and single sign-on, with the real oauth2-proxy, nginx, Redis, Chromium and promtool.
TESTS += test-people
LINTS += lint-people

OAUTH2_PROXY_SRC := tests/people/oauth2_proxy
OAUTH2_PROXY_KEY  = $(shell cat $(OAUTH2_PROXY_SRC)/go.mod $(OAUTH2_PROXY_SRC)/go.sum requirements/cluster.txt | sha256sum | cut -c1-16)
OAUTH2_PROXY      = $(CACHE)/oauth2-proxy-$(OAUTH2_PROXY_KEY)

.PHONY: dashboards oauth2-proxy test-people lint-people
dashboards: setup ## Grafana's JSON of every dashboard, in .build/dashboards
	$(PYTHON) -m dashboards $(BUILD)/dashboards

# go_program is mk/cluster.mk's: one toolchain for everybody.
oauth2-proxy: setup
	$(call go_program,oauth2-proxy,$(OAUTH2_PROXY_SRC),$(OAUTH2_PROXY)/oauth2-proxy,github.com/oauth2-proxy/oauth2-proxy/v7)
	@ln -sfn $(abspath $(OAUTH2_PROXY))/oauth2-proxy $(BUILD)/oauth2-proxy

lint-people: setup ## rules, and the types of the dashboards' generator
	$(call APT,prometheus)
	promtool check rules rules/*.yml
	MYPYPATH=$(BUILD)/collections $(VENV)/bin/mypy --follow-imports=silent dashboards tests/people

test-people: oauth2-proxy controlplane-nodes collections ## dashboards, alerts, roles and a whole sign-on, with its picture in artifacts/people
	$(call APT,prometheus redis-server nginx-light chromium)
	promtool test rules rules/tests/*.yml
	$(PYTHON) -m pytest tests/people
