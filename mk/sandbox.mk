# The sandbox: the gateway on this machine, without Kubernetes.
SANDBOX ?= $(CURDIR)/.sandbox
# CHECK=1: say what would change, and change nothing.
CHECK   ?=

.PHONY: site down test-sandbox lint-sandbox
site: collections ## run the gateway: Project files become a running, guarded gateway; CHECK=1 says what would change
	$(call APT,curl jq)
	@$(if $(CHECK),ANSIBLE_DISPLAY_OK_HOSTS=false ANSIBLE_DISPLAY_SKIPPED_HOSTS=false) ansible-playbook playbooks/site.yml -i $(INVENTORY) \
	  $(if $(filter sandbox,$(notdir $(INVENTORY))),-e sandbox_dir=$(SANDBOX)) $(if $(CHECK),--check --diff) $(ARGS)
	@if [ -z "$(CHECK)$(findstring --check,$(ARGS))" ] && [ -e $(SANDBOX)/summary.txt ]; then echo; cat $(SANDBOX)/summary.txt; fi

down: setup ## stop everything that `make site` started; nothing is lost
	@said=$$(ansible localhost -i localhost, -c local -m opsta.ai_gateway.sandbox_services \
	  -a "directory=$(SANDBOX) program=$(CURDIR)/$(VENV)/bin/supervisord state=stopped" \
	  -e ansible_python_interpreter=$(CURDIR)/$(PYTHON)) || { echo "$$said"; exit 1; }; \
	echo "The sandbox is stopped; make site brings the same state back."

test-sandbox: collections ## the gateway as its clients meet it, on real parts
	$(call APT,wabt curl)
	$(PYTHON) -m pytest tests/sandbox

lint-sandbox: setup ## types of the sandbox's services
	MYPYPATH=$(BUILD)/collections mypy -p ansible_collections.opsta.ai_gateway.sandbox

TESTS += test-sandbox
LINTS += lint-sandbox
