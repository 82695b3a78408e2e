# The guards: Rust, built to files/wasm with Debian's compiler so that everybody gets the same bytes.
TESTS += test-guards
LINTS += lint-guards

GUARDS_PACKAGES := rustc-web cargo-web rust-web-src lld-19 gcc libc6-dev ca-certificates
# What the bytes depend on; builds of the same content share a target directory.
GUARDS_SOURCES = $(shell find guards -name target -prune -o -type f \( -name '*.rs' -o -name '*.toml' -o -name Cargo.lock -o -name '*.sh' \) -print | sort)
GUARDS_KEY     = $(shell cat $(GUARDS_SOURCES) | sha256sum | cut -c1-16)
GUARDS_CARGO   = cd guards && RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=$(CACHE)/guards-native /usr/bin/cargo

.PHONY: guards guards-tools test-guards test-guards-native test-guards-envoy test-guards-bytes lint-guards
guards-tools:
	$(call APT,$(GUARDS_PACKAGES))

guards: guards-tools ## build the guards into files/wasm
	guards/build.sh $(CURDIR)/files/wasm $(CACHE)/guards-wasm

test-guards: test-guards-native test-guards-bytes test-guards-envoy ## guards: unit tests, same bytes again, in a stock Envoy

test-guards-native: guards-tools
	$(GUARDS_CARGO) test --quiet --locked --workspace --tests

test-guards-bytes: setup guards-tools
	@# A result is kept for as long as neither the sources nor the shipped bytes change.
	@mkdir -p $(CACHE)/guards-bytes; done=$(CACHE)/guards-bytes/$(GUARDS_KEY)-$$(cat files/wasm/* | sha256sum | cut -c1-16); \
	if [ -e $$done ]; then echo "the shipped guards are these sources' (built before on this machine)"; \
	else GUARDS_TARGET=$(CACHE)/guards-wasm $(PYTHON) -m pytest tests/guards/test_bytes.py && touch $$done; fi

test-guards-envoy: setup
	$(PYTHON) -m pytest tests/guards --ignore=tests/guards/test_bytes.py

# By absolute path: cargo would rather take a rustup clippy from its home.
GUARDS_CLIPPY = cd guards && CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=$(CACHE)/guards-clippy /usr/bin/cargo-clippy clippy

lint-guards: setup guards-tools
	$(call APT,rust-web-clippy rustfmt shellcheck)
	cd guards && find . -name target -prune -o -name '*.rs' -print | xargs /usr/bin/rustfmt --edition 2021 --check
	$(GUARDS_CLIPPY) --quiet --locked --workspace --all-targets -- -D warnings
	shellcheck guards/build.sh

BENCHES += bench-guards
.PHONY: bench-guards
bench-guards: setup ## the guards' cost in a stock Envoy
	cd tests && $(CURDIR)/$(PYTHON) -m guards.bench

.PHONY: fuzz-guards
fuzz-guards: setup guards-tools ## guards: fuzz what reads requests and answers against a strict parser, FUZZ_SECONDS each
	$(call FUZZ,guards/core,guards.seeds,json request wording answer)
