# Two commands for newcomers: `make demo` and `make test`. Both set everything up in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
MEDIA ?= example_dags/media/speech_over_music.mp3
PYTEST_ARGS ?=
FUZZ ?= 50

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

# Without compiled bytecode Airflow takes 3 s to import instead of 1.2 s
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test fuzz e2e lint types constraints clean

demo: $(VENV)/.installed-demo  ## separate a media file in real Airflow, on the embedded emulator: make demo MEDIA=song.mp3
	@$(BIN)/python scripts/demo.py "$(MEDIA)"

test: $(VENV)/.installed-dev  ## run the tests, in a process for each core
	@$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

fuzz: $(VENV)/.installed-dev  ## try hostile input for long, other input each time: make fuzz FUZZ=500 for ten times as long
	@FUZZ=$(FUZZ) $(BIN)/python -m pytest -n auto --timeout 0 tests/fuzz --hypothesis-show-statistics $(PYTEST_ARGS)

e2e: $(VENV)/.installed-e2e  ## run the slower tests, with real Airflow processes
	@$(BIN)/python -m pytest -v tests/e2e $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev  ## check types
	@$(BIN)/mypy

constraints:  ## write constraints.txt anew from the newest releases that fit
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install --quiet -e '.[e2e]'
	build/constraints/bin/pip freeze --exclude-editable > constraints.txt

clean:  ## remove what these commands made
	rm -rf $(VENV) .demo build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; found: $$($(PYTHON) --version). Try: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

EXTRA_demo := emulator
EXTRA_dev := dev
EXTRA_e2e := e2e

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the package and what it needs (about a minute the first time)"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[$(EXTRA_$*)]' \
		| sed -u -n -e 's/^Collecting \([^ ]*\).*/  \1/p' -e 's/^Installing collected packages.*/  installing …/p' \
		|| { echo "The installation failed. Check that pip can reach its package index, then run make again."; exit 1; }
	@touch $@
