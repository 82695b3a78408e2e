# What is published and installed: the changelog, the lock, and Ansible's own checks of the collection's artifact.
COLLECTION := $(BUILD)/collections/ansible_collections/opsta/ai_gateway
CHANGELOG  := $(BUILD)/changelog/bin/antsibull-changelog

.PHONY: changelog
changelog: setup ## CHANGELOG.md from changelogs/fragments, for the version in galaxy.yml
	$(call venv,changelog,requirements/changelog.txt)
	cd $(COLLECTION) && $(CURDIR)/$(CHANGELOG) lint
	cd $(COLLECTION) && $(CURDIR)/$(CHANGELOG) release --update-existing --refresh
