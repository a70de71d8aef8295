# make demo: install and run the main job on the sample. make test: install, lint, check, test.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# one thread: with more, networks as small as the tests' mostly wait
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
BESIDE := -n logical --maxprocesses=4 --dist loadfile
SLICER ?= 1
SLICER_VENV := .venv-slicer
SLICER_STAMP := $(SLICER_VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo demo-loop open wheel test lint test-fast test-slow test-slicer slicer-package bench bench-slicer coverage docs docs-serve clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[test]'
	@touch $@

demo: $(STAMP) ## Segment the sample's spleen from one box, score it, draw out/spleen.png
	@mkdir -p out
	$(BIN)/sammed segment sample_data/phantom_ct.nii.gz --box spleen=99,56,131,97@44 \
	  --label spleen=2 -o out/spleen.nii.gz --preview out/spleen.png --force
	$(BIN)/sammed evaluate out/spleen.nii.gz sample_data/phantom_labels.nii.gz \
	  --labels sample_data/spleen.json
	@echo "look at out/spleen.png"

open: $(STAMP) ## The workbench on the sample, in the browser; FILE=... opens another scan
	$(BIN)/python workbench/build_page.py
	$(BIN)/sammed open $(or $(FILE),sample_data/phantom_ct.nii.gz)

wheel: $(STAMP) ## A wheel with the page in it, into dist/, tried in a fresh environment
	$(BIN)/pip install --quiet build
	$(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python workbench/try_wheel.py dist

demo-loop: $(STAMP) ## The labelling loop: 12 synthetic scans, three labelled, nine proposed; under 6 minutes
	$(BIN)/python -m benchmarks.demo_loop out/loop

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## Lint, type-check, run the tests and doctests; SLICER=0 leaves the 3D Slicer module's out
	$(PYTEST) -m "not slow and not alone" $(BESIDE)
	$(PYTEST) -m "alone and not slow" tests
ifeq ($(SLICER),0)
	@echo "SLICER=0: the tests of the 3D Slicer module were left out"
else
	@if $(MAKE) --no-print-directory $(SLICER_STAMP); then $(MAKE) --no-print-directory test-slicer; \
	else echo "SKIPPED: the tests of the 3D Slicer module: $(SLICER_VENV) (1.3 GB) could not be" \
	  "installed, see above; 'make test SLICER=0' does not try"; fi
endif

test-fast: $(STAMP) ## What two minutes can tell: no thorough tests, no lint, no 3D Slicer module
	$(PYTEST) -m "not slow and not thorough and not alone" $(BESIDE)

test-slow: $(STAMP) ## Also the tests marked slow
	$(BIN)/python -m pytest -m "slow or not slow"

$(SLICER_STAMP): $(STAMP)
	$(PYTHON) -m venv $(SLICER_VENV)
	$(BIN)/python -c 'from importlib.metadata import requires; \
	  print(*(r.partition(";")[0] for r in requires("sammed") if "slicer-test" in r), sep="\n")' \
	  | $(SLICER_VENV)/bin/pip install --quiet -r /dev/stdin
	@touch $@

test-slicer: $(STAMP) $(SLICER_STAMP) ## Tests of the 3D Slicer module on real MRML, in .venv-slicer
	OMP_NUM_THREADS=1 SAMMED_PYTHON=$(CURDIR)/$(BIN)/python QT_QPA_PLATFORM=offscreen \
	  $(SLICER_VENV)/bin/python -m pytest -o addopts=-ra --confcutdir=tests/slicer tests/slicer

slicer-package: $(STAMP) $(SLICER_STAMP) ## The 3D Slicer extension as a repository of its own, in dist/, tested there
	rm -rf dist/SlicerSAMMed
	$(BIN)/python slicer_module/make_package.py dist/SlicerSAMMed
	cd dist/SlicerSAMMed && SAMMED_PYTHON=$(CURDIR)/$(BIN)/python QT_QPA_PLATFORM=offscreen \
	  PYTHONDONTWRITEBYTECODE=1 $(CURDIR)/$(SLICER_VENV)/bin/python -m pytest -p no:cacheprovider -ra \
	  --confcutdir=tests/slicer tests/slicer

bench-slicer: $(STAMP) $(SLICER_STAMP) ## What the users of the 3D Slicer module wait for
	SAMMED_PYTHON=$(CURDIR)/$(BIN)/python $(SLICER_VENV)/bin/python benchmarks/slicer_worker.py

coverage: $(STAMP) ## Line coverage of the package
	$(PYTEST) --cov --cov-report=term

docs: $(STAMP) ## The manual, into site/; it needs no network, neither to build nor to read
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

docs-serve: $(STAMP) ## The manual on http://127.0.0.1:8000, built again as you write
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

bench: $(STAMP) ## Benchmarks (25 minutes on two cores), into benchmarks/results
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m benchmarks
	@$(MAKE) --no-print-directory bench-slicer

clean: ## Remove the environment and what was made
	rm -rf $(VENV) $(SLICER_VENV) out site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
