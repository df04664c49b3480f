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
MANIFESTS := pyproject.toml core/src/runinference/_version.py core/pyproject.toml \
    plugins/cli/pyproject.toml plugins/pytorch/pyproject.toml plugins/sklearn/pyproject.toml
DISTRIBUTIONS := core plugins/cli plugins/pytorch plugins/sklearn

.PHONY: help
help:
	@echo "Commands:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

$(VENV)/.dev: $(VENV)/.pip $(MANIFESTS)
	@echo "Installing all distributions, PyTorch and the tools into $(VENV); once, some minutes"
	@$(BIN)/python -m pip install --quiet $(addprefix -e ./,$(DISTRIBUTIONS)) --group test --group check
	@touch $(VENV)/.demo $@

DEMO := build/demo

.PHONY: demo
demo: $(VENV)/.demo  ## score scikit-learn's digits through the command line
	@rm -rf $(DEMO)
	@$(BIN)/python examples/digits/make_digits.py $(DEMO)
	@printf '\nScoring them with this command:\n\n'
	$(BIN)/runinference score \
	    --handler sklearn-numpy --handler.model_uri $(DEMO)/model.skops \
	    --input '$(DEMO)/digits/*.parquet' --keep label --output $(DEMO)/scored
	@echo
	@$(BIN)/python examples/digits/show_results.py $(DEMO)/scored

.PHONY: test
test: $(VENV)/.dev  ## run all tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: check
check: $(VENV)/.dev  ## lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

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

.PHONY: coverage
coverage: $(VENV)/.dev  ## run all tests and report the lines that none reached
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

.PHONY: bench-check
bench-check: $(VENV)/.dev  ## compare the last results with what is promised
	@$(BENCH) check

.PHONY: bench-page
bench-page: $(VENV)/.dev  ## write the last results into docs/benchmarks.md
	@$(BENCH) page

.PHONY: clean
clean:  ## remove what the other commands made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find core plugins tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
