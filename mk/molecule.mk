# The roles' own tests: the lock, preflight's judgement, the registry's images. Whole hosts: docs/testing-hosts.md.
TESTS += test-hosts

.PHONY: test-hosts
test-hosts: setup ## the lock, preflight's judgement and the registry's images
	$(PYTHON) -m pytest tests/hosts
