# One word for each act. `make run` and `make test` do all of their own set-up.
# Names beginning with a dot are stamps: the act is done again when what it depends on is newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run
DEV := $(VENV)/.dev

.PHONY: run lock
.DEFAULT_GOAL := run

run: $(RUN)
	$(BIN)/tusd-py serve

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# uv where it is on PATH (seconds), else pip: both read the same locked versions and hashes.
INSTALL = if command -v uv >/dev/null; then VIRTUAL_ENV=$(VENV) uv pip install --quiet $(1); else $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1); fi

$(RUN): pyproject.toml requirements.lock | $(BIN)/python
	@$(call INSTALL,--require-hashes -r requirements.lock)
	@$(call INSTALL,--no-deps --no-build-isolation -e .)
	@touch $@

$(DEV): pyproject.toml requirements-dev.lock | $(BIN)/python
	@$(call INSTALL,--require-hashes -r requirements-dev.lock)
	@$(call INSTALL,--no-deps --no-build-isolation -e .)
	@touch $@

LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
lock:
	$(LOCK) --group build pyproject.toml -o requirements.lock
	$(LOCK) --group dev pyproject.toml -o requirements-dev.lock
