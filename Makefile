# make explore, make lab, make test, make demo: each sets up .venv first, and only when something changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 5006
LAB_PORT ?= 8888
INSTALLED := $(VENV)/.installed-test

.PHONY: help test check demo explore lab notebooks handout runs screenshots benchmark benchmark-engine clean

help:
	@echo "make test       set up, check style and types, run the tests"
	@echo "make demo       set up, train the three methods on the bundled sample, print the table (a few minutes)"
	@echo "make explore    set up, serve the explorer on this computer (PORT=5007 for another port)"
	@echo "make lab        set up, open JupyterLab on the course in notebooks/"
	@echo "make notebooks  set up, make the students' notebooks from those in notebooks/solutions/"
	@echo "make handout    set up, make the students' sheets and the answer key in handout/ from the notebooks"
	@echo "make runs       set up, train, publish and measure the three bundled runs in data/runs (about five minutes)"
	@echo "make screenshots  set up, take docs/images/explorer-*.png with Chromium (about two minutes)"
	@echo "make benchmark  set up, measure the speed against the SGT reference's step, plain training, Quantus and torch-cam"
	@echo "make benchmark-engine  set up, measure worker processes, sweeps, and the explorer in Chromium (half an hour)"
	@echo "make clean      remove the virtual environment and the caches"

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, this is {v[0]}.{v[1]}; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[app,hub,notebooks,test]"
	@# JupyterLab would ask the internet for news and updates, and each student whether it may.
	$(BIN)/jupyter labextension disable --level sys_prefix @jupyterlab/apputils-extension:announcements
	@touch $@

test: check
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(INSTALLED)
	$(BIN)/smoot-explore demo

explore: $(INSTALLED)
	$(BIN)/smoot-explore serve --port $(PORT)

lab: $(INSTALLED)
	@# Not one click away from students: the solutions are not listed.
	$(BIN)/jupyter lab --notebook-dir notebooks --port $(LAB_PORT) --ContentsManager.hide_globs=solutions

notebooks: $(INSTALLED)
	$(BIN)/python notebooks/solutions/release.py

handout: $(INSTALLED)
	$(BIN)/python notebooks/solutions/handout.py

runs: $(INSTALLED)
	$(BIN)/python data/train_runs.py

screenshots: $(INSTALLED)
	$(BIN)/python tests/screenshots.py

benchmark: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement benchmarks/requirements.txt
	$(BIN)/python -m benchmarks

benchmark-engine: $(INSTALLED)
	$(BIN)/python -m benchmarks.engine

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
