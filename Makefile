# helexa's everyday commands. `make help` prints the lines below that carry a ##.

# What the first install takes torch from: `cpu` is pinned, `gpu` takes the build your pip index offers.
# Later calls keep what was installed, so that `make test` on a GPU host tests with the torch that serves there.
EXTRA ?= $(or $(patsubst .venv/.up-installed-%,%,$(wildcard .venv/.up-installed-*)),cpu)
ARGS ?=

# Targets are relative and tools are started as modules: a clone may lie in a path with a space.
PYTHON := .venv/bin/python
UP := .venv/.up-installed-$(EXTRA)
DEV := .venv/.dev-installed-$(EXTRA)
PINS_cpu := constraints-cpu.txt
PINS_gpu := constraints.txt
PINS = $(or $(PINS_$(EXTRA)),$(error EXTRA is cpu or gpu, not "$(EXTRA)"))
# Settings must load without any server: neither the caller's nor those of an `up` in this folder.
SERVERLESS := env -u DATABASE_URL -u REDIS_URL HELEXA_HOME=.venv/no-home \
	HELEXA_SECRET_KEY=made-up-for-checks-only-0123456789-abcdefghijklmnopqrstuvwxyz

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help up test golden lint fmt constraints proof-gateway proof-ledger proof-books proof-mutants proof-usage proof-overspend proof-kill \
	proof-clients proof-logits proof-grammar proof-engine-memory proof-fairness proof-prefix proof-schedules proof-gpu \
	proof-splits proof-gateways proof-fuzz proof-leaving proof-peers proof-idle

help:  ## Show this list
	@echo "Usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):[^#]*##  *\(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r target text; do \
		printf '%-20s %s\n' "$$target" "$$text"; done

up: $(UP)  ## Install what is needed, then run helexa here; Ctrl-C stops it. ARGS="--gateways 2", EXTRA=gpu
	@exec $(PYTHON) manage.py up $(ARGS)

test: $(DEV)  ## Run the whole suite in parallel. ARGS="tests/accounts -k revoked" for a part of it
	@$(PYTHON) -m pytest -n logical --maxprocesses 4 -rsfE $(ARGS)

golden: $(DEV)  ## Write the golden files of the tests anew; read their diff before you commit it
	@HELEXA_WRITE_GOLDEN=1 $(PYTHON) -m pytest -m golden $(ARGS)

lint: $(DEV)  ## Check style, types, import contracts, migrations, deployment settings and pins
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports
	@$(SERVERLESS) $(PYTHON) manage.py makemigrations --check --dry-run
	@$(SERVERLESS) HELEXA_TRUST_PROXY=true $(PYTHON) manage.py check --deploy --fail-level WARNING
	@$(PYTHON) .ci/constraints.py --check

fmt: $(DEV)  ## Sort imports and format the code
	@$(PYTHON) -m ruff check --fix-only --quiet .
	@$(PYTHON) -m ruff format .

constraints: .venv/bin/python  ## Pin the newest versions that pyproject.toml allows, into the constraint files
	@$(PYTHON) .ci/constraints.py

proof-gateway: $(UP)  ## Measure the gateway under load, with Daphne and with uvicorn
	@$(PYTHON) manage.py loadtest gateway --server daphne $(ARGS)
	@$(PYTHON) manage.py loadtest gateway --server uvicorn $(ARGS)

proof-ledger: $(UP)  ## Measure the booking loop: on one hot account, and spread over 1,000
	@$(PYTHON) manage.py loadtest ledger $(ARGS)

proof-books: $(DEV)  ## Tell the books 2,000 random stories, concurrent steps included, and compare with a model
	@HELEXA_EXAMPLES=$${HELEXA_EXAMPLES:-2000} $(PYTHON) -m pytest -s tests/accounts/booking/test_against_model.py $(ARGS)

proof-mutants: $(DEV)  ## Show that without its locks, its conditional close or its grant check, helexa fails its tests
	@$(PYTHON) -m tests.proofs.mutants $(ARGS)

proof-usage: $(DEV)  ## Ask for a year of spend of a ledger of 10 million entries, and explain the queries
	@$(PYTHON) -m tests.proofs.scale $(ARGS)

proof-overspend: $(DEV)  ## Press on caps of every kind with 64 clients, 20 rounds. ARGS="--rounds 3 --seed 7"
	@$(PYTHON) -m tests.proofs.overspend $(ARGS)

proof-kill: $(DEV)  ## Kill gateways, neurons and servers under load, 50 rounds, then the failures that have names
	@$(PYTHON) -m tests.proofs.deaths $(ARGS)

