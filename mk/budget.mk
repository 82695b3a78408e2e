# The budget controller: its tests run against a Redis of their own.
TESTS += test-budget
LINTS += lint-budget
BENCHES += bench-budget

BUDGET_PYTEST = PYTHONPATH=$(BUILD)/collections:tests/budget:. $(PYTHON) -m pytest
BUDGET_LEDGER := $(addprefix tests/budget/test_ledger_,properties.py mutations.py)
BUDGET_ZIPAPP := $(BUILD)/budget-controller.pyz

.PHONY: test-budget lint-budget bench-budget budget-tools
budget-tools: setup
	$(call APT,redis-server)

test-budget: budget-tools collections ## the budget controller: ledger properties, mutations, commands, and dollars on the real chain
	@# In a process of its own: which sequences Hypothesis makes depends on the modules that are loaded.
	$(BUDGET_PYTEST) $(BUDGET_LEDGER)
	$(BUDGET_PYTEST) tests/budget $(addprefix --ignore=,$(BUDGET_LEDGER))

lint-budget: setup ## mypy --strict on the budget controller
	$(VENV)/bin/mypy --strict budget_controller

bench-budget: budget-tools ## one tick for 100,000 and 1,000,000 consumers, under artifacts/budget
	$(PYTHON) -m budget_controller.bundle $(BUDGET_ZIPAPP)
	PYTHONPATH=tests/budget $(PYTHON) tests/budget/bench.py --zipapp $(BUDGET_ZIPAPP) --artifacts artifacts/budget
