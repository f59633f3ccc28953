# `make` lists the targets. Everything happens inside .venv; nothing else on the machine is touched.
PYTHON    ?= python3
# auto: uv where it can be had (found on the PATH, else installed into .venv by pip), pip otherwise. `pip`: pip alone.
INSTALLER ?= auto
VENV      := .venv
BIN       := $(VENV)/bin
STAMPS    := $(VENV)/.stamps
OUT       ?= output
ARGS      ?=
RUNS      ?=

.DEFAULT_GOAL := help
.PHONY: help install demo theory-figures selection-figures compare test test-all test-slurm lint bench-theory bench-empirical docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

install: $(STAMPS)/all  ## everything (theory, empirical with torch, tests and lint) into .venv

demo: $(STAMPS)/all  ## the whole story on bundled digits in minutes: theory, distillation with and without SDC, comparison page
	$(BIN)/python -m figures perfect-probe --quick --out $(OUT)/demo/theory
	$(BIN)/python -m empirical.sweep --sweep demo --out $(OUT)/demo/runs
	$(BIN)/python -m figures runs $(OUT)/demo/runs --out $(OUT)/demo/figures
	$(BIN)/python -m figures compare $(OUT)/demo/runs --published --out $(OUT)/demo/compare
	@echo "read $(OUT)/demo/compare/compare.html; pictures in $(OUT)/demo/theory and $(OUT)/demo/figures"

theory-figures: $(STAMPS)/base  ## the theory's figures, with simulations, into output/theory (ARGS=--quick for a fast look)
	$(BIN)/python -m figures theory --out $(OUT)/theory $(ARGS)

selection-figures: $(STAMPS)/base  ## easy, hard and random subsets of real images beside the theory, from the recorded tables
	$(BIN)/python -m figures selection --out $(OUT)/selection $(ARGS)

compare: $(STAMPS)/base  ## theory against recorded runs, one page in output/compare (RUNS="FOLDER grid.csv"; default: the committed grids)
	$(BIN)/python -m figures compare $(if $(RUNS),$(RUNS),--published $(wildcard docs/results/grids/*.csv docs/results/grids/*/*.csv)) --out $(OUT)/compare $(ARGS)

test: $(STAMPS)/all lint  ## lint, types and the quick tests
	$(BIN)/python -m pytest -m "not slow and not cuda" -n auto $(ARGS)

test-all: $(STAMPS)/all lint  ## lint, types and every test that this machine can run
	$(BIN)/python -m pytest -n auto $(ARGS)

test-slurm: $(STAMPS)/all  ## sweeps on a real Slurm of one node, brought up here (Debian: slurm-wlm slurmdbd mariadb-server; root)
	$(BIN)/python -m pytest -m slurm -n 0 $(ARGS)

docs: $(STAMPS)/all  ## the documents as a site, output/docs/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs $(OUT)/docs
	@echo "read $(OUT)/docs/index.html"

lint: $(STAMPS)/all  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

bench-theory: $(STAMPS)/all  ## the theory's speed, as ratios to the slow way, in one run
	$(BIN)/python -m benchmarks.theory $(ARGS)
	$(BIN)/python -m benchmarks.synthesis

bench-empirical: $(STAMPS)/all  ## speed of matching, network training and sweeps, as ratios to the plain loops
	$(BIN)/python -m benchmarks.gradient_matching
	$(BIN)/python -m benchmarks.network_training
	$(BIN)/python -m benchmarks.trajectory_matching --first-order --variants unrolled exact "exact + SDC" TESLA compiled
	$(BIN)/python -m benchmarks.sweep

clean:  ## remove .venv, caches and output
	rm -rf $(VENV) $(OUT) build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: each stamp is redone only when the dependency lists change ---------------------------------------------

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@if [ "$(INSTALLER)" = auto ] && ! command -v uv >/dev/null; then \
	  $(BIN)/python -m pip install --quiet uv || echo "uv could not be installed; going on with pip"; fi
	@touch $@

# $(call install,EXTRAS): by uv where there is one, else by pip
define install
@echo "installing .$(1) into $(VENV)"
@if [ "$(INSTALLER)" = auto ] && command -v uv >/dev/null; then \
   uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.$(1)'; \
 elif [ "$(INSTALLER)" = auto ] && [ -x $(BIN)/uv ]; then \
   $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.$(1)'; \
 else $(BIN)/python -m pip install --quiet -c constraints.txt -e '.$(1)'; fi
@touch $@
endef

$(STAMPS)/base: $(STAMPS)/venv pyproject.toml constraints.txt
	$(call install,)

$(STAMPS)/all: $(STAMPS)/venv pyproject.toml constraints.txt
	$(call install,[empirical$(comma)dev])
	@touch $(STAMPS)/base

comma := ,
