# Every target needs only Python (3.11 or later), pip and make; everything else is installed into .venv.
# `make PYTHON=python3.13 test` takes another interpreter, and pip's PIP_* variables another index or wheel folder.
PYTHON ?= python3
BIN := .venv/bin
# Python compiles a module at its first import (--no-compile): most installed modules are never imported.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

# Bytecode is written even if the shell forbids it: tests start many processes, and each would compile torch's source
# anew, which takes as long as the import itself.
export PYTHONDONTWRITEBYTECODE :=

# One process for each core: the tensors of a test are small, and each process has one thread.
WORKERS := --numprocesses=auto

# npm packages for the tests of the explorer: rules of accessibility, and types of JavaScript. `make test` checks the
# types if npm is installed.
NODE_TOOLS := axe-core@4.14.1 typescript@7.0.2
NODE_DONE := $(if $(shell command -v npm),.venv/node.done)

.PHONY: demo test check test-slow test-cuda test-browser screenshots house bench bench-cuda pos-tagging format clean

demo: .venv/demo.done
	$(BIN)/maskwork demo

test: check $(NODE_DONE)
	$(BIN)/python -m pytest $(WORKERS) --dist=loadscope  # the examples of one page build on each other

# Format, lint and types, without the tests. The two runs of the type checker, which uses one core, go side by side.
check: .venv/dev.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright -p tools/pyright-strict.json & strict=$$!; $(BIN)/basedpyright && wait $$strict

# Takes minutes: the whole demo, and the tests that need a C++ compiler.
test-slow: .venv/dev.done
	$(BIN)/python -m pytest $(WORKERS) --dist=worksteal -m slow

test-cuda: .venv/dev.done
	$(BIN)/python -m pytest -m cuda

# Tests the explorer in a real browser; needs npm, and chromium or its headless shell on the PATH.
test-browser: .venv/dev.done .venv/node.done
	$(BIN)/python -m pytest $(WORKERS) --dist=worksteal -m browser tests/browser

# Takes the screenshots of the explorer in the README and docs/; needs chromium on the PATH.
screenshots: .venv/dev.done
	$(BIN)/python docs/make_screenshots.py

# Prints figures beside their goals: folders, circles of imports, names, prose, types, tests. Takes half a minute.
house: .venv/dev.done
	$(BIN)/python tools/house.py

# Takes ten minutes on an idle machine. With nanoGPT's character-level text, it also trains at nanoGPT's setting:
# make bench DATA=path/to/tinyshakespeare.txt
bench: .venv/dev.done
	-$(BIN)/python benchmarks/masks.py
	-$(BIN)/python benchmarks/attention.py
	-$(BIN)/python benchmarks/masks_flex.py
	-$(BIN)/python benchmarks/peers.py
	-$(BIN)/python benchmarks/audit.py
	-$(BIN)/python benchmarks/audit_known_leaks.py
	-$(BIN)/python benchmarks/packing.py
	-$(BIN)/python benchmarks/losses.py
	-$(BIN)/python benchmarks/explorer.py
	-$(BIN)/python benchmarks/explorer_browser.py
	$(if $(DATA),$(BIN)/python benchmarks/shakespeare_char.py --data $(DATA))

bench-cuda: .venv/dev.done
	$(BIN)/python benchmarks/attention_cuda.py

# Takes minutes: trains two taggers on a Universal Dependencies treebank.
# make pos-tagging DATA=folder/of/its/conllu/files
pos-tagging: .venv/demo.done
	$(BIN)/python examples/pos_tagging.py --data "$(DATA)"

format: .venv/dev.done
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.done: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[viz]'
	@touch $@

.venv/dev.done: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	@touch $@ .venv/demo.done

.venv/node.done: .venv/bin/python Makefile
	npm install --silent --no-save --no-fund --no-audit --prefix .venv/node $(NODE_TOOLS)
	@touch $@
