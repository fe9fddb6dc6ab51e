# make benchmark · make test · make report: each sets up what it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
PROFILE ?= quick
ARGS   ?=

export TOKENIZERS_PARALLELISM := false
export HF_HUB_DISABLE_TELEMETRY := 1

MIRROR  ?= mirror
SOURCES ?= all
TASKS   ?= all

.PHONY: help setup benchmark test lint types report mirror clean
help:
	@echo "make benchmark   compress, score, gate and report (PROFILE=quick JOBS=2 ARGS='--seeds 3')"
	@echo "make setup       the environment alone; then . $(VENV)/bin/activate, and pytest benchmarks --help"
	@echo "make test        lint, type checks and tests"
	@echo "make mirror      write sources and tasks for machines without a network (MIRROR=folder SOURCES=c4,dclm TASKS=none)"
	@echo "make report      judge and report again from the store, without running a case"

# One stamp file: set up again when the pins or the project's metadata change.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Calibench needs Python >= 3.11, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	# torch by its exact pin first: a range lets pip pick a newer build of several gigabytes.
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(VENV)/.ready

benchmark: $(VENV)/.ready
	$(BIN)/python -m pytest benchmarks --profile $(PROFILE) -n $(JOBS) --threads 1 --benchmark-disable $(ARGS)
	$(BIN)/python -m pytest benchmarks/test_compression_speed.py -m speed

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy compressors fixtures reports benchmarks conftest.py

test: $(VENV)/.ready lint types
	$(BIN)/python -m pytest tests -n $(JOBS) --dist worksteal --benchmark-disable $(ARGS)

report: $(VENV)/.ready
	$(BIN)/python -m pytest benchmarks --profile $(PROFILE) --judge-only $(ARGS)

mirror: $(VENV)/.ready
	$(BIN)/python -m fixtures mirror $(MIRROR) --sources "$(SOURCES)" --tasks "$(TASKS)"

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
