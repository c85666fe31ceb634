# `make demo` runs the whole benchmark on procedural rooms. `make test` runs the tests. Each sets up
# .venv once. Needs Python >= 3.11 and, for the first call, pip's usual access to packages.

PYTHON ?= python3
VENV := .venv
OPENMMLAB := .venv-openmmlab
LOWEST := .venv-lowest
CORES ?= all
TIER ?= demo
# Commands are named by their path: GNU make 3.81, which macOS has, does not search an exported PATH.
BIN := $(VENV)/bin

.PHONY: demo test test-real test-openmmlab test-lowest lint docs clean

demo: $(VENV)/.pipeline
	@$(BIN)/snakemake --cores $(CORES) --quiet rules host reason --config tier=$(TIER)
	@case $(TIER) in \
		demo | full) echo; cat results/report/table2_synthetic.md ;; \
		quick) echo; cat results/quick/report/table2_synthetic.md ;; esac

test: $(VENV)/.test
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder

test-real: $(VENV)/.test
	@$(BIN)/pytest -q -m real

# With mmdet3d and MinkowskiEngine in a separate environment. Both are compiled once.
test-openmmlab: $(OPENMMLAB)/.complete
	@OMP_NUM_THREADS=1 $(OPENMMLAB)/bin/python -m pytest -q -m "not real and not slow" \
		tests/interop/mmdet3d tests/sparse/conformance

# With the lowest versions that pyproject.toml allows, in a separate environment.
test-lowest: $(LOWEST)/.complete
	@OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.lint $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check --line-length 100 Snakefile workflow/rules
	@$(BIN)/mypy -p sr3d -p workflow -p tests
	@$(BIN)/lint-imports
	@$(BIN)/snakemake --lint

# The documentation as a searchable site that opens from disk: site/index.html.
docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "site/index.html"

# Deletes results of runs, prepared data and the environment, but not results/published.
clean:
	rm -rf $(VENV) $(OPENMMLAB) $(LOWEST) .snakemake data site .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find results -mindepth 1 -maxdepth 1 ! -name published -exec rm -rf {} +

$(OPENMMLAB)/.complete: envs/openmmlab.sh envs/openmmlab.txt
	@PYTHON=$(PYTHON) envs/openmmlab.sh $(OPENMMLAB)

$(LOWEST)/.complete: pyproject.toml envs/lowest.txt
	@test -x $(LOWEST)/bin/pip || $(PYTHON) -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet -c envs/lowest.txt -e '.[test]'
	@touch $@

# .venv/.EXTRA marks an environment with this extra of the package, newer than these files.
$(VENV)/.%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "sr3d needs Python 3.11 or later, and '$(PYTHON)' is not;" \
			"name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV) with sr3d[$*] (a few minutes, once)"
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	@touch $@
