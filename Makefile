# Everything here works on a fresh machine that has Python 3.11 or later, and touches nothing
# outside this folder (apart from Debian packages, when run as root).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
MINUTES ?= 30
SAMPLE ?= 1000

# What pip has to say is in a file, and shown when it fails.  It would compile with one core, and the
# tests of others too.
install = $(BIN)/python -m pip install --disable-pip-version-check --no-warn-script-location \
  --no-compile -e '$(1)' >$(VENV)/setup.log 2>&1 || { cat $(VENV)/setup.log >&2; exit 1; }; \
  $(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || true

.PHONY: help demo test packages quick wheel soak mutants rows lint bench clean
.DEFAULT_GOAL := help

help:  ## say what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "orbitferry needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Say which one to use: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@$(call install,.[sim])
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@$(call install,.[dev])
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run  ## run the main job: 24 hours of passes, a job in orbit, results down
	@$(BIN)/orbitferry loopback examples/sso_day/scenario.toml --report out/demo $(ARGS)

# Processes that tests start would each compile every module if Python were told to keep nothing.
test quick: export PYTHONDONTWRITEBYTECODE :=
# Many of them wait for the disk: their files are in memory where there are 2 GB of room.
test quick: export TMPDIR := $(or $(shell grep -qs ' /dev/shm [^ ]* [^ ]*noexec' /proc/mounts || \
  df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 2e6 && $$6 == "/dev/shm" {print $$6}'),$(TMPDIR))
test quick: RUN = $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

test:  ## run every check and test (7 to 14 minutes on 2 cores)
	@$(MAKE) -s -j2 $(VENV)/.dev packages
	@$(RUN) $(ARGS)

packages:
	@sh scripts/system-packages.sh

quick: $(VENV)/.dev  ## run the quick part of the tests (2 minutes; up to 5 on a slow machine)
	@$(RUN) -m 'not slow' --hypothesis-profile fewer $(ARGS)

wheel: $(VENV)/.dev  ## try the built package in an empty environment, as a newcomer does
	@$(BIN)/python scripts/try_wheel.py

soak: $(VENV)/.dev  ## run everything that has a seed with fresh ones (MINUTES=30)
	@$(BIN)/python -m tests.fuzz.soak --minutes $(MINUTES) --jobs $(JOBS) $(ARGS)

mutants: $(VENV)/.dev  ## see whether the tests notice changed code (SAMPLE=1000 SEED=...; hours)
	@$(BIN)/python scripts/mutants.py --sample $(SAMPLE) $(if $(SEED),--seed $(SEED)) --jobs $(JOBS) $(ARGS)

rows: $(VENV)/.dev  ## break the rule of each row of the record of conformance: its tests must fail
	@$(BIN)/python -m tests.conformance.rows $(ARGS)

lint: $(VENV)/.dev  ## formatting, style, types and import layers only
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.run  ## run the benchmarks and print their tables
	@$(BIN)/orbitferry bench $(ARGS)

clean:  ## remove what the other targets made
	rm -rf $(VENV) build dist out mutants *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
