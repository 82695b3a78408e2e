# The data plane's benchmark: real parts, their CPU and throughput beside what a user would pick instead.
TESTS   += test-bench
LINTS   += lint-bench
BENCHES += bench-dataplane

PORTKEY_KEY  = $(shell cat bench/portkey/package-lock.json | sha256sum | cut -c1-16)
PORTKEY      = $(CACHE)/portkey-$(PORTKEY_KEY)
PROVIDER_KEY = $(shell cat bench/provider/go.mod bench/provider/main.go requirements/cluster.txt | sha256sum | cut -c1-16)
PROVIDER     = $(CACHE)/bench-provider-$(PROVIDER_KEY)
WHEELS       = $(CACHE)/higress
BENCH_VENV   = requirements/control.txt requirements/bench-dataplane.txt

.PHONY: bench-tools bench-dataplane bench-quick test-bench lint-bench
# go_program is mk/cluster.mk's: one toolchain for everybody.
bench-tools: setup
	$(call APT,nghttp2-client redis-server $(if $(shell command -v npm),,nodejs npm))
	$(call venv,bench-dataplane,$(BENCH_VENV))
	$(call venv,bench-litellm,requirements/bench.txt)
	@mkdir -p $(PORTKEY); exec 9>$(PORTKEY)/.lock; flock 9; if [ ! -e $(PORTKEY)/.complete ]; then \
	  cp bench/portkey/package.json bench/portkey/package-lock.json $(PORTKEY); \
	  npm ci --prefix $(PORTKEY) --ignore-scripts --no-audit --no-fund --silent; touch $(PORTKEY)/.complete; fi
	$(call go_program,the provider,bench/provider,$(PROVIDER)/provider)
	@mkdir -p $(WHEELS); exec 9>$(WHEELS)/.lock; flock 9; for pinned in roles/sandbox/files/higress-*.txt; do \
	  version=$${pinned##*-}; test -e $(WHEELS)/gpustack_higress_plugins-$${version%.txt}-py3-none-any.whl || \
	  $(PYTHON) -m pip --disable-pip-version-check download -q --no-deps --require-hashes -r $$pinned -d $(WHEELS); done

bench-dataplane: bench-tools ## CPU and throughput filter by filter, beside LiteLLM and Portkey: artifacts/bench
	$(BUILD)/bench-dataplane/bin/python -m bench $(QUICK) --envoy $(abspath $(BUILD))/envoy/bin/envoy \
	  --provider $(PROVIDER)/provider --wheels $(WHEELS) --guards files/wasm --stand-ins sandbox/names --python $(abspath $(PYTHON)) \
	  --litellm $(abspath $(BUILD))/bench-litellm/bin/litellm \
	  --portkey $(PORTKEY)/node_modules/@portkey-ai/gateway/build/start-server.js

bench-quick: ## the same in a minute or two, roughly
	$(MAKE) bench-dataplane QUICK=--quick

test-bench: setup ## arithmetic and parsing of the benchmark; nothing is timed
	$(PYTHON) -m pytest tests/bench

lint-bench: setup
	$(call venv,bench-dataplane,$(BENCH_VENV))
	$(VENV)/bin/ruff check bench tests/bench
	MYPYPATH=$(BUILD)/collections $(VENV)/bin/mypy --disable-error-code import-untyped \
	  --python-executable $(BUILD)/bench-dataplane/bin/python bench
