# Everything that is supported is listed by `make help`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c

BIN := .venv/bin
READY := .venv/.ready

# The longest first, so that both workers end at about the same time. A worker that has one test
# left is given the next file already: a short one after the power cuts, which are one test.
LONGEST := $(patsubst %,tests/vm/test_%.py,update power_cuts extension config)
VM_TESTS := $(LONGEST) $(filter-out $(LONGEST),$(sort $(wildcard tests/vm/test_*.py)))
# What fails in real time is tried once more, and told (docs/adr/0046).
VM_PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=20 --reruns 1 -r aR
LAB := $(BIN)/python -m tests.lab

.PHONY: help demo test build verify lint test-unit test-update test-config test-overlay test-pods test-host test-faults fuzz bench clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml tools/setup
	@tools/setup
	touch $@

demo: $(READY) ## build two releases, boot the first, watch it update itself to the second and serve a page
	@$(BIN)/python -m builder.demo

test: $(READY) lint ## lint, types, unit tests, the tests in the lab and the VM tests
	@# The same examples each time: new ones are looked for by the other targets.
	$(BIN)/pytest -n 2 -m "not thorough" --hypothesis-seed=1 tests/unit
	mkdir -p build
	# The lab mostly waits; what is printed meanwhile is the builds'.
	$(LAB) -m "not wireguard and not thorough" tests/net >build/lab.log 2>&1 & lab=$$!
	$(BIN)/python tests/vm/prepare.py
	wait $$lab || again=1
	cat build/lab.log
	test -z "$${again:-}" || $(LAB) -m "not wireguard and not thorough" tests/net
	$(VM_PYTEST) -m "not thorough" $(VM_TESTS)

build: $(READY) ## build a release of images/base.yaml into build/, with keys of your own in keys/
	@tools/own-keys
	$(BIN)/bedplate build

verify: $(READY) ## build twice, in other folders at other times, and compare every byte
	@tools/own-keys
	$(BIN)/bedplate build --verify

lint: $(READY) ## style, types and spelling
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

test-unit: $(READY) ## the tests that need no root, no network and no VM
	@$(BIN)/pytest -n 2 tests/unit

test-update: $(READY) ## the tests of boot and update, in VMs
	@$(VM_PYTEST) $(VM_TESTS) --ignore-glob="*/test_config*" --ignore-glob="*/test_overlay*" --ignore-glob="*/test_pods*" --ignore-glob="*/test_operating*"

test-config: $(READY) ## the tests of cloud-config, without and with VMs
	@$(BIN)/pytest -n 2 tests/unit/test_config_*.py
	$(VM_PYTEST) tests/vm/test_config*.py

test-overlay: $(READY) ## the tests of the overlay and of etcd, in the lab and in VMs
	@$(BIN)/pytest -n 2 tests/unit/test_etcd*.py tests/unit/test_overlay_*.py
	$(LAB) -m "not wireguard" $(filter-out tests/net/test_pods_% tests/net/test_fleet%,$(wildcard tests/net/test_*.py))
	$(BIN)/pytest tests/vm/test_overlay*.py

test-pods: $(READY) ## the tests of pods and the fleet, with podman, etcd and nftables in the lab and in VMs
	@$(BIN)/pytest -n 2 tests/unit/test_pods_*.py tests/unit/test_fleet_*.py
	$(LAB) tests/net/test_pods_*.py tests/net/test_fleet.py
	$(LAB) --pods tests/podlab
	$(BIN)/pytest tests/vm/test_pods*.py

test-host: $(READY) ## the tests of the API, certificates, extensions and the reboot lock, with VMs
	@$(BIN)/pytest -n 2 $(wildcard $(addprefix tests/unit/test_,$(addsuffix *.py,api_ pki host_ lock_ extension_ config_redacted wipe leaving trusted update_override)))
	$(LAB) tests/net/test_lock.py tests/net/test_journal_files.py
	$(BIN)/pytest tests/vm/test_operating*.py tests/vm/test_extension.py

test-faults: $(READY) ## power cuts at random moments, ten of each kind, and a release that is stuck; long
	@$(BIN)/pytest tests/fault

fuzz: $(READY) ## random documents into the parser for FUZZ_SECONDS, 60 by default
	@$(BIN)/python -c 'import atheris' 2>/dev/null ||
		$(BIN)/pip install --quiet --disable-pip-version-check --only-binary atheris --editable '.[dev,fuzz]' || {
		echo "bedplate: there is no wheel of atheris for this Python ($$($(BIN)/python --version));" \
			"use Python 3.11 to 3.13 on x86-64; tests/unit tries random documents too" >&2
		exit 1
	}
	PYTHONPATH=tests/unit $(BIN)/python tests/fuzz/fuzz_document.py -max_total_time=$${FUZZ_SECONDS:-60} -verbosity=0
	echo "every input gave a document, or an error in its place"

bench: $(READY) ## the figures, in one table; with BENCH=--cold that of a build from nothing, too
	@$(BIN)/python -m tests.bench $(BENCH)

clean: ## remove what was built and cached
	rm -rf build .cache .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
