PYTHON ?= python3
ARGS ?=

# Or each of the processes that the tests start compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Written when everything in the file of the same name is installed, so a broken-off install is
# taken up again.
RUN := .venv/requirements.installed
TEST := .venv/tests-requirements.installed

# The venv's Python is a link, and an upgrade of the system may leave it pointing nowhere.
GONE := $(if $(shell test -x $(BIN)/python && echo there),,gone)

HAS_PIP = $(shell $(BIN)/python -m pip --version 2>/dev/null)
IS_NEW = $(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null)
NEEDS_NEW = sharedstate needs Python 3.11 or newer, which $(PYTHON) is not: make PYTHON=python3.12
NEW_VENV = $(if $(IS_NEW),,$(error $(NEEDS_NEW)))@$(PYTHON) -m venv --clear .venv

.DEFAULT_GOAL := help
.PHONY: help run test test-fast check docs race torture bench clean gone servers flask-caching

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s  %s\n", $$1, $$2 }' Makefile

run: $(RUN)  ## serve the application; ARGS="…" goes to app.py
	@exec $(BIN)/python app.py $(ARGS)

# Half of the time the tests wait for servers, so there are more workers than two cores can keep
# busy. A file's tests stay together, as they share some servers; tests/conftest.py orders the files.
PYTEST = $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test: $(TEST) servers flask-caching  ## run every test; ARGS="…" goes to pytest
	@exec $(PYTEST) $(ARGS)

test-fast: $(TEST) servers flask-caching  ## run the tests that are not marked slow
	@exec $(PYTEST) -m "not slow" $(ARGS)

check: $(TEST) docs  ## lint, formatting, types and the documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# -W: a warning is an error. No network is asked.
docs: $(TEST)  ## build the documentation, into build/docs
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

race: $(TEST)  ## race every way of sharing state under every server; ARGS="--help"
	@exec $(BIN)/python -m race $(ARGS)

torture: $(TEST) servers  ## every operation while clients and servers fail; ARGS="--help"
	@exec $(BIN)/python -m torture $(ARGS)

bench: $(TEST) servers  ## measure the stores, then the service
	$(BIN)/python -m bench.stores
	$(BIN)/python -m bench.http

clean:  ## remove what make made; the state in instance/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

servers:
	@sh tests/install_servers.sh

flask-caching: $(TEST)
	@$(BIN)/python tests/fetch_flask_caching.py

$(RUN): requirements.txt $(GONE)
	$(if $(HAS_PIP),,$(NEW_VENV))
	@echo "Installing requirements.txt into .venv"
	@$(PIP) install -r requirements.txt
	@touch $@

$(TEST): tests/requirements.txt docs/requirements.txt $(RUN)
	@echo "Installing tests/requirements.txt into .venv"
	@$(PIP) install -r tests/requirements.txt
	@touch $@
