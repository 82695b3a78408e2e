# The spec, the policy and the plan: pure Python, no network.
TESTS += test-unit
LINTS += lint-python lint-ansible

.PHONY: schemas test-unit lint-python lint-ansible
schemas: setup ## the JSON Schemas for editors, from the spec's models
	$(PYTHON) -c "from pathlib import Path; from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec.schema import write_schemas; write_schemas(Path('schemas'))"

test-unit: setup ## unit tests of the spec, the policy and the plan
	$(PYTHON) -m pytest tests/unit

lint-python: setup ## ruff, mypy, and the layers of module_utils
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-cache >$(BUILD)/lint-imports.log || { cat $(BUILD)/lint-imports.log; exit 1; }
	MYPYPATH=$(BUILD)/collections $(VENV)/bin/mypy -p ansible_collections.opsta.ai_gateway.plugins.module_utils

lint-ansible: collections ## ansible-lint, profile production
	ANSIBLE_INVENTORY_UNPARSED_FAILED=false $(VENV)/bin/ansible-lint --offline
