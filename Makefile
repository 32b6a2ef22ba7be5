# `make demo` and `make test` work on a fresh machine: they need python3 (3.11+), make and a package index.
PYTHON ?= python3
VENV ?= .venv
# Many tests wait for processes that they start: more at once than there are cores.
JOBS ?= 3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FRAMEWORKS := $(VENV)/.frameworks
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: help install demo test test-frameworks test-all fuzz lint format openapi serve clean

help: ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## create the virtual environment with everything in it

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV), once: torch and the rest take a few minutes"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lrtuner needs Python 3.11 or newer: set PYTHON=python3.12, say")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[service,worker,datasets,dev]'
	touch $@

$(FRAMEWORKS): $(STAMP)
	@echo "Adding keras, jax, optax, transformers and lightning to $(VENV), once"
	$(INSTALL) '.[service,worker,datasets,dev,frameworks]'
	touch $@

demo: $(STAMP) ## tune a real model once, end to end, over HTTP; writes schedule.json
	$(BIN)/python -m examples.demo

test: $(STAMP) ## the tests, without those that are slow or need other frameworks than torch
	$(PYTEST) -m 'not slow and not frameworks'

test-frameworks: $(FRAMEWORKS) ## the tests in keras, optax, transformers and lightning
	$(PYTEST) -m frameworks

test-all: $(FRAMEWORKS) ## every test
	$(PYTEST)

fuzz: $(STAMP) ## thousands of made-up requests, with and without a key, against the API's description
	$(BIN)/python -m pytest tests/service/test_fuzzing.py

lint: $(STAMP) ## formatter check, linter, types, import contracts, dependency check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry lrtuner service worker migrations

format: $(STAMP) ## format the code and sort the imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: $(STAMP) ## write docs/openapi.json, the description of the API that reviews see
	$(BIN)/python -m service.describe > docs/openapi.json

serve: $(STAMP) ## API and one worker on the embedded database, for development
	$(BIN)/lrtuner serve

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
