# Everything is done by scripts/, in the virtual environment .venv that `scripts/install` makes.
.DEFAULT_GOAL := help
.PHONY: help install run test check lint bench churn

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Install the gateway and its demo into .venv.
	@scripts/install

run: ## Install, then start a gateway with two real model servers.
	@scripts/install
	@trap : INT; .venv/bin/multiverse demo || [ $$? -eq 130 ]

test: ## Install, then run the whole test suite.
	@scripts/install --dev
	@scripts/test

check: ## Check format, lint, types and import contracts.
	@scripts/install --dev
	@scripts/check

lint: ## Format, and repair what can be repaired.
	@scripts/install --dev
	@scripts/lint

bench: ## Compare the gateway with its peers (20 minutes).
	@scripts/install --dev
	@scripts/bench

churn: ## Count answers that arrive whole while servers die (80 minutes).
	@scripts/install --dev
	@scripts/churn
