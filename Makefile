# `make` alone says what there is. Every target makes the environments it needs.
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
QPAT := .venv/bin/qpat
RELAX := .environments/relax/bin
PYTEST_ARGS ?=
EXAMPLES ?= 5000
SAMPLES ?= 100
INPUTS ?= 256

.PHONY: help environment demo demo-relay demo-relax test fuzz verify mutants lint types format op-table findings count benchmark clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

environment: ## Make .venv: Python 3.10, qpat, TVM 0.16, development tools
	@scripts/environment relay

# Relay needs Python 3.10. Where there is none, Relax does the same job on any from 3.10 to 3.13.
demo: ## Compile the TFLite patterns and partition a model with them
	@scripts/environment relay; \
	case $$? in \
		0) exec $(MAKE) --no-print-directory demo-relay ;; \
		2) echo 'Going on with TVM 0.27, which has Relax in the place of Relay.' >&2; \
			exec $(MAKE) --no-print-directory demo-relax ;; \
		*) exit 1 ;; \
	esac

demo-relay:
	@mkdir -p build/demo
	$(QPAT) compile patterns/tflite.qpat -o build/demo/tflite_patterns.py
	$(QPAT) partition examples/ds_cnn_kws_int8.tflite --patterns patterns/tflite.qpat \
		--json build/demo/ds_cnn_kws_int8.json --relay build/demo/ds_cnn_kws_int8.relay

demo-relax:
	@scripts/environment relax
	@mkdir -p build/demo
	$(RELAX)/qpat compile patterns/tflite.qpat --target relax --unsaid ignore \
		-o build/demo/tflite_patterns.py
	$(RELAX)/qpat partition examples/ds_cnn_kws_int8.tflite --patterns patterns/tflite.qpat \
		--json build/demo/ds_cnn_kws_int8.json --relax build/demo/ds_cnn_kws_int8.relax

# Without a Python 3.8 the tests on TVM 0.9 are skipped, with that reason, and those on Relax without
# one of 3.10 to 3.13; under CI that is a failure. The script has then said what is missing. Likewise
# the tests that need a browser, but those fail under CI, each for itself.
test: environment ## Run all tests, also on TVM 0.9, 0.26 and 0.27 (PYTEST_ARGS='-k name' for some)
	@scripts/environment tvm-0.16
	@missing=; \
	for each in tvm-0.9 relax relax-0.27 relax-0.26; do \
		scripts/environment $$each || { \
			status=$$?; \
			if [ $$status -ne 2 ] || [ "$$CI" = true ]; then exit $$status; fi; \
			missing="$${missing:+$$missing }$$each"; \
			echo "Going on without it: the tests that need $$each will be skipped." >&2; \
		}; \
	done; \
	scripts/browser || [ "$$CI" = true ] || { \
		missing="$$missing chromium"; \
		echo 'Going on without it: the tests that need a browser will be skipped.' >&2; \
	}; \
	status=0; \
	case " $$missing " in *' relax '*) ;; *) \
		$(RELAX)/python -m pytest --numprocesses auto --maxprocesses 4 tests/relax \
			$(PYTEST_ARGS) || status=$$?; [ $$status -ne 5 ] || status=0 ;; \
	esac; \
	QPAT_MISSING_ENVIRONMENTS=$$missing $(PYTHON) -m pytest --numprocesses auto --maxprocesses 4 \
		$(PYTEST_ARGS) && exit $$status

fuzz: environment ## Random texts, trees, patterns and graphs for as long as it takes (EXAMPLES=5000)
	QPAT_FUZZ_EXAMPLES=$(EXAMPLES) $(PYTHON) -m pytest tests/semantics/test_fuzz.py \
		tests/semantics/test_fuzz_trees.py tests/targets/test_against_tvm_matcher.py \
		tests/relay/test_quantization_random.py tests/relay/test_quantization_per_channel.py \
		tests/single_pass/test_random.py tests/library/test_verdicts.py tests/library/test_parameters.py \
		tests/why/test_why.py tests/library/test_examples.py tests/diagnostics/test_fault_injection.py \
		tests/verify/test_library.py tests/verify/test_mutations.py tests/examples

verify: environment ## Hold the library's meanings against TVM, at length (SAMPLES=100 INPUTS=256)
	$(QPAT) verify patterns/tflite.qpat --samples $(SAMPLES) --inputs $(INPUTS)

mutants: environment ## Count the faults in generated code that `qpat verify` notices
	$(PYTHON) -m tools.mutate_library

lint: environment ## Check style and format
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

types: environment ## Check types
	$(PYTHON) -m mypy

format: environment ## Format the code and mend what can be mended by machine
	$(PYTHON) -m ruff check --fix-only
	$(PYTHON) -m ruff format

op-table: environment ## Write the tables of Relay's and Relax's operators anew, from TVM
	$(PYTHON) tools/dump_ops.py
	@scripts/environment relax-0.27
	.environments/relax-0.27/bin/python tools/dump_relax_ops.py

findings: environment ## Write docs/findings.md anew, from the pages on findings
	$(PYTHON) tools/list_findings.py

count: environment ## Count the lines of the library beside those of TVM's tables
	$(PYTHON) -m tools.count_lines

benchmark: environment ## Measure `qpat check` as a process, and partitioning on both IRs beside TVM (minutes)
	$(PYTHON) -m benchmarks.startup
	$(PYTHON) -m benchmarks.partition
	@scripts/environment relax-0.27
	@mkdir -p build
	$(QPAT) compile patterns/tflite.qpat --target relax --unsaid ignore \
		-o build/tflite_relax.py
	.environments/relax-0.27/bin/python -m benchmarks.relax build/tflite_relax.py

clean: ## Remove what was built and every cache, but not the environments
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . \( -path ./.git -o -path ./.venv -o -path ./.environments \) -prune -o \
		\( -name __pycache__ -o -name .pkl_memoize_py3 \) -type d -exec rm -rf {} +
