# The one list of commands; what is longer than a line is in scripts/. CI calls `make test`.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv/made

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: ## build what is missing, start the five services, wait until they are healthy
	@scripts/up

.PHONY: down
down: ## stop the five services; jobs, results and passwords stay
	@scripts/compose down

.PHONY: logs
logs: ## follow what the services log
	@scripts/compose logs --follow --tail=100

.PHONY: check
check: $(VENV) ## format, lints, types, documentation
	@scripts/check

.PHONY: test
test: check ## everything: check, all tests, and the whole system as a browser sees it
	@scripts/test

.PHONY: bench
bench: $(VENV) ## measure this machine and write docs/benchmarks.md, in some minutes; ARGS=--help lists options
	@.venv/bin/python -m bench $(ARGS)

.PHONY: clean
clean: ## remove the services with their data, and all that was built here
	@scripts/compose down --volumes --rmi local
	@rm -rf .venv target

$(VENV): e2e/requirements.txt services/web/requirements.txt scripts/venv
	@scripts/venv
	@touch $@
