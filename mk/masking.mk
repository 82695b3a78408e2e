# Masking: the guard data-masking in a stock Envoy. Its engine's own tests are the guards' native ones.
.PHONY: test-masking lint-masking bench-masking
test-masking: setup ## masking: every shape, streams, restoring, moving engines under load
	$(PYTHON) -m pytest tests/masking

lint-masking: setup
	$(VENV)/bin/ruff check tests/masking
	$(VENV)/bin/ruff format --check tests/masking

bench-masking: setup ## masking beside ai-data-masking: CPU, memory, precision and recall
	PYTHONPATH=$(BUILD)/collections:tests $(PYTHON) -m masking.bench

TESTS += test-masking
LINTS += lint-masking
BENCHES += bench-masking
