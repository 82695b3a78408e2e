# What is published and installed: the changelog, and the collection's artifact under Ansible's own checks.
COLLECTION := $(BUILD)/collections/ansible_collections/opsta/ai_gateway
CHANGELOG  := $(BUILD)/changelog/bin/antsibull-changelog
SANITY     := $(BUILD)/sanity
# ansible-test keeps its environments in the home directory; here that is the cache.
SANITY_HOME := $(CACHE)/ansible-test

LINTS += lint-sanity

.PHONY: changelog lint-sanity
changelog: setup ## CHANGELOG.md from changelogs/fragments, for the version in galaxy.yml
	$(call venv,changelog,requirements/changelog.txt)
	cd $(COLLECTION) && $(CURDIR)/$(CHANGELOG) lint
	cd $(COLLECTION) && $(CURDIR)/$(CHANGELOG) release --update-existing --refresh --reload-plugins

# A repository of its own tells ansible-test which files there are: it would ask this checkout, which ignores them.
# pip's settings reach ansible-test's environments as a file: it hides environment variables from them.
lint-sanity: collections ## ansible-test sanity of the built artifact; tests/sanity says what is skipped, and why
	@rm -rf $(SANITY); mkdir -p $(SANITY) $(SANITY_HOME)/.ansible/test/cache $(SANITY_HOME)/.config/pip
	$(VENV)/bin/ansible-galaxy collection build --force --output-path $(SANITY) >$(SANITY)/build.log
	$(VENV)/bin/ansible-galaxy collection install --force --no-deps --collections-path $(SANITY) $(SANITY)/*.tar.gz >$(SANITY)/install.log 2>&1
	cd $(SANITY); ANSIBLE_COLLECTIONS_PATH=$(CURDIR)/$(SANITY):$(CURDIR)/$(BUILD)/collections $(CURDIR)/$(VENV)/bin/ansible-playbook \
	  --syntax-check -i $(CURDIR)/inventories/single_node opsta.ai_gateway.site opsta.ai_gateway.upgrade opsta.ai_gateway.bundle >syntax.log
	@cd $(SANITY)/ansible_collections/opsta/ai_gateway; for file in plugins/modules/*.py plugins/lookup/*.py; do \
	  echo "$$file validate-modules:missing-gplv3-license # the collection is Apache-2.0" >>tests/sanity/ignore-2.19.txt; done
	@exec 9>$(CACHE)/ansible-test.lock; flock 9; \
	{ echo '[global]'; env | sed -nE 's/^PIP_([A-Z_]+)=(.*)/\L\1\E = \2/p'; } >$(SANITY_HOME)/.config/pip/pip.conf; \
	cp tests/sanity/get_pip.py $(SANITY_HOME)/.ansible/test/cache/get_pip_24_2.py; \
	cd $(SANITY)/ansible_collections/opsta/ai_gateway; git init --quiet; HOME=$(SANITY_HOME) LC_ALL=C.UTF-8 $(CURDIR)/$(VENV)/bin/ansible-test sanity \
	  --python $$($(CURDIR)/$(PYTHON) -c 'import sys; print(f"{sys.version_info.major}.{sys.version_info.minor}")') \
	  $$(sed -E 's/ *#.*//; s/^/--skip-test /' tests/sanity/skipped.txt) >$(CURDIR)/$(SANITY)/sanity.log 2>&1 \
	  && ! grep -q 'All targets skipped' $(CURDIR)/$(SANITY)/sanity.log || { cat $(CURDIR)/$(SANITY)/sanity.log; exit 1; }

.PHONY: lock
lock: setup ## digests of everything in versions.yml that has none yet, from its publisher; needs the internet
	$(call APT,skopeo)
	$(PYTHON) commands/lock.py versions.yml

# The tests' registry is Debian's own; its account is made by the Python that a registry's host has.
.PHONY: registry-programs
registry-programs:
	$(call APT,docker-registry python3-bcrypt)
test-hosts: registry-programs
