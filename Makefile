# `make` alone lists what can be done. Each target can be run again at any time.
SHELL := /bin/bash
.DEFAULT_GOAL := help
SHARE ?= 0/12
BEGIN_WITHIN ?= inf
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
KOK := .venv/bin/kok
# Without compiled files, pytest spends more time on compiling than on testing.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo demo-down test test-unit test-integration test-e2e test-share test-all bench lint crds dev

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

setup: ## make .venv from requirements.lock (installs what it needs and says so)
	@meta_cluster/bootstrap/setup.sh

demo: setup ## a whole fleet on this machine, left running
	@$(PY) -m meta_cluster.demo up

demo-down: setup ## remove exactly what the demo made
	@$(PY) -m meta_cluster.demo down

test: setup ## unit, integration and end-to-end tests; stops what it started
	@$(PY) -m meta_cluster.assets.ensure test
	$(PYTEST) tests/unit -q -n 2
	$(PY) -m tests.side_by_side

test-unit: setup ## the pure parts, under 30 seconds
	$(PYTEST) tests/unit -q -n 2

test-integration: setup ## real etcd, API servers, sshd, Ansible
	@$(PY) -m meta_cluster.assets.ensure test
	$(PY) -m tests.side_by_side integration hosts

test-e2e: setup ## stories on the lab
	$(PYTEST) tests/e2e -q -m "not slow"

test-share: setup ## SHARE=3/12: that share of the slow tests, stories too; BEGIN_WITHIN=1800 seconds
	@$(PY) -m meta_cluster.assets.ensure test
	$(PY) -m tests.side_by_side --share $(SHARE) --begin-within $(BEGIN_WITHIN)

test-all: setup ## everything, the slow tests too
	@$(PY) -m meta_cluster.assets.ensure test
	$(PYTEST) tests -q

bench: setup ## speed and memory as ratios against a bare baseline
	$(PY) -m tests.bench

lint: setup ## ruff, mypy --strict, import contracts, generated files
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) -m meta_cluster.cli.crds --check
	$(PY) -m meta_cluster.cli.errors_reference --check
	$(PY) -m meta_cluster.cli.kinds_reference --check
	$(PY) -m meta_cluster.cli.cli_reference --check
	$(PY) -m meta_cluster.cli.metrics_reference --check

crds: setup ## write manifests/crds and docs/reference from the code
	$(PY) -m meta_cluster.cli.crds
	$(PY) -m meta_cluster.cli.errors_reference
	$(PY) -m meta_cluster.cli.kinds_reference
	$(PY) -m meta_cluster.cli.cli_reference
	$(PY) -m meta_cluster.cli.metrics_reference

dev: setup ## the operators in the lab, run from the work tree
	@$(KOK) lab up --dev
