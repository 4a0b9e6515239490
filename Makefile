# Two commands for newcomers: `make demo` and `make test`. All set everything up in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
MEDIA ?= example_dags/media/speech_over_music.mp3
PYTEST_ARGS ?=
ARGS ?=
# One of the processes runs all DAGs, from the beginning: see pytest_xdist_make_scheduler
PARALLEL = -n $$(getconf _NPROCESSORS_ONLN) --dist loadfile --no-loadscope-reorder
FUZZ ?= 50

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

# Without compiled bytecode Airflow takes 3 s to import instead of 1.2 s
unexport PYTHONDONTWRITEBYTECODE

# The version matrix. A cell is <Airflow>-py<Python>: the newest patch of each minor release
CELLS ?= 2.11.2-py311 3.0.6-py311 3.1.8-py311 3.2.2-py311 3.3.2-py311 3.3.2-py312 3.3.2-py313
# The newest beta: it may fail, and says early what the next release changes
BETA ?= 3.4.0b2-py311
# Its constraints are those of development too
NEWEST := 3.3.2-py311
# What a release does not run with, although it lets pip choose it: docs/compatibility.md says why
PINS_3.0.6 := 'fastapi<0.132'
PINS_3.2.2 := 'fastapi<0.137' 'svcs<26'
# In this cell `make e2e` runs Airflow's processes, on PostgreSQL
MORE_2.11.2 := psycopg2-binary

# Of the cell 2.11.2-py311: 2.11.2, 3.11, its constraints, and such a Python, which may be pyenv's
airflow = $(word 1,$(subst -py, ,$*))
python = $(patsubst 3%,3.%,$(word 2,$(subst -py, ,$*)))
constraints = $(if $(filter $(NEWEST),$*),constraints.txt,constraints/$*.txt)
define find_python
python=; for each in python$(python) "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$(python).*/bin/python; do \
	if "$$each" -c '' 2> /dev/null; then python=$$each; break; fi; done; \
	test "$$python" || { echo "The cell $* needs Python $(python), which is not on this machine."; exit 1; }
endef

.PHONY: demo demo-speech live live-clean test fuzz e2e lint types matrix matrix-beta docs dist sbom audit snippets constraints clean

demo: $(VENV)/.installed-demo  ## separate a media file in real Airflow, on the emulator: make demo MEDIA=song.mp3
	@$(BIN)/python scripts/demo.py "$(MEDIA)"

demo-speech: $(VENV)/.installed-demo-speech  ## make subtitles of speech over music, on the emulator
	@$(BIN)/python scripts/demo_speech.py

live: $(VENV)/.installed-demo  ## settle with a real account what documents leave open, in at most twelve tiny paid jobs: docs/live.md
	@$(BIN)/python -m live $(ARGS)

live-clean: $(VENV)/.installed-demo  ## remove what a killed `make live` has left
	@$(BIN)/python -m live --clean $(ARGS)

test: $(VENV)/.installed-dev  ## run the tests, in processes beside each other
	@$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

fuzz: $(VENV)/.installed-dev  ## try hostile input for long, other input each time: make fuzz FUZZ=500 for ten times as long
	@FUZZ=$(FUZZ) $(BIN)/python -m pytest -n auto --timeout 0 tests/fuzz --hypothesis-show-statistics $(PYTEST_ARGS)

# Those of the live kit need no running Airflow, and so can run beside each other
e2e: $(VENV)/.installed-e2e  ## run the slower tests, with real Airflow; CI_E2E_BACKEND=celery: on several machines
	@$(BIN)/python -m pytest -v -n 2 --dist load tests/e2e/test_live.py tests/e2e/test_live_killed.py $(PYTEST_ARGS)
	@$(BIN)/python -m pytest -v tests/e2e --ignore-glob='*/test_live*.py' $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## check style, pages, links, imports and distributions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m pytest -q tests/lint $(PYTEST_ARGS)

types: $(VENV)/.installed-dev  ## check types
	@$(BIN)/mypy

docs: $(VENV)/.installed-docs  ## build the site from pages and docstrings: build/docs/index.html
	@rm -rf build/docs && $(BIN)/sphinx-build -q -E -W --keep-going -c docs -d build/doctrees . build/docs

