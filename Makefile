# The list of all commands. Anything longer than a line is in scripts/. CI calls `make test`.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv/made

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: ## build the images, start the five services and wait until they answer
	@scripts/up

.PHONY: up-cluster
up-cluster: ## the same with a queue of three nodes, and two of each service behind nginx
	@CLUSTER=yes scripts/up

.PHONY: observe
observe: ## the five services with Prometheus, a dashboard in Grafana, and their traces in Jaeger
	@OBSERVE=yes scripts/up

.PHONY: down
down: ## stop the five services; keep jobs, results and passwords
	@OBSERVE=yes scripts/compose down --remove-orphans

.PHONY: logs
logs: ## follow the logs of the services
	@scripts/compose logs --follow --tail=100

.PHONY: check
check: $(VENV) ## check format, lints, types and documentation
	@scripts/check

.PHONY: test
test: check ## run check and all tests, including those of the whole system in a browser
	@scripts/test

.PHONY: bench
bench: $(VENV) ## measure this machine and write docs/benchmarks.md (takes minutes); ARGS=--help lists options
	@.venv/bin/python -m bench $(ARGS)

.PHONY: fuzz
fuzz: ## try the parsers and the tail of the log on random input; CASES=100000 for each property
	@PROPTEST_CASES=$(or $(CASES),100000) cargo test --release --locked --package protocol --test properties
	@PROPTEST_CASES=$(or $(CASES),100000) cargo test --release --locked --package queue --all-features --lib properties

.PHONY: mutants
mutants: $(VENV) ## change the code in small ways and list what no test notices (takes hours); PACKAGES=protocol
	@scripts/mutants $(or $(PACKAGES),protocol queue calculator websocket)

.PHONY: screenshots
screenshots: $(VENV) ## take a picture of each state of the page, into docs/screenshots
	@scripts/need chromium=chromium
	@cargo build --release --locked --package fibwire
	@rm -rf docs/screenshots
	@.venv/bin/python -m e2e.screenshot target/release/fibwire docs/screenshots

.PHONY: chaos
chaos: $(VENV) ## disturb the five services under load and write docs/faults.md; SEED=, MINUTES=, CLUSTER=yes, ARGS=--help
	@.venv/bin/python -m bench.chaos --page docs/faults$(if $(CLUSTER),-cluster).md $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

.PHONY: simulate
simulate: ## simulate a million seeds; SEEDS=N runs N of them, SEED=N replays one
	@cargo run --release --locked --quiet --package simulation -- $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000000))

.PHONY: clean
clean: ## remove the services with their data, and everything that was built here
	@CLUSTER=yes OBSERVE=yes scripts/compose down --volumes --rmi local
	@rm -rf .venv target

$(VENV): e2e/requirements.txt services/web/requirements.txt scripts/venv
	@scripts/venv
	@touch $@
