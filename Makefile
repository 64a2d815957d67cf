# `make demo` and `make test` do all the set-up on a machine with git, make and Python 3.11+.
PYTHON ?= python3
BIN := .venv/bin

# Tests that are compiled once need not be compiled in the next run.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test coverage torture check bench bench-large format lock clean install install-test

demo: .venv/installed
	$(BIN)/python -m tools.demo $(if $(STORE),--store '$(STORE)')

test: .venv/installed-test
	$(BIN)/python -m pytest

coverage: .venv/installed-test
	$(BIN)/python -m pytest --cov --cov-report=

torture: .venv/installed-test
	$(BIN)/python -m pytest --torture tests/faults tests/tools/service/test_load.py \
		tests/tools/service/test_load_over_tcp.py tests/tools/service/test_hostile_bytes.py \
		tests/tools/service/test_description.py tests/transcripts

check: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed-test
	$(BIN)/python -m tools.bench

bench-large: .venv/installed-test
	$(BIN)/python -m tools.bench.large

format: .venv/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: .venv/installed
install-test: .venv/installed-test

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "credledger needs Python 3.11 or newer; try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-test: requirements-test.lock .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.lock
	@touch $@

# The locks name versions and hashes only, never the place they came from. Extras stay in them: pip
# takes `coverage[toml]` for another thing than `coverage`, and would look for the newest of it.
LOCK := $(BIN)/python -m piptools compile --quiet --generate-hashes --allow-unsafe --no-strip-extras \
	--no-header --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

lock: | .venv/bin/python
	$(BIN)/python -m pip install --quiet pip-tools
	printf 'setuptools>=77\nwheel\n' > .venv/build.in
	$(LOCK) -o requirements.lock pyproject.toml .venv/build.in
	$(LOCK) --extra client --extra keepass --extra service --extra test -o requirements-test.lock pyproject.toml .venv/build.in

clean:
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info build
