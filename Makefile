# Two commands matter to a newcomer: `make demo` and `make test`. Each sets up what it needs first. `make help` names all.
.PHONY: help setup demo test test-durable2 bench docs faults soak storm check check-infra format lock audit smoke test-real test-core-tools clean

# Tests and tools start hundreds of Python processes, each in half the time where bytecode may be written; some containers
# forbid it.
export PYTHONDONTWRITEBYTECODE :=

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "%-16s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv, or bring it up to date
	@scripts/setup

demo: setup ## Start the laptop cloud and load tables through it
	@.venv/bin/python -m devcloud.demo

# Three processes for two cores: a third of a test's time is waiting.
test: setup ## Run all tests
	@scripts/setup .venv-package requirements.txt
	@scripts/setup .venv-checkov requirements-checkov.txt
	@scripts/setup .venv-docs requirements-docs.txt
	@.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-durable2: ## Run the orchestration tests on the next Durable SDK
	@scripts/setup .venv-durable2 requirements-durable2.txt
	@.venv-durable2/bin/python -m pytest tests/durable2

# Some twenty minutes on two idle cores; BENCH="--rows 100000 --runs 1" for a quick look.
bench: ## Measure against other tools; BENCH="--rows 100000 --runs 1" for a quick look
	@scripts/setup .venv-bench requirements-bench.txt
	@.venv-bench/bin/python -m benchmarks.sql_server $(BENCH)

# The site of docs/, to be opened from disk: site/index.html.
docs: ## Build the site of docs/ into site/
	@scripts/setup .venv-docs requirements-docs.txt
	@.venv-docs/bin/python -m mkdocs build --strict

# Every crash point of every kind of load, and a thousand random schedules (docs/faults.md). FAULTS="--help" for more.
faults: setup ## Try every crash point and a thousand schedules; FAULTS="--help" for more
	@.venv/bin/python -m tests.faults.prover $(FAULTS)
	@$(if $(FAULTS),true,.venv/bin/python -m tests.faults.changed_formats)
	@$(if $(FAULTS),true,CAPTURE_SEEDS=40 .venv/bin/python -m pytest -q -k any_sequence \
	    tests/integration/test_change_data_capture.py)

# The app under changes, loads, deaths and faults for a while, and what is left of it; SOAK="--minutes 60" (docs/faults.md).
soak: setup ## Run the app under changes, deaths and faults; SOAK="--minutes 60"
	@.venv/bin/python -m tests.soak $(SOAK)

# A load of 200 tables on four instances of the app that die at random, for each of ten seeds (docs/faults.md).
storm: setup ## Run loads on instances that die; STORM="--seeds 1 --seed 7"
	@.venv/bin/python -m tests.storm $(STORM)

check: setup ## Run linters, type checker and import floors
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache --no-logo

# Terraform itself and other tools on infra/ and docs/ (docs/deploy/pipelines.md).
check-infra: ## Check infra/ and docs/ by Terraform and other tools
	@scripts/setup .venv-infra requirements-infra.txt
	@.venv-infra/bin/python -m pytest -n 2 --dist loadfile tests/infra
	@scripts/setup .venv-az requirements-az.txt
	@.venv-az/bin/python scripts/az_commands.py --check

format: setup ## Format the code
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

lock: ## Pin every dependency again
	@scripts/lock

# Known vulnerabilities in the pins, by the few advisories that are kept here; the pipelines ask a database.
audit: setup ## Look for known vulnerabilities in the pins
	@.venv/bin/python scripts/audit.py requirements*.txt

# A load end to end, and the tests of the SQL Server home and store, on a SQL Server of your own: SQL_SERVER=host,port, and
# SQL_USERNAME and SQL_PASSWORD in the environment. Databases and a login named hygge_test_… are made, and dropped again.
test-real: setup ## Run the tests of home and store on a SQL Server of your own; SQL_SERVER=host,port
	@test -n '$(SQL_SERVER)' || { echo 'test-real: name a server: make test-real SQL_SERVER=host,port' >&2; exit 2; }
	@test -n "$$SQL_USERNAME" && test -n "$$SQL_PASSWORD" || { echo 'test-real: SQL_USERNAME and SQL_PASSWORD are needed' >&2; exit 2; }
	@TEST_SQL_SERVER='$(SQL_SERVER)' .venv/bin/python -m pytest -q -rs -m any_server tests/integration

# The app's own API in the real Functions Core Tools (`func` on the PATH), with durable state in Azurite on its usual ports.
test-core-tools: setup ## Run the tests of the HTTP API in Functions Core Tools beside Azurite
	@command -v "$${FUNC:-func}" >/dev/null || { echo 'test-core-tools: Functions Core Tools 4 are needed: func on the PATH, or FUNC=path' >&2; exit 2; }
	@TEST_CORE_TOOLS=$${FUNC:-func} .venv/bin/python -m pytest -q -rs tests/e2e/test_http_api.py

# The wheel in an empty environment, without any development dependency; needs a package index.
smoke: setup ## Try the built wheel in an empty environment
	@rm -rf dist
	@$$(command -v uv || echo .venv-tools/bin/uv) build -q --wheel -o dist
	@.venv/bin/python scripts/smoke.py dist

clean: ## Remove what the other targets have made
	@rm -rf .venv .venv-bench .venv-durable2 .venv-package .venv-checkov .venv-docs .venv-infra .venv-az .venv-tools .devcloud site .mypy_cache .ruff_cache .pytest_cache
