# Start with `make run` and `make test`. All state is in BAROMETER_HOME (default .barometer/).
.DEFAULT_GOAL := help
.PHONY: help run test check up down clean lock
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# `config lint` needs a database address but no database, and makes the folder of the logs. Its exit code is always 0.
LINT_AIRFLOW := AIRFLOW_HOME="$(CURDIR)/$(VENV)/airflow" AIRFLOW_CONFIG="$(CURDIR)/airflow.cfg" \
  BAROMETER_AIRFLOW_LOGS="$(CURDIR)/$(VENV)/airflow/logs" \
  BAROMETER_AIRFLOW_DATABASE_URL=postgresql+psycopg://lint@127.0.0.1/none

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort

$(READY): requirements.lock requirements-uv.lock pyproject.toml pipeline/models/scoring/kernel.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Found $$($(PYTHON) --version). \
	Expected: Python 3.11 or later. What to do: name one, for example make PYTHON=python3.12 run"; exit 2; }
	@echo "Setting up $(VENV) …"
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@touch $@

run: $(READY)  ## Run the weekly DAG for the latest complete week; make data and a model first if needed
	@$(BIN)/barometer run --bootstrap

# Two files at once (see tests/conftest.py), in their order: the slow ones that wait for Airflow are among the first.
test: $(READY)  ## Run all tests
	$(BIN)/pytest -n 2 --no-loadscope-reorder

check: $(READY)  ## Check format, lint, types, imports, SQL and Airflow's configuration
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint --disable-progress-bar sql examples
	$(LINT_AIRFLOW) $(BIN)/airflow config lint | tee /dev/stderr | grep -q "^No issues found"

up: $(READY)  ## Start Airflow, MLflow and the service on this machine
	@$(BIN)/barometer up

down: $(READY)  ## Stop what `make up` started
	@$(BIN)/barometer down

clean: ## Stop everything and delete all state of this home
	@if [ -x $(BIN)/barometer ]; then $(BIN)/barometer clean --yes; fi

lock: $(READY)  ## Resolve the lock files again from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --group dev \
	  pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group service --constraints requirements.lock --output-file requirements-service.lock
	echo uv | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate - --output-file requirements-uv.lock
