# make run: the page, with sample photos or those of FOLDER. make test: lint, types, tests.
# Both first make .venv, and again when pyproject.toml or the list of files changed.
PYTHON ?= python3
VENV ?= .venv
FOLDER ?=
EXTRAS ?= cpu,int8,rtx,app,serve,scale,train,dev

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
FOLDERS := api engine export adapter benchmarks app

.PHONY: run test lint venv browser triton clean FORCE
.DELETE_ON_ERROR:

run: venv
	$(BIN)/livesam serve $(FOLDER)

test: venv lint browser
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

# The tests of the page need a Chromium; where none can be installed they are skipped, and say so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
		|| echo "no Chromium here: the tests of the page will be skipped"

# A real Triton server for the test of the exported repository (55 MB, Linux; CPU is enough). nvidia-pytriton carries it, with
# a stub of its Python backend for each Python; its Python packages are not wanted, so it goes into a folder of its own.
triton: venv
	$(PIP) install --quiet --no-deps --upgrade --target $(VENV)/triton "nvidia-pytriton==0.7.0"
	cd $(VENV)/triton/pytriton/tritonserver && cp python_backend_stubs/$$($(CURDIR)/$(BIN)/python -c \
		'import sys; print("%d.%d" % sys.version_info[:2])')/triton_python_backend_stub backends/python/

lint: venv
	$(BIN)/ruff check .

venv: $(VENV)/.linked

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "livesam needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1): use make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Dependencies: only when pyproject.toml changed.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet "setuptools>=77" wheel
	$(PIP) install --no-build-isolation --config-settings editable_mode=strict --editable ".[$(EXTRAS)]"
	@touch $@

# The strict editable mode links each file at install time, so a new or a removed file needs the links made anew.
$(VENV)/.sources: FORCE | $(VENV)/bin/python
	@find $(FOLDERS) -type f -not -path '*/__pycache__/*' -not -path '*/node_modules/*' -not -name '*.tmp' | LC_ALL=C sort > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(VENV)/.linked: $(VENV)/.installed $(VENV)/.sources
	@rm -rf build
	$(PIP) install --quiet --no-deps --no-build-isolation --config-settings editable_mode=strict --editable .
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info out .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

FORCE:
