# One verb each, the same in CI and in the README. Recipes are silent and set-up talks on stderr,
# so that `make demo ARGS=--json` prints one JSON value and nothing else on stdout.
PYTHON ?= python3
PY := .venv/bin/python
ARGS ?=
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test test-fast lint bench

help: ## Print this list
	@$(PYTHON) -c 'import re; [print("  make %-10s %s" % m) for m in re.findall(r"^([a-z-]+):.*?## (.*)", open("Makefile").read(), re.M)]'

setup: ## Make .venv with everything the platform and its tests need
	@sh tools/setup.sh "$(PYTHON)"

demo: setup ## Start every part and feed it a simulated plant (ARGS="--duration 90 --json")
	@$(PY) -m sensor_platform.cli demo $(ARGS)

dev: setup ## Start every part, with Dagster's development server
	@$(PY) -m sensor_platform.cli up --dev $(ARGS)

test: setup ## Run all tests (ARGS="-m 'not slow and not browser'" for the fast part)
	@$(PY) -m pytest $(ARGS)

test-fast: setup ## Run the tests that take seconds
	@$(PY) -m pytest -m "not slow and not browser" $(ARGS)

lint: setup ## Check style, types and the direction of imports
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports

bench: setup ## Run a benchmark (BENCH=ingest ARGS=--json)
	@$(PY) -m benchmarks.$(or $(BENCH),ingest) $(ARGS)
