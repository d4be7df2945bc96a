# `make` alone prints the targets. Variables are given on the command line: make soak USERS=20 DURATION=1h
TOPOLOGY ?= topologies/embedded.yaml
TIMELINE ?= chaos/timelines/three_tier.yaml
USERS    ?= 9
DURATION ?=
SCENARIOS ?=
ARRIVALS ?=
SHAPE ?=
WORKERS ?=
OPTIONS ?=
VIA ?= gateway
RESULTS  ?= results
RUN      ?= latest
A ?=
B ?=
URL ?=
MODEL ?=
EVERY ?= 3s
SEED     ?= 1
TRIALS   ?= 20
WITHOUT_REAPER ?=
RESTORE_WITHIN ?=

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV := uv==0.13.8# installs 72 packages in seconds, and compiles them, which halves the start of the gateway
PY := .venv/bin/python
# Only the embedded stack needs the gateway's environment; a topology with urls does not.
GATEWAY := $(if $(shell grep -s '^embedded:' $(TOPOLOGY)),.venv-gateway/installed)
# The environment of real engines, only if the topology uses one.
ENGINES := $(if $(shell grep -sE '^[^\#]*engine: *llamacpp' $(TOPOLOGY)),.venv-engines/installed)
comma := ,
LOCUST = $(PY) -m locust -f locustfile.py$(if $(SHAPE),$(comma)scenarios/shapes/$(SHAPE).py) --topology $(TOPOLOGY) --timeline $(TIMELINE) --seed $(SEED) \
	--results $(RESULTS) $(if $(SCENARIOS),--scenarios $(SCENARIOS)) $(if $(ARRIVALS),--arrivals $(ARRIVALS)) --stop-timeout 30 --loglevel WARNING $(if $(WORKERS),--processes $(WORKERS)) $(if $(DURATION),--duration $(DURATION)) $(if $(WITHOUT_REAPER),--without-reaper) $(if $(RESTORE_WITHIN),--restore-within $(RESTORE_WITHIN)) $(OPTIONS)

help: ## print this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  exit codes: 0 pass, 1 an expectation failed, 3 aborted by a guard, 4 NOT RESTORED (make restore), 5 unknown, 64 bad input, 70 an error of Brownout itself"
	@echo "  variables: TOPOLOGY TIMELINE USERS ARRIVALS SHAPE WORKERS VIA DURATION SCENARIOS RESULTS RUN A B URL MODEL EVERY MORE TOLERANCE ALTHOUGH SEED TRIALS WITHOUT_REAPER RESTORE_WITHIN OPTIONS"

setup: .venv/installed .venv-gateway/installed .venv-engines/installed ## set up the virtual environments: harness, gateway, engines

soak: .venv/installed $(GATEWAY) $(ENGINES) ## start the stack, run load, faults and restores, make the report, print the verdict, stop the stack
	@exec $(LOCUST) --headless --leash --only-summary --users $(USERS) --spawn-rate $(USERS)

ui: .venv/installed $(GATEWAY) $(ENGINES) ## the same from Locust's web UI, on http://127.0.0.1:8089
	@exec $(LOCUST) --leash --users $(USERS) --spawn-rate $(USERS)

ramp: SHAPE := ramp
ramp: .venv/installed $(GATEWAY) $(ENGINES) ## find the highest rate of arrivals within the objective, through the gateway, to VIA, or to VIA=each in turn; no faults
	@exec $(LOCUST) --via $(VIA) --headless --leash --only-summary --users 1 --spawn-rate 1

plan: .venv/installed ## show every move of TIMELINE on TOPOLOGY; touches nothing
	@$(PY) -m analysis check $(TIMELINE) --topology $(TOPOLOGY)
	@$(PY) -m chaos plan --topology $(TOPOLOGY) --timeline $(TIMELINE) --seed $(SEED) $(if $(DURATION),--duration $(DURATION)) $(if $(WITHOUT_REAPER),--without-reaper) $(if $(RESTORE_WITHIN),--restore-within $(RESTORE_WITHIN))

report: .venv/installed ## make the report of RUN again, and print its verdict
	@$(PY) -m analysis report $(RUN)

compare: .venv/installed ## show what got better or worse from A to B (and MORE): runs, or baseline files kept in git
	@$(if $(and $(A),$(B)),,echo "make compare A=run B=run: A is the reference, B is compared with it" >&2; exit 64;) $(PY) -m analysis compare $(A) $(B) $(MORE) $(if $(TOLERANCE),--tolerance $(TOLERANCE)) $(if $(ALTHOUGH),--although $(ALTHOUGH)) $(OPTIONS)

