# Every target does its own set-up; nothing but Python >= 3.11, a C compiler and Go (or pip) is expected.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOMS := core operator webhooks agent cli shim helm docs e2e bench tests
KERNEL := core/vgpu/placement/_kernel.so
NODES ?= 1000
GPUS ?= 8
ARGS ?=
KEEP ?=
PLOT ?=

export PYTHONHASHSEED := 0

.PHONY: help setup controlplane realnode browser fmt generate lint types test unit shim sanitize e2e demo cluster clean \
  bench-scheduling bench-placement bench-room bench-shim bench-elasticity bench-live bench-agent bench-gpu
help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(VENV)/.ready $(KERNEL) ## Virtual environment with the pinned dependencies

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "setup: installing the pinned dependencies into $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "setup: expected Python 3.11 or newer, found " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# The measures of placement in C; without it the same rules run in Python, twenty times slower.
$(KERNEL): core/vgpu/placement/kernel.c
	@$(CC) -std=c11 -O2 -ffp-contract=off -fPIC -shared -o $@.new $< && mv $@.new $@

controlplane: setup ## Build etcd and Kubernetes once into the cache (about ten minutes cold)
	@$(BIN)/python -m vgpu_e2e.build

realnode: ## Packages for the cases on a real kubelet (Debian, root); they are skipped without
	@apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	  containerd runc busybox-static containernetworking-plugins iproute2 prometheus >/dev/null

browser: ## Chromium for the test that looks at kubectl vgpu report (Debian, root); it is skipped without
	@apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null

fmt: setup ## Format and fix what can be fixed
	@$(BIN)/ruff format $(wildcard $(ROOMS)) && $(BIN)/ruff check --fix $(wildcard $(ROOMS))

generate: setup ## Write the generated files: dashboards, alerts, reference pages, the chart's CRDs
	@$(BIN)/python -m vgpu_e2e.helm copy-crds
	@$(BIN)/python -m vgpu_monitoring
	@$(BIN)/python -m vgpu_docs

lint: setup ## Style and the walls between the rooms
	@$(BIN)/ruff format --check $(wildcard $(ROOMS))
	@$(BIN)/ruff check $(wildcard $(ROOMS))
	@$(BIN)/lint-imports

types: setup ## Strict types, tests included
	@$(BIN)/mypy $(wildcard $(ROOMS))

unit: setup ## Unit and property tests: no cluster, no GPU, seconds
	@$(BIN)/python -m pytest tests -n 2

shim: setup ## Build the shim and the simulated driver, run their tests
	@$(MAKE) --no-print-directory -s -C shim sim-test
	@$(MAKE) --no-print-directory -s -C shim test PYTHON=$(abspath $(BIN)/python)

sanitize: setup ## The shim's tests under address, undefined-behaviour and thread sanitizers
	@$(MAKE) --no-print-directory -s -C shim sanitize PYTHON=$(abspath $(BIN)/python)

e2e: controlplane ## End-to-end cases on a real control plane
	@$(MAKE) --no-print-directory -s -C shim all
	@$(BIN)/python -m pytest e2e -n 2 --dist loadfile

test: lint types unit shim e2e ## All tests; CI adds sanitize

demo: controlplane ## The platform on a real control plane, then a slice from inside; KEEP=1 leaves the first running, PLOT=1 draws
	@$(BIN)/python -m vgpu_e2e.demo $(if $(KEEP),--keep)
	@$(MAKE) --no-print-directory -s -C shim all
	@$(BIN)/python -m vgpu_e2e.localnode.demo $(if $(PLOT),--plot)

cluster: controlplane ## A cluster to try things on: this machine as node, simulated GPUs; until Ctrl-C
	@$(MAKE) --no-print-directory -s -C shim all
	@$(BIN)/python -m vgpu_e2e.localnode.cluster $(ARGS)

bench-scheduling: controlplane ## Pods bound per second and Filter latency; NODES=1000
	@$(BIN)/python -m scheduling --nodes $(NODES) --gpus $(GPUS) $(ARGS)

bench-placement: setup ## The openb lists replayed, beside the published figures; ARGS="--seeds 1"
	@$(BIN)/python -m placement $(ARGS)
	@$(BIN)/python -m placement.churn
	@$(BIN)/python -m placement.speed

bench-room: setup ## Plans of returns, moves and suggestions at 5,000 nodes
	@$(BIN)/python -m room $(ARGS)

bench-shim: setup ## What the shim costs, native and shimmed in turn
	@$(MAKE) --no-print-directory -s -C shim all
	@$(BIN)/python bench/shim $(ARGS)

bench-elasticity: setup ## The elastic loop beside its rivals on public traces
	@$(BIN)/python -m elasticity $(ARGS)

bench-live: controlplane ## One load on the test bed and in the simulator, side by side
	@$(MAKE) --no-print-directory -s -C shim all
	@$(BIN)/python -m elasticity.live $(ARGS)

bench-gpu: setup ## The shim on a machine with an NVIDIA GPU; without one it says so
	@$(MAKE) --no-print-directory -s -C shim lib
	@$(BIN)/python bench/gpu/run.py $(ARGS)

bench-agent: setup ## Apply latency, lending reaction and cost of the node agent
	@$(MAKE) --no-print-directory -s -C shim all
	@$(BIN)/python -m agent $(ARGS)

clean: ## Remove build outputs and the virtual environment, not the cache
	@rm -rf build dist $(KERNEL) $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
