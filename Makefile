# Both targets do all their own set-up in a fresh clone: a virtual environment in .venv, pinned packages, and then the job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCE ?=
ARGS ?=

.PHONY: live test check clean

live: $(VENV)/.base
	$(BIN)/genrescope live $(if $(SOURCE),'$(subst ','\'',$(SOURCE))') $(ARGS)

test: $(VENV)/.test
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadgroup $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/.made
	$(BIN)/pip install -q -c constraints.txt -e .
	@touch $@

# torch first, and pinned: the other packages then find it there and bring no second build of it.
$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/.made
	$(BIN)/pip install -q -c constraints.txt torch==$$(sed -n 's/^torch==//p' constraints.txt)
	$(BIN)/pip install -q -c constraints.txt -e '.[train,test]'
	@touch $@ $(VENV)/.base

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "genrescope needs Python 3.11, 3.12 or 3.13; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "First run: setting up $(VENV), this takes a minute or two..."
	$(PYTHON) -m venv $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) build dist
