# Needs GNU make and Python 3.11 or later; everything else goes into .venv.
#
#   make demo    install, start the managed Neo4j, store the bundled network, open the page; Ctrl-C ends it
#   make test    install and run all tests (a Chromium is installed by apt where none is found)
#   make check   formatting, lint and types, then the tests
#   make bench   the benchmarks
#   make clean   remove .venv and what was built; the data of the managed Neo4j stays

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
BENCHMARKS := ingest score query
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable chrome
export VISCNN_CHROMIUM ?= $(shell for path in "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
	/Applications/Chromium.app/Contents/MacOS/Chromium; do [ -x "$$path" ] && echo "$$path" && break; done)

.PHONY: help .venv python demo test check bench clean browser

help:
	@sed -n 's/^#  *make/make/p' Makefile

.venv: $(INSTALLED)

NATIVE := $(wildcard engine/native/*.cpp engine/native/*.h engine/native/build.py)

$(INSTALLED): pyproject.toml constraints.txt hatch_build.py $(NATIVE)
	@$(MAKE) --no-print-directory python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

python:
	@[[ -n "$(PYTHON)" ]] || { echo "No Python 3.11 or later found; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11; name a later one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

demo: $(INSTALLED)
	@exec $(BIN)/viscnn demo

test: $(INSTALLED) browser
	$(BIN)/pytest

check: $(INSTALLED) browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

bench: $(INSTALLED)
	@for name in $(BENCHMARKS); do echo "benchmarks/$$name.py"; $(BIN)/python "benchmarks/$$name.py" || exit 1; done

browser:
	@for name in "$$VISCNN_CHROMIUM" $(BROWSERS); do \
		if command -v "$$name" >/dev/null; then exit 0; fi; done; \
	if ! command -v apt-get >/dev/null; then \
		echo "The tests need Chromium or Google Chrome, and none was found; install one, or set VISCNN_CHROMIUM to its path." >&2; exit 1; fi; \
	if [[ $$(id -u) == 0 ]]; then as_root=; else as_root=sudo; fi; \
	echo "No Chromium found; installing it by apt-get"; \
	$$as_root apt-get update -q; \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
