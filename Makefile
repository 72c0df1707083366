# Everything works from a fresh clone with Python (>= 3.10), make and a compiler: the environment is made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test lint sanitize format clean

help:
	@echo "make demo    train one cell, write it to Parquet, query it back (about half a minute after the installation)"
	@echo "make test    run the tests"
	@echo "make lint    check style and types"
	@echo "make sanitize  run the native engine under the address and undefined-behaviour sanitizers of the compiler"
	@echo "make format  apply the style"
	@echo "make clean   remove the environment and everything that can be made again"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	# torchattacks, an oracle of the tests, asks for torchvision and does not need it.
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps torchattacks==3.5.1
	@touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

sanitize:
	tests/sanitize.sh

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis demo-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
