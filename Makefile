# The two commands are `make book` and `make test`; `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help book test outputs format pins serve chapter record bench stamp clean

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
PRESET ?= paper
MINUTES ?= 9
BENCH ?=
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

help:  ## list these commands
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/make \1#\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'#' '{ printf "  %-14s %s\n", $$1, $$2 }'

book: $(READY)  ## execute what has changed and render the book into _build/html
	@$(PY) -m tools.build

test: $(READY)  ## run every check: linting, units, notebooks, pages
	@$(PY) -m tools.check

outputs: $(READY)  ## write the executed outputs back into book/*.ipynb, to be committed
	@$(PY) -m tools.build --outputs

format: $(READY)  ## mend layout and imports of code and notebooks with ruff
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .

pins: $(READY)  ## write the installed versions into constraints.txt
	@$(PY) -m tools.pins

serve:  ## show _build/html on http://localhost:8000 (PORT=8000)
	@test -f _build/html/index.html || { echo "Nothing to show yet: run make book first." >&2; exit 1; }
	@echo "http://localhost:$(PORT)"
	@$(PYTHON) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

chapter: $(READY)  ## run one chapter and record it: N=04 PRESET=paper SET="hidden=32,32 seeds=5"
	@test -n "$(N)" || { echo 'Which chapter? make chapter N=04 PRESET=paper SET="hidden=32,32 seeds=5"' >&2; exit 2; }
	@$(PY) -m tools.chapter $(N) --preset $(PRESET) $(if $(SET),--set $(SET)) --record

claim: PRESET = quick
claim: $(READY)  ## run the experiment behind a claim, compare with its record: ID=C3.1a PRESET=quick
	@test -n "$(ID)" || { echo 'Which claim? make claim ID=C3.1a PRESET=quick' >&2; exit 2; }
	@$(PY) -m tools.claim $(ID) --preset $(PRESET) $(if $(RUN),--run $(RUN))

record: $(READY)  ## record what is missing at the paper's scale, as far as MINUTES=9 go; again goes on
	@$(PY) -m tools.plan --minutes $(MINUTES)

bench: $(READY)  ## time this package against PyTorch and JAX: BENCH="fig1 looking" (default: all)
	@$(PY) -m benchmarks $(BENCH)

stamp: $(READY)  ## write the repository's address into _config.yml: REPO=https://github.com/OWNER/NAME
	@$(PY) -m tools.stamp "$(REPO)"

clean:  ## remove what was built (_build); the environment stays
	rm -rf _build

# The environment is made once, and again when pyproject.toml or constraints.txt have changed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed; $(PYTHON) is %d.%d. Choose another: make book PYTHON=python3.12" % v[:2])'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || { echo "No environment made. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) (about 5 GB with torch; once)"
	@$(PY) -m pip install --disable-pip-version-check --constraint constraints.txt --editable ".[book,test]"
	@touch $@
