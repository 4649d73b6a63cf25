# make toy    installs into .venv, runs the default study, says where the report is
#             (SEEDS=3: seeds 0, 1 and 2, with standard errors over them)
# make repro  the study that params.yaml names, by DVC's stages (docs/dvc.md)
# make test   installs the development tools too, runs every test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STUDY ?= toy
SEEDS ?=
ARGS ?=

.PHONY: toy repro test lint format docs benchmark clean

toy: $(VENV)/.installed
	$(BIN)/snakemake --config study=$(STUDY) $(if $(SEEDS),"seeds=$(SEEDS)") $(ARGS)
	@echo "Report: $(CURDIR)/results/$(STUDY)/report/index.html"

repro: $(VENV)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

docs: $(VENV)/.installed-dev
	$(BIN)/python -m flava.options docs/options.md
	$(BIN)/python -m workflow.pipeline

# Needs a machine that does nothing else.
benchmark: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.step_time --size base --repeats 3 --output build/step_time_base.json
	$(BIN)/python -m benchmarks.step_time --size small --repeats 3 --output build/step_time_small.json

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The constraints pin every package, torch too, so that no dependency can bring in another build.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.installed

# Checkpoints are kept: they are what a killed run continues from.
clean:
	rm -rf results data logs .snakemake
