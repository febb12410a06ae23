# Everything runs in .venv, which is made on first use and only once.
#
# PyPI's Linux wheel of torch brings CUDA. For the much smaller one without it:
#   make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
WORKERS := --quiet -n auto --maxprocesses 8 --dist worksteal
PYTEST_ARGS ?= $(WORKERS) -m 'not slow'

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
CPU_OPS := equipot/ops/lib/equipot_cpu.so
JUDGES := .venv-judges
JUDGES_PIP := $(JUDGES)/bin/python -m pip install -qq --disable-pip-version-check
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo data test test-all lint types layers unit judges clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

# $(call check,name,command): one line if the command passes, its output if it fails.
define check
@printf '%-22s' '$(1)'; \
if output=$$($(2) 2>&1); then echo ok; \
else echo FAILED; printf '%s\n' "$$output"; exit 1; fi
endef

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) $(CPU_OPS) ## make .venv with exactly the versions of constraints.txt

# torch first: nothing else may choose which build of it is installed.
$(STAMP): pyproject.toml constraints.txt
	@echo 'Setting up $(VENV) (about 1 GB; a minute or two, once)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@$(PIP) -e '.[dev]'
	@touch $@

$(CPU_OPS): $(STAMP) $(wildcard cuda_ext/*.py cuda_ext/*.h cuda_ext/cpu/*)
	@$(BIN)/python cuda_ext/build.py cpu

demo: setup ## train on data/, evaluate, run MD, write report.html
	@echo 'Training on GFN2-xTB structures of one molecule: configs/demo.yaml'
	@rm -rf runs/demo runs/demo_md
	@$(BIN)/train-potential configs/demo.yaml --output runs/demo
	@echo 'Evaluating on 300 K and on hotter structures than it has seen'
	@$(BIN)/equipot evaluate runs/demo/model.safetensors \
		data/alanine_dipeptide_test_300K.xyz data/alanine_dipeptide_test_600K.xyz \
		--report report.html
	@echo 'Running molecular dynamics with it: configs/demo_md.yaml'
	@$(BIN)/equipot md configs/demo_md.yaml
	@echo 'Open report.html'

data: setup ## regenerate data/ from scratch (about ten minutes on one core)
	@$(PIP) -e '.[data]'
	OMP_NUM_THREADS=1 $(BIN)/python scripts/generate_molecule_data.py
	OMP_NUM_THREADS=1 $(BIN)/python scripts/generate_periodic_data.py
	OMP_NUM_THREADS=1 $(BIN)/python scripts/generate_reaction_data.py

test: setup lint types layers unit ## run every check of the project

# The widest sweeps need a trained model and, for the labels, the public sets of LABELED_SETS.
LABELED_SETS ?= ../shared/data
test-all: test runs/demo/model.safetensors ## test, slow tests, and galleries of faults (an hour)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) -m slow
	@PYTHONPATH=. $(BIN)/python scripts/verify_gallery.py runs/demo/model.safetensors \
		--honest runs/demo/model.safetensors
	@$(BIN)/python scripts/attack_labels.py --shared $(LABELED_SETS)

runs/demo/model.safetensors: setup
	@test -f $@ || $(BIN)/train-potential configs/demo.yaml --output runs/demo

lint: setup ## ruff: mistakes and formatting
	$(call check,ruff check,$(BIN)/ruff check .)
	$(call check,ruff format,$(BIN)/ruff format --check .)

types: setup ## mypy
	$(call check,mypy,$(BIN)/mypy)

layers: setup ## import-linter: imports run downwards only
	$(call check,import layers,$(BIN)/lint-imports)

unit: setup ## pytest; PYTEST_ARGS='tests/nn -x' selects
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

# The judges have an environment of their own, and so has what they judge: their
# versions are not ours. Locked, so --no-deps; torch first, as above.
$(JUDGES)/.set-up: pyproject.toml scripts/judges/requirements.txt
	@echo 'Setting up $(JUDGES) (about 3 GB; a few minutes, once)'
	@test -x $(JUDGES)/bin/python || $(PYTHON) -m venv $(JUDGES)
	@$(JUDGES_PIP) -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@$(JUDGES_PIP) --no-deps -r scripts/judges/requirements.txt
	@$(JUDGES_PIP) --no-deps -e .
	@touch $@

judges: setup $(JUDGES)/.set-up ## let torch-sim, ml-peg and matcalc judge us (half an hour)
	@$(JUDGES)/bin/python scripts/generate_judged_data.py
	@for model in copper pairs; do \
		rm -rf runs/judges/$$model; \
		$(JUDGES)/bin/train-potential scripts/judges/$$model.yaml \
			--output runs/judges/$$model || exit 1; \
	done
	@PYTHONPATH=.:scripts $(JUDGES)/bin/python -m pytest -c /dev/null --rootdir . \
		-p no:cacheprovider --quiet tests/judges
	@$(JUDGES)/bin/python scripts/judge_calculator.py \
		--molecules runs/judges/pairs/model.safetensors \
		--metal runs/judges/copper/model.safetensors \
		--json runs/judges/judges.json

clean: ## remove .venv, .venv-judges, runs/, report.html and caches
	rm -rf $(VENV) $(JUDGES) runs report.html build dist *.egg-info equipot/ops/lib \
		.pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
