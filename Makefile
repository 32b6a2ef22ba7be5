# `make demo` and `make test` work on a fresh machine: they need python3 (3.11+), make and a package index.
PYTHON ?= python3
VENV ?= .venv
# Many tests wait for processes that they start: more at once than there are cores.
JOBS ?= 3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FRAMEWORKS := $(VENV)/.frameworks
RAY := $(VENV)/.ray
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal
# All of these tests share one cluster, so they run in one process.
PYTEST_RAY := $(BIN)/python -m pytest -m ray
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: help install demo test test-frameworks test-ray test-all test-compose fuzz lint format openapi serve clean

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

$(RAY): $(STAMP)
	@echo "Adding ray to $(VENV), once"
	$(INSTALL) '.[service,worker,datasets,dev,ray]'
	touch $@

demo: $(STAMP) ## tune a real model once, end to end, over HTTP; writes schedule.json
	$(BIN)/python -m examples.demo

test: $(STAMP) ## the tests, without those that are slow or need other frameworks than torch, or Ray
	$(PYTEST) -m 'not slow and not frameworks and not ray'

test-frameworks: $(FRAMEWORKS) ## the tests in keras, optax, transformers and lightning
	$(PYTEST) -m frameworks

test-ray: $(RAY) ## the tests on a cluster of Ray, several nodes on this machine
	$(PYTEST_RAY)

test-all: $(FRAMEWORKS) $(RAY) ## every test
	$(PYTEST) -m 'not ray'
	$(PYTEST_RAY)

test-compose: ## the deployment of docker-compose.yml, from a clean clone; needs docker
	tests/compose/run

fuzz: $(STAMP) ## thousands of made-up requests, with and without a key, against the API's description
	$(BIN)/python -m pytest tests/service/test_fuzzing.py -rP

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
