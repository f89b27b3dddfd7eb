# MLX GUI. `make run` starts it; `make help` lists the rest.

VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALL = sh -c 'if [ -x $(VENV)/bin/pip ]; then exec $(PYTHON) -m pip install --quiet "$$@"; \
	else exec uv pip install --quiet --python $(PYTHON) "$$@"; fi' install

# uv asks another variable than pip which index to use; say it once for both.
ifdef PIP_INDEX_URL
UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
export UV_DEFAULT_INDEX
endif

# Without bytecode, the server and each of its workers would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-fast lint types format bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Install what is missing and start the server
	@exec $(PYTHON) manage.py serve

test: lint types ## Lint, types and every test
	@exec $(PYTHON) -m pytest -n 2

test-fast: $(VENV)/.installed-dev ## Only the tests that need no model, no browser and no server
	@exec $(PYTHON) -m pytest -n 2 -m "not model and not browser and not server"

lint: $(VENV)/.installed-dev ## Ruff: rules and formatting
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

types: $(VENV)/.installed-dev ## Mypy on our own code
	@$(PYTHON) -m mypy

format: $(VENV)/.installed-dev ## Let Ruff mend what it can
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

bench: $(VENV)/.installed ## Compare with mlx_lm.server and mlx_vlm.server
	@exec $(PYTHON) -m bench.serving

clean: ## Remove the environment and every cache (your data stays)
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis test-results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp per list: installing again only where a list changed.
$(VENV)/.installed: requirements.txt constraints.txt | $(PYTHON)
	@echo "Installing. The first time this takes a minute or two."
	@$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-dev-alone.txt $(VENV)/.installed
	@$(INSTALL) -r requirements-dev.txt
	@$(INSTALL) --no-deps -r requirements-dev-alone.txt
	@touch $@

$(PYTHON):
	@rm -rf $(VENV)
	@if command -v uv >/dev/null 2>&1; then exec uv venv --quiet --python '>=3.12' $(VENV); fi; \
	for python in python3 python3.13 python3.12 python3.14; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then \
			$$python -m venv $(VENV) && exit 0; \
			rm -rf $(VENV); \
			echo "$$python could not make an environment. On Debian and Ubuntu: apt install python3-venv" >&2; \
			exit 1; \
		fi; \
	done; \
	echo "MLX GUI needs Python 3.12 or newer. On a Mac: brew install python@3.13, then make run again." >&2; \
	exit 1
