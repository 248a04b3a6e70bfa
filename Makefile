# Everything a person (or CI) does here is a target; `make` prints them. The work is done by scripts/.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help up down logs reset doctor test lint types unit e2e interop attack bench format pins pictures clean
BIN := .venv/bin

help:
	@awk '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
	      /^[a-z0-9]+:.*## / { split($$0, part, /:.*## /); printf "  make %-9s %s\n", part[1], part[2] }' Makefile
	@echo
	@echo '  Settings: .env (made by the first make up), docs/running.md'
	@echo

##@ Run it
up: ## start everything, with Docker or without (MODE=compose|local; TLS=1: by https)
	@scripts/stack up
down: ## stop everything; the data is kept
	@scripts/stack down
logs: ## follow the logs of all three services
	@scripts/stack logs
reset: ## back to the first data, also while running
	@scripts/stack reset

doctor: ## check this machine and the running stack; each fault comes with its remedy
	@scripts/doctor

##@ Prove it
test: ## everything below, on a fresh clone too
	@scripts/venv test
	@$(MAKE) --no-print-directory lint types unit e2e
lint: ## ruff: rules and format
	@scripts/venv test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
types: ## mypy --strict
	@scripts/venv test
	$(BIN)/mypy
unit: ## unit and flow tests: no browser, no sockets (ARGS="-k logout")
	@scripts/venv test
	$(BIN)/pytest tests $(ARGS)
e2e: ## real processes, real browser (BASE=running, or BASE="IDP DISPATCH MANAGER" addresses)
	@scripts/e2e $(ARGS)
interop: ## a foreign client library at the IdP: npm's openid-client (needs Node 20)
	@scripts/interop
attack: ## hostile logout requests against both apps, or against yours (ARGS=--help)
	@scripts/venv test
	$(BIN)/python -m attack $(or $(ARGS),--pickup)
bench: ## figures: start, reset, memory, the logout; and an audit's scenes, which fail above their bounds
	@scripts/bench

##@ Work on it
format: ## let ruff put the code into shape
	@scripts/venv test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
pins: ## pin the newest versions of all packages, with hashes (needs uv)
	cd requirements && for list in runtime test; do \
	    uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --strip-extras \
	        --no-emit-index-url --no-emit-find-links --custom-compile-command "make pins" \
	        $$list.in -o $$list.txt >/dev/null || exit; \
	done
pictures: ## take the README's picture again, after a change of pages
	@scripts/e2e --pictures -m golden
clean: ## stop, and remove what was made, except .env and the data
	@scripts/stack down
	@scripts/stack clean