proof-clients: $(DEV)  ## Run SDKs, frameworks and agents from PyPI and npm against helexa. ARGS="--only codex", ARGS=--write
	@$(PYTHON) -m tests.proofs.clients $(ARGS)

proof-logits: $(DEV)  ## Compare the engine's logits with transformers in float32, 20 batches of each architecture
	@$(PYTHON) -m tests.proofs.logits $(ARGS)

proof-grammar: $(DEV)  ## Ask for answers to 200 schemas, check each, and press on the engine with 50 hostile grammars
	@$(PYTHON) -m tests.proofs.grammar $(ARGS)

proof-engine-memory: $(DEV)  ## Send the engine 10,000 requests of every kind: memory stays flat, and nothing is left behind
	@$(PYTHON) -m tests.proofs.engine_memory $(ARGS)

proof-fairness: $(DEV)  ## Measure what two accounts are served that always wait, and what a third one waits beside a full engine
	@$(PYTHON) -m tests.proofs.engine_fairness $(ARGS)

proof-prefix: $(DEV)  ## Measure the second turn of a chat of 4,000 tokens against the first
	@$(PYTHON) -m tests.proofs.engine_prefix $(ARGS)

proof-schedules: $(DEV)  ## Take the engine through 300 random schedules of arrivals, cancels and faults, its memory through 3,000 of its own
	@HELEXA_EXAMPLES=$${HELEXA_EXAMPLES:-300} $(PYTHON) -m pytest tests/engine/scheduling/test_schedule_property.py tests/engine/memory/test_blocks.py $(ARGS)

proof-splits: $(DEV)  ## Split 5,000 answers at random in the parser and in every dialect: streamed or whole, they stay the same
	@HELEXA_EXAMPLES=$${HELEXA_EXAMPLES:-5000} $(PYTHON) -m pytest -k split --durations 8 tests/engine/answers/markup tests/inference $(ARGS)

proof-fuzz: $(DEV)  ## Send 20,000 requests with something wrong in each, in every dialect. ARGS="--requests 500 --seed 7"
	@$(PYTHON) -m tests.proofs.fuzz $(ARGS)

proof-leaving: $(DEV)  ## Let 500 clients leave at random points: all is settled, and the engine is idle at once
	@$(PYTHON) -m tests.proofs.leaving $(ARGS)

proof-gateways: $(DEV)  ## Measure 1, 2 and 4 gateways on one port, each held to a fifth of a core
	@$(PYTHON) -m tests.proofs.gateways $(ARGS)

proof-idle: $(DEV)  ## Measure what 2,000 open streams that say nothing cost a gateway in memory
	@$(PYTHON) -m tests.proofs.idle $(ARGS)

proof-peers: $(DEV)  ## Measure the gateway with budgets beside LiteLLM's proxy, which is installed for it. ARGS="--server uvicorn"
	@$(PYTHON) -m tests.proofs.peers $(ARGS)

proof-gpu: $(DEV)  ## Run what needs a GPU: tests, attention by kernel, the bench. Install with EXTRA=gpu first
	@$(PYTHON) -m tests.proofs.gpu $(ARGS)

# -- the virtual environment ---------------------------------------------------------------------

.venv/bin/python:
	@for python in python3.11 python3 python3.12 python3.13 python3.14; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "helexa: making .venv with $$("$$python" --version)"; \
			exec "$$python" -m venv --clear .venv; \
		fi; \
	done; \
	echo "helexa needs Python 3.11 or newer: install it (Debian: apt-get install python3 python3-venv) and run make again." >&2; \
	exit 1

# Leaving cpu for gpu or back must not keep the torch that is there; other pins simply move to what is asked for.
$(UP): pyproject.toml constraints.txt constraints-cpu.txt | .venv/bin/python
	@echo "helexa: installing the pinned packages into .venv (the first time takes minutes and about 2 GB of disk)"
	@$(if $(filter-out $(UP),$(wildcard .venv/.up-installed-*)),$(PYTHON) -m pip uninstall --quiet --yes torch)
	@$(PYTHON) -m pip install --disable-pip-version-check --editable ".[$(EXTRA),demo,fast]" --constraint $(PINS)
	@rm -f .venv/.*-installed-*
	@touch $@

$(DEV): $(UP)
	@echo "helexa: installing the tools for tests and checks into .venv"
	@$(PYTHON) -m pip install --disable-pip-version-check --quiet --editable ".[$(EXTRA),demo,fast,dev]" --constraint $(PINS)
	@touch $@
