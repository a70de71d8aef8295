# make demo: install and run the main job on the sample. make test: install, lint, check, test.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint test-slow test-slicer bench coverage clean

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

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## Lint, type-check, run the fast tests
	$(BIN)/python -m pytest

test-slow: $(STAMP) ## Also the tests marked slow
	$(BIN)/python -m pytest -m "slow or not slow"

test-slicer: $(STAMP) ## Tests of the 3D Slicer module on real MRML, in .venv-slicer (1.3 GB)
	test -x .venv-slicer/bin/python || $(PYTHON) -m venv .venv-slicer
	.venv-slicer/bin/pip install --quiet "slicer-core==5.13.*" "PySide6-Essentials==6.9.*" \
	  "cmake>=3.28" "pytest>=8"
	SAMMED_PYTHON=$(CURDIR)/$(BIN)/python QT_QPA_PLATFORM=offscreen \
	  .venv-slicer/bin/python -m pytest --confcutdir=tests/slicer tests/slicer

coverage: $(STAMP) ## Line coverage of the package
	$(BIN)/python -m pytest --cov --cov-report=term

bench: $(STAMP) ## Benchmarks, into benchmarks/results
	$(BIN)/python -m benchmarks

clean: ## Remove the environment and what was made
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
