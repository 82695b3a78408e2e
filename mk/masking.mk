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

# Coverage-guided fuzzing with Debian's stable compiler: its own pass puts in what libFuzzer counts. Only the target's
# code gets it, not build scripts: hence --target.
FUZZ_SECONDS ?= 60
FUZZ_DIR     := $(CACHE)/guards-fuzz
FUZZ_HOST     = $(shell /usr/bin/rustc -vV | sed -n 's/^host: //p')
FUZZ_FLAGS   := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg=fuzzing
# $(call FUZZ,crate,module that writes the seeds,targets): each target for FUZZ_SECONDS, findings in .build/fuzz.
define FUZZ
	$(call APT,g++)
	cd $(1)/fuzz && RUSTC=/usr/bin/rustc RUSTFLAGS="$(FUZZ_FLAGS)" CARGO_TARGET_DIR=$(FUZZ_DIR) \
	  /usr/bin/cargo build --quiet --locked --release --target $(FUZZ_HOST)
	PYTHONPATH=$(BUILD)/collections:tests $(PYTHON) -m $(2) $(FUZZ_DIR)/corpus
	mkdir -p $(BUILD)/fuzz
	for target in $(3); do echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  $(FUZZ_DIR)/$(FUZZ_HOST)/release/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
	    -verbosity=0 -print_final_stats=1 -artifact_prefix=$(BUILD)/fuzz/$$target- $(FUZZ_DIR)/corpus/$$target || exit; done
endef

.PHONY: fuzz-masking
fuzz-masking: setup guards-tools ## masking: fuzz bodies, texts, streams and planted secrets for FUZZ_SECONDS each; findings in .build/fuzz
	$(call FUZZ,guards/masking,masking.seeds,body text events leak)
