# Two commands for newcomers: `make demo` and `make test`. Both set everything up in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
MEDIA ?= example_dags/media/speech_over_music.mp3
PYTEST_ARGS ?=

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

# Without compiled bytecode Airflow takes 3 s to import instead of 1.2 s
unexport PYTHONDONTWRITEBYTECODE

# Cells of the version matrix, <Airflow>-py<Python>: the newest patch of each minor release
CELLS ?= 2.11.2-py311 3.0.6-py311 3.1.8-py311 3.2.2-py311 3.3.2-py311 3.3.2-py312 3.3.2-py313
# What a release does not run with, although it lets pip choose it
PINS_3.0.6 := 'fastapi<0.132'
PINS_3.2.2 := 'fastapi<0.137' 'svcs<26'
# constraints.txt belongs to the newest Airflow
CONSTRAINTS = $(if $(filter 3.3.2,$1),constraints.txt,constraints/$1.txt)
# Neither asks Airflow for anything; `make test` runs them, and they are run in a cell with another Python
WITHOUT_AIRFLOW := tests/unit/emulator tests/unit/protocol tests/integration/test_emulator_*.py

.PHONY: demo test e2e lint types matrix constraints clean

demo: $(VENV)/.installed-demo  ## separate a media file in real Airflow, on the embedded emulator: make demo MEDIA=song.mp3
	@$(BIN)/python scripts/demo.py "$(MEDIA)"

test: $(VENV)/.installed-dev  ## run the tests, in a process for each core
	@$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

e2e: $(VENV)/.installed-e2e  ## run the slower tests, with real Airflow processes
	@$(BIN)/python -m pytest -v tests/e2e $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev  ## check types
	@$(BIN)/mypy

matrix: $(CELLS:%=matrix-%)  ## run the tests on several versions of Airflow: make -k matrix CELLS="2.11.2-py311 3.1.8-py311"

matrix-%: build/matrix/%/.installed
	@echo "== Airflow $(airflow), Python $(python)"
	@build/matrix/$*/bin/python -m pytest -q -n auto --dist loadfile \
		$(if $(filter 3.11,$(python)),$(WITHOUT_AIRFLOW:%=--ignore-glob='$(CURDIR)/%')) $(PYTEST_ARGS)

constraints:  ## write constraints.txt (with AIRFLOW=3.1.8: constraints/3.1.8.txt) anew from the newest releases that fit
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install --quiet -e '.[e2e]' $(AIRFLOW:%=apache-airflow==%) $(PINS_$(AIRFLOW))
	build/constraints/bin/pip freeze --exclude-editable > $(if $(AIRFLOW),$(call CONSTRAINTS,$(AIRFLOW)),constraints.txt)

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

# of the cell 2.11.2-py311: 2.11.2 and 3.11
airflow = $(word 1,$(subst -py, ,$*))
python = $(patsubst 3%,3.%,$(word 2,$(subst -py, ,$*)))

.PRECIOUS: build/matrix/%/.installed
.SECONDEXPANSION:
build/matrix/%/.installed: pyproject.toml $$(call CONSTRAINTS,$$(airflow))
	@python=; for each in python$(python) "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$(python).*/bin/python; do \
		if "$$each" -c '' 2> /dev/null; then python=$$each; break; fi; done; \
		test "$$python" || { echo "The cell $* needs Python $(python), which is not on this machine."; exit 1; }; \
		echo "== Installing Airflow $(airflow) with $$python"; "$$python" -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check -c $(call CONSTRAINTS,$(airflow)) \
		-e '.[dev]' apache-airflow==$(airflow)
	@touch $@
