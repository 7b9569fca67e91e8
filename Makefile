# Everything runs in .venv, which the first target that needs it sets up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST_FLAGS ?= -n auto
# one process per core already: more threads would only get in each other's way
ONE_THREAD := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint format types docs tutorials bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/' | column -t -s:

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Pyro-VAE needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version). Try: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	@echo "Installing Pyro-VAE and its packages into $(VENV) (the first time this takes minutes) ..."
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[test,dev,jupyter,docs]'
	@touch $@

demo: $(VENV)/.installed  ## train a VAE on handwritten digits and write its report page
	$(BIN)/pyro-vae demo

test: $(VENV)/.installed-test  ## run the tests (a few minutes)
	$(ONE_THREAD) $(BIN)/python -m pytest $(PYTEST_FLAGS)

test-all: $(VENV)/.installed-test  ## run all tests, slow and real-data ones included
	$(ONE_THREAD) $(BIN)/python -m pytest $(PYTEST_FLAGS) -m "not gpu"

lint: $(VENV)/.installed-dev  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev  ## mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy does not see through the mapping of models/ and guides/ into the package, so it reads an installed copy
types: $(VENV)/.installed-dev  ## check types over an installed copy
	rm -rf build
	$(PIP) --no-deps --target build/installed .
	cd build && MYPYPATH=installed ../$(BIN)/mypy --config-file ../pyproject.toml -p pyro_vae

docs: $(VENV)/.installed-dev  ## write the reference pages to site/
	$(BIN)/pdoc --docformat google --math --output-directory site pyro_vae $(addprefix pyro_vae., variants training stories report)

tutorials: $(VENV)/.installed-dev  ## run the notebooks (results in build/tutorials)
	$(ONE_THREAD) $(BIN)/jupyter nbconvert --to notebook --execute --output-dir build/tutorials tutorials/*.ipynb

bench: $(VENV)/.installed-test  ## measure what training costs, beside the same networks by hand (MNIST benchmarks: see benchmarks/README.md)
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/speed.py

clean:  ## remove what the targets made, but not your runs
	rm -rf $(VENV) build site *.egg-info
