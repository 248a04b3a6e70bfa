# All commands for people and CI; `make` lists them. The work is done by scripts/.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help up down logs reset doctor class receiver test lint types unit e2e interop grid attack bench load bundle format migration pins pictures clean
BIN := .venv/bin

help:
	@awk '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
	      /^[a-z0-9]+:.*## / { split($$0, part, /:.*## /); printf "  make %-9s %s\n", part[1], part[2] }' Makefile
	@echo
	@echo '  Settings: .env (created by the first make up), docs/running.md'
	@echo

##@ Run it
up: ## start everything, with or without Docker (MODE=compose|local; TLS=1: https; SCALE=2: replicas)
	@scripts/stack up
down: ## stop everything and keep the data
	@scripts/stack down
logs: ## follow the logs of all four services
	@scripts/stack logs
reset: ## restore the initial data, also while running
	@scripts/stack reset
doctor: ## check this machine and the running stack; says how to fix each fault
	@scripts/doctor
class: ## accounts for a room and a sheet to print (SEATS=30); RESET=12 resets one seat
	@scripts/class

##@ Test it
test: ## lint, types, unit and e2e; works in a fresh clone (THOROUGH=1, as in CI: the slow tests, too)
	@scripts/venv test
	@$(MAKE) --no-print-directory lint types unit e2e
lint: ## ruff: rules and formatting
	@scripts/venv test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
types: ## mypy --strict
	@scripts/venv test
	$(BIN)/mypy
unit e2e: export PICKUP_THOROUGH := $(THOROUGH)
unit: export PYTHONDONTWRITEBYTECODE :=  # else each process of the tests compiles all code again
unit: ## unit and flow tests, without browser and sockets (ARGS="-k logout"; THOROUGH=1: the slow ones, too)
	@scripts/venv test
	$(BIN)/pytest tests -p no:playwright -n auto --maxprocesses 4 --dist worksteal $(ARGS)
e2e: ## real processes, real browser (BASE=running, or BASE="IDP DISPATCH MANAGER LEARN" URLs; PROVIDER=, APP=: docs/regression.md)
	@scripts/e2e $(ARGS)
grid: ## the e2e tests at other providers and with an app of others (docs/grid.md)
	@scripts/grid $(ARGS)
interop: ## test the IdP with another client library: npm's openid-client (needs Node 20)
	@scripts/interop
attack: ## send hostile logout requests to both apps, or to yours (ARGS=--help)
	@scripts/venv test
	$(BIN)/python -m attack $(or $(ARGS),--pickup)
bench: ## measure start, reset, memory and logout; load tests with limits
	@scripts/bench
load: ## many people at once on the running stack: percentiles and errors (USERS=300 SECONDS=60)
	@scripts/load $(or $(USERS),300) $(or $(SECONDS),60)

##@ Learn it
receiver: ## write a back-channel logout receiver in ten steps, each checked as you save
	@scripts/receiver $(ARGS)

##@ Work on it
format: ## format the code with ruff
	@scripts/venv test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
migration: ## write the migration for changed tables (OF=idp NAME="add a nickname")
	@scripts/venv test
	@PYTHONPATH=. $(BIN)/python scripts/migration.py "$(OF)" "$(NAME)"
	@$(MAKE) --no-print-directory format
pins: ## pin the newest version of each package, with hashes (needs uv)
	cd requirements && for list in runtime test load; do \
	    uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --strip-extras \
	        --no-emit-index-url --no-emit-find-links --custom-compile-command "make pins" \
	        $$list.in -o $$list.txt >/dev/null || exit; \
	done
bundle: ## make one archive for a room without a network: sources, image, wheels
	@scripts/bundle
pictures: export PICKUP_THOROUGH := 1
pictures: ## take the pictures of README and tutorial again, after pages have changed
	@scripts/e2e --pictures -m "golden or pictured"
clean: ## stop, and remove everything that was built; keeps .env and the data
	@scripts/stack down
	@scripts/stack clean
