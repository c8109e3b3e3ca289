# What a checkout can do. Needs python3 (>= 3.11) and make; everything else is installed into .venv.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := plugins/aws_asg plugins/aws_ec2fleet plugins/aws_spotfleet plugins/aws_runinstances
STAMP := $(VENV)/.installed
# More than there are cores: many tests wait for processes and for the clock.
WORKERS ?= 6

.DEFAULT_GOAL := help
.PHONY: help env compiled demo test chaos bench golden lint format docs wheels-test lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

env: $(STAMP) ## Make the environment in .venv

$(STAMP): pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -e '.[aws,testing]' $(PLUGINS:%=-e %) --group dev --group docs --group bench -c constraints.txt
	touch $@

# Calls are short processes: without byte code each of them would compile what it imports.
compiled: $(STAMP)
	@$(BIN)/python -m compileall -q hfcore $(PLUGINS:%=%/src)

demo: compiled ## Watch machines come and go over all four AWS APIs, without an AWS account
	$(BIN)/python -m hfcore.testing.demo

test: compiled ## Run every test
	$(BIN)/python -m pytest -n $(WORKERS) -q

# One death again, as a failure names it: make chaos DEATH=EC2Fleet-instant/poll/call-sent:after/1
chaos: compiled ## Kill calls at every moment of their lives (long)
	HFCORE_CHAOS='$(DEATH)' $(BIN)/python -m pytest -n $(WORKERS) -q -m chaos tests/chaos $(if $(DEATH),-k replayed)

# For a first look, within two minutes and without touching bench/RESULTS.md: make bench QUICK=1
bench: compiled ## Measure each verb against the least code for it, and write bench/RESULTS.md (long)
	$(BIN)/python bench/run.py $(if $(QUICK),--quick)

golden: $(STAMP) ## Write anew what is generated: golden files of AWS calls, tables in docs/
	$(BIN)/python tools/pages.py
	HFCORE_GOLDEN=write $(BIN)/python -m pytest -q plugins/*/tests/test_*_golden.py

lint: $(STAMP) ## Check form, types, and the pinned dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy hfcore $(PLUGINS:%=%/src)
	$(BIN)/python tools/audit.py

format: $(STAMP) ## Bring the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

docs: $(STAMP) ## Build the documentation, into build/site; any warning fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

wheels-test: $(STAMP) ## Build the five wheels, install them into an empty environment, and use them there
	$(BIN)/python -m pytest -q tests/packaging -m wheels

lock: $(STAMP) ## Write the versions in use to constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean: ## Remove what was made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
