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

.PHONY: demo test e2e lint types dist constraints clean

demo: $(VENV)/.installed-demo  ## separate a media file in real Airflow, on the embedded emulator: make demo MEDIA=song.mp3
	@$(BIN)/python scripts/demo.py "$(MEDIA)"

test: $(VENV)/.installed-dev  ## run the tests, in a process for each core
	@$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

e2e: $(VENV)/.installed-e2e  ## run the slower tests, with real Airflow; CI_E2E_BACKEND=celery: on several machines
	@$(BIN)/python -m pytest -v tests/e2e $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev  ## check types
	@$(BIN)/mypy

# sdist and wheel once from this folder and once from what the sdist holds: the same bytes, or none of them are kept
dist: $(VENV)/.installed-dist  ## build sdist and wheel into dist/, reproducibly, and check them
	@if test -n "$$(git status --porcelain 2> /dev/null)"; then echo "Note: not everything here is committed"; fi
	@rm -rf dist build/dist && mkdir -p build/dist/unpacked
	@$(BUILD) --outdir build/dist/first .
	@tar -xzf build/dist/first/*.tar.gz -C build/dist/unpacked --strip-components=1
	@umask 077 && $(BUILD) --outdir build/dist/again build/dist/unpacked
	@diff -r build/dist/first build/dist/again \
		|| { echo "The two builds differ: something depends on where, when or by whom it is built."; exit 1; }
	@$(BIN)/twine check --strict build/dist/first/*
	@mv build/dist/first dist && cd dist && sha256sum *

constraints:  ## write constraints.txt anew from the newest releases that fit
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install --quiet -e '.[e2e,dist]'
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
EXTRA_dist := dist
# not isolated: with the versions of constraints.txt; hatchling's own date, whatever the shell's
BUILD = env -u SOURCE_DATE_EPOCH $(BIN)/python -m build --no-isolation --sdist --wheel

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the package and what it needs (about a minute the first time)"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[$(EXTRA_$*)]' \
		| sed -u -n -e 's/^Collecting \([^ ]*\).*/  \1/p' -e 's/^Installing collected packages.*/  installing …/p' \
		|| { echo "The installation failed. Check that pip can reach its package index, then run make again."; exit 1; }
	@touch $@
