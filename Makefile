# Everything a newcomer needs: `make demo`, `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test lint typecheck acceptance schemas golden paste-tools clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/mkgen gen --backend hip --task conv2d

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check mkgen backends tasks tests benchmarks
	$(BIN)/mypy
	PYTHONPATH=.:backends $(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m 'not acceptance and not long'

# The whole matrix: every task on every backend, and every compile target.
acceptance: setup
	$(BIN)/python -m pytest -m acceptance -s

# Public nvcc and hipcc for the paste test and --toolchain's, into .paste-tools.
paste-tools: setup
	$(BIN)/python tests/paste_tools.py

schemas: setup
	$(BIN)/python -m mkgen.schemas docs/schemas

golden: setup
	$(BIN)/python -m tests.golden

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
