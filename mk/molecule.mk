# The roles on hosts: the lock, preflight's judgement and the registry's images; and whole booted Debian hosts.
# Whole hosts: docs/testing-hosts.md.
TESTS += test-hosts test-molecule

MOLECULE         := $(BUILD)/molecule
MOLECULE_SECONDS ?= 3300
KUBECTL_SRC      := molecule/stand_in/kubectl
KUBECTL           = $(CACHE)/kubectl-$(shell cat $(KUBECTL_SRC)/go.mod $(KUBECTL_SRC)/go.sum $(KUBECTL_SRC)/main.go | sha256sum | cut -c1-16)

.PHONY: test-hosts test-molecule molecule-programs molecule-bundle molecule-hosts molecule-single-node molecule-ha
test-hosts: setup ## the lock, preflight's judgement and the registry's images
	$(PYTHON) -m pytest tests/hosts

molecule-programs: controlplane-nodes # what the k3s stand-in runs, and kubectl, which no registry has
	$(call APT,etcd-server etcd-client)
	$(call go_program,kubectl,$(KUBECTL_SRC),$(KUBECTL))
	@mkdir -p $(MOLECULE)/programs/bin
	@# By content: a copy that was cut short, or is newer than the program of another day, is made again.
	@copy() { cmp -s $$1 $$2 || cp --remove-destination $$1 $$2; }; to=$(MOLECULE)/programs; \
	for program in $(BUILD)/controlplane/kube-* $(BUILD)/controlplane/kwok $$(command -v etcd) $$(command -v etcdctl); do \
	  copy $$program $$to/bin/$${program##*/}; done; \
	copy $(KUBECTL) $$to/bin/kubectl; copy tests/cluster/kwok-stages.yaml $$to/kwok-stages.yaml

molecule-bundle: setup molecule-programs # an air-gap bundle of the locked names with stand-in content
	$(call APT,debootstrap apt-utils)
	@rm -rf $(MOLECULE)/bundle
	@archive=$$($(PYTHON) molecule/test_hosts.py image $(CACHE)) && $(PYTHON) molecule/make_bundle.py $(MOLECULE)/bundle $${archive%.tar}.debian

# One scenario, by name and hosts. It is ended from outside, with all of its hosts, when it takes too long.
define molecule
@PATH=$(CURDIR)/$(BUILD)/molecule-env/bin:$$PATH timeout --kill-after=60 $(MOLECULE_SECONDS) nice -n 5 $(PYTHON) molecule/test_hosts.py \
  run $(1) $$($(PYTHON) molecule/test_hosts.py image $(CACHE)) -- molecule/run $(1) $(2)
endef

molecule-hosts: setup collections molecule-bundle # what boots test hosts, or a loud refusal
	$(call APT,systemd-container iproute2 openssh-client openssl procps haproxy util-linux)
	$(call venv,molecule-env,requirements/control.txt requirements/budget.txt molecule/requirements.txt)
	@unshare --net true || { echo "TEST HOSTS WERE NOT BOOTED: this machine cannot make a network namespace (root is needed)"; exit 1; }

test-molecule: molecule-single-node molecule-ha ## the whole site on booted Debian hosts: killed, restored, rotated, grown, upgraded, reset

molecule-single-node: molecule-hosts
	$(call molecule,single_node,node1=198.18.0.11)

molecule-ha: molecule-hosts
	$(call molecule,ha,server1=198.18.0.11 agent1=198.18.0.21 later server2=198.18.0.12 server3=198.18.0.13 agent2=198.18.0.22)
