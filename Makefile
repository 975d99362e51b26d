# make demo   a study with three hospitals on this machine; needs nothing but Python 3.11 or newer
# make test   the tests; make lint, docs, docs-check, wheel-test: what .ci/run checks besides
# Every target sets up the virtual environment itself; VENV=folder puts it elsewhere.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
TORCH := $(shell grep '^torch==' constraints.txt)
BASE := $(VENV)/.wardround-base
DEV := $(VENV)/.wardround-dev

# Idle OpenMP threads must not spin on shared cores, and no dependency may call home.
export OMP_WAIT_POLICY := passive
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export PYTHONPATH :=

.PHONY: help
help:
	@sed -n 's/^# //p' Makefile | head -3

$(BIN)/python:
	@deploy/ci/make-venv "$(VENV)"

# torch comes first and alone: where pip is offered a build for machines without a GPU, it is taken.
$(BASE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing wardround into $(VENV) (a few minutes the first time) …"
	@$(PIP) install "$(TORCH)"
	@$(PIP) install -c constraints.txt -e .
	@touch "$@"

$(DEV): pyproject.toml constraints.txt | $(BASE)
	@echo "Installing the development tools …"
	@$(PIP) install "$(TORCH)"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch "$@" "$(BASE)"

.PHONY: install dev
install: $(BASE)
dev: $(DEV)

.PHONY: demo
demo: $(BASE)
	@$(BIN)/wardround demo

# Tests run as many processes as there are cores, each on one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup

.PHONY: test test-full
test: $(DEV)
	@$(PYTEST) -m "not slow"

test-full: $(DEV)
	@$(PYTEST)

.PHONY: lint
lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .links/wardround deploy/docs/generator
	@PYTHONPATH=.links $(BIN)/lint-imports --no-logo

.PHONY: docs docs-check
docs: $(DEV)
	@$(BIN)/python deploy/docs/generator/generate.py

docs-check: $(DEV)
	@$(BIN)/python deploy/docs/generator/generate.py --check

.PHONY: wheel-test
wheel-test: $(DEV)
	@deploy/ci/wheel-test "$(BIN)/python"

.PHONY: clean
clean:
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find common server client simulations tests deploy -name __pycache__ -type d -prune -exec rm -rf {} +