# The provider and the emulator. sdist and wheel of each once from this folder and once from what the sdist holds: the
# same bytes, or none of them are kept
dist: $(VENV)/.installed-dist  ## build sdist and wheel of both distributions into dist/, reproducibly, and check them
	@if test -n "$$(git status --porcelain 2> /dev/null)"; then echo "Note: not everything here is committed"; fi
	@rm -rf dist build/dist && mkdir -p build/dist/unpacked
	@for folder in . emulator; do $(BUILD) --outdir build/dist/first $$folder; done
	@for sdist in build/dist/first/*.tar.gz; do tar -xzf $$sdist -C build/dist/unpacked; done
	@umask 077 && for folder in build/dist/unpacked/*; do $(BUILD) --outdir build/dist/again $$folder; done
	@diff -r build/dist/first build/dist/again \
		|| { echo "The two builds differ: something depends on where, when or by whom it is built."; exit 1; }
	@$(BIN)/twine check --strict build/dist/first/*
	@mv build/dist/first dist && cd dist && sha256sum *

# What comes with a wheel where nothing else is installed: read from an environment that has only the wheel
sbom: dist  ## write a software bill of materials (CycloneDX) beside each wheel in dist/
	@for wheel in dist/*.whl; do \
		alone=build/sbom/$$(basename "$$wheel" -py3-none-any.whl); rm -rf "$$alone"; \
		$(PYTHON) -m venv --without-pip "$$alone"; \
		$(BIN)/pip --quiet --disable-pip-version-check --python "$$alone"/bin/python install -c constraints.txt "$$wheel"; \
		$(BIN)/cyclonedx-py environment --output-reproducible --output-file "dist/$${alone##*/}.cdx.json" "$$alone"/bin/python; \
		done; ls dist/*.cdx.json

audit: $(VENV)/.installed-dist  ## ask the index for known vulnerabilities of all that constraints.txt names
	@$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

snippets:  ## copy the excerpts of tested files into the pages anew
	@$(PYTHON) scripts/snippets.py

matrix-beta: matrix-$(BETA)  ## run the tests on the newest beta of Airflow

matrix: $(CELLS:%=matrix-%)  ## run the tests on several versions of Airflow: make -k matrix CELLS="2.11.2-py311 3.1.8-py311"

matrix-%: build/matrix/%/.installed
	@echo "== Airflow $(airflow), Python $(python)"
	@build/matrix/$*/bin/python -m pytest -q $(PARALLEL) $(PYTEST_ARGS)

constraints: constraints-$(NEWEST)  ## write constraints.txt anew; make constraints-3.1.8-py311: constraints/3.1.8-py311.txt

constraints-%:
	@$(find_python); rm -rf build/constraints; "$$python" -m venv build/constraints
	@build/constraints/bin/pip install --quiet --disable-pip-version-check -e '.[e2e,dist]' $(EMULATOR) \
		apache-airflow==$(airflow) $(PINS_$(airflow))
	@build/constraints/bin/pip freeze --exclude-editable > $(constraints)

clean:  ## remove what these commands made
	rm -rf $(VENV) .demo build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; found: $$($(PYTHON) --version). Try: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# The emulator is a distribution of its own, in a folder of this repository
EMULATOR := -e './emulator[speech,recognition,synthesis]'
# Without what a demo of voice separation does not need: 40 MB less to download
WANTED_demo := -e . -e './emulator[speech]'
WANTED_demo-speech := -e . -e './emulator[speech,recognition]'
WANTED_dev := -e '.[dev]' $(EMULATOR)
WANTED_e2e := -e '.[e2e]' $(EMULATOR)
WANTED_docs := -e '.[docs]' -e ./emulator
WANTED_dist := -e '.[dist]'
# not isolated: with the versions of constraints.txt; hatchling's own date, whatever the shell's
BUILD = env -u SOURCE_DATE_EPOCH $(BIN)/python -m build --no-isolation --sdist --wheel

$(VENV)/.installed-%: pyproject.toml emulator/pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the packages and what they need (once; some minutes, by network and machine)"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off -c constraints.txt $(WANTED_$*) \
		| sed -u -n -e 's/^Collecting \([^ ]*\).*/  \1/p' -e 's/^Installing collected packages.*/  installing …/p' \
		|| { echo "The installation failed. Check that pip can reach its package index, then run make again."; exit 1; }
	@touch $@

.PRECIOUS: build/matrix/%/.installed
.SECONDEXPANSION:
build/matrix/%/.installed: pyproject.toml emulator/pyproject.toml $$(constraints)
	@$(find_python); echo "== Installing Airflow $(airflow) with $$python"; "$$python" -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check -c $(constraints) \
		-e '.[dev]' $(EMULATOR) apache-airflow==$(airflow) $(MORE_$(airflow))
	@touch $@