notebooks: .venv/notebooks ## run the notebooks on RUN, as HTML into its report; with A and B on B, and compare.ipynb on both
	@$(PY) -m analysis notebooks $(if $(B),$(B),$(RUN)) $(if $(A),--against $(A))

lab: .venv/notebooks ## open Jupyter Lab on the notebooks, for RUN
	@$(PY) -m analysis lab $(RUN)

# The key of the stack that make up has started, if none was set.
UP_KEYS := $(if $(URL),,$(if $(or $(GATEWAY),$(filter .stack/up/%,$(TOPOLOGY))),$(wildcard .stack/up/keys)))

watch: .venv/installed ## send a request at the interval EVERY, show the tier that answered, and each failover; on the stack of make up, on TOPOLOGY, or on URL and MODEL
	@$(if $(UP_KEYS),. ./$(UP_KEYS);) exec $(PY) -m chaos watch $(if $(URL),--url $(URL),$(if $(filter file,$(origin TOPOLOGY)),,--topology $(TOPOLOGY))) $(if $(MODEL),--model $(MODEL)) --every $(EVERY) $(OPTIONS)

restore: .venv/installed ## restore everything that any run left open, with TOPOLOGY verified by an answer; safe at any time
	@$(if $(UP_KEYS),. ./$(UP_KEYS);) $(PY) -m chaos restore $(if $(filter-out topologies/embedded.yaml,$(TOPOLOGY)),--topology $(TOPOLOGY)) $(if $(RESTORE_WITHIN),--restore-within $(RESTORE_WITHIN))

up: .venv/installed .venv-gateway/installed $(ENGINES) ## start the embedded stack and leave it running
	@$(PY) -m embedded up --topology $(TOPOLOGY)

down: .venv/installed ## stop the stack that `make up` started
	@$(PY) -m embedded down

status: .venv/installed ## show which parts of that stack answer
	@$(PY) -m embedded status

# Most tests wait for something, so four run at a time; those that kill whole stacks need the machine to themselves.
PARALLEL = -n 4 --dist loadgroup --no-loadscope-reorder

# With this variable set, each test file and each program that a test starts would be compiled again.
test verify: export PYTHONDONTWRITEBYTECODE :=

test: setup .venv/dev .venv/notebooks ## run the tests: about eight minutes on two cores
	$(PY) -m pytest -m "not verify" $(PARALLEL)

verify: test ## run all tests, also those that take too long for test, or need a browser (Chromium)
	$(PY) -m pytest -m verify $(PARALLEL) tests/torture
	$(PY) -m pytest -m verify --ignore tests/torture

torture: .venv/dev ## kill, freeze and break the chaos controller at every stage, TRIALS times each; the table is in RESULTS/torture
	$(PY) -m tests.torture --trials $(TRIALS) --results $(RESULTS)/torture

check: .venv/dev ## check format, lint and types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

bench: setup .venv/dev ## measure the cost of the harness itself, and the errors of its numbers
	$(PY) -m benchmarks.records
	$(PY) -m benchmarks.streams
	$(PY) -m benchmarks.moves --steps 15
	$(PY) -m benchmarks.report

.venv/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet $(UV)
	.venv/bin/uv pip install --quiet --compile-bytecode --python $(PY) -r requirements.txt
	@touch $@

.venv/dev: requirements-dev.txt .venv/installed
	.venv/bin/uv pip install --quiet --compile-bytecode --python $(PY) -r requirements-dev.txt
	@touch $@

.venv/notebooks: requirements-notebooks.txt .venv/installed
	.venv/bin/uv pip install --quiet --compile-bytecode --python $(PY) -r requirements-notebooks.txt
	@touch $@

.venv-gateway/installed: requirements-gateway.txt .venv/installed
	$(PYTHON) -m venv .venv-gateway
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv-gateway/bin/python -r requirements-gateway.txt
	@touch $@

.venv-engines/installed: requirements-engines.txt .venv/installed
	$(PYTHON) -m venv .venv-engines
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv-engines/bin/python -r requirements-engines.txt
	@touch $@

faults: .venv/installed ## print the catalogue of faults; docs/faults.md is this text
	@$(PY) -m chaos faults

.PHONY: help setup soak ui ramp plan report compare notebooks lab watch restore faults up down status test verify torture check bench
.DEFAULT_GOAL := help
