# Everything works from a fresh clone with Python (>= 3.10), make and a compiler: the environment is made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test sample docs lint sanitize format clean

help:
	@echo "make demo      query the table of the package, train one of its cells again, compare (seconds after the installation)"
	@echo "make test      run the tests"
	@echo "make sample    make 1 % of the table of the package again and compare"
	@echo "make docs      build the site in build/docs, run its notebooks and figures; warnings and dead links fail"
	@echo "make lint      check style and types"
	@echo "make sanitize  run the native engine under the address and undefined-behaviour sanitizers of the compiler"
	@echo "make format    apply the style"
	@echo "make clean     remove the environment and everything that can be made again"

$(READY): pyproject.toml setup.py constraints.txt $(wildcard src/nasbench_robust/native/src/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	# torchattacks, an oracle of the tests, asks for torchvision and does not need it.
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps torchattacks==3.5.1
	@touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 20 -m "not alone"
	$(BIN)/python -m pytest -m alone

sample: $(READY)
	$(BIN)/python generation/make_digits.py --sample 1% --workers 2

docs: $(READY)
	$(BIN)/python -m sphinx --quiet --fail-on-warning --nitpicky --fresh-env -c docs/site -d build/doctrees . build/docs
	@echo "build/docs/index.html"

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
	rm -rf $(VENV) src/nasbench_robust/native/*.so build dist docs/api *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis demo-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
