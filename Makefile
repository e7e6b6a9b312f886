# The verbs of this repository. Each that needs the virtual environment makes it first.

.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PINS := -c constraints.txt --build-constraint constraints.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PROJECTS := ./framework ./drivers/sqlite ./drivers/dynamodb
BENCHES := bench_http bench_dynamodb bench_kv bench_routes bench_connections bench_workers bench_startup bench_memory
EXTRAS := [testing,tracing]
PORT := $(or $(HTTP_PORT),8000)

.PHONY: help setup run test lint format bench $(BENCHES) bench_instructions durability soak dist standalone clean

help: ## list the verbs
	@grep -E '^[a-z]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with everything in it (the other verbs do this by themselves)

$(STAMP): pyproject.toml constraints.txt $(PROJECTS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Kvik needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || \
		{ echo "Kvik's setup needs pip: apt-get install python3-pip, or https://pip.pypa.io/en/stable/installation" >&2; exit 1; }
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --upgrade 'pip>=25.3'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS) \
		--group dev $(patsubst %,-e '%',$(subst ./framework,./framework$(EXTRAS),$(PROJECTS)))
	@touch $@

run: $(STAMP) ## start examples/dynamodb, on SQLite unless DYNAMODB_TABLE is set
	@echo "Serving examples/dynamodb. In another terminal, try:"
	@echo "  curl -X POST 'localhost:$(PORT)/dynamodb?key=greeting'"
	@echo "  curl localhost:$(PORT)/dynamodb/greeting"
	@echo "  curl -X DELETE localhost:$(PORT)/dynamodb/greeting"
	@echo "  curl localhost:$(PORT)/health"
	@echo "Stop with Ctrl-C."
	@cd examples/dynamodb && exec ../../$(BIN)/python main.py

test: $(STAMP) ## run the tests, on all cores (pass options with ARGS="-k name"); DYNAMODB_ENDPOINT="URL,…" adds real servers
	$(BIN)/python -m pytest -n auto --dist loadscope $(ARGS)

lint: $(STAMP) ## check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(BENCHES) ## measure, in ratios; needs wrk and npm (apt-get install wrk npm), and two cores

bench_http: PROGRAM := http_server.bench
bench_dynamodb: PROGRAM := dynamodb.bench
bench_kv: PROGRAM := kv.bench
bench_routes bench_connections bench_workers bench_startup bench_memory bench_instructions: PROGRAM = http_server.$(@:bench_%=%)
$(BENCHES) bench_instructions: $(STAMP)
	PYTHONPATH=benchmarks $(BIN)/python -m $(PROGRAM) $(ARGS)

durability: $(STAMP) ## kill a hundred processes that write to SQLite; nothing acknowledged may be lost
	$(BIN)/python -m pytest -m durability $(ARGS)

soak: $(STAMP) ## send 200 000 operations to DynamoDB through random faults; no promise may be broken; needs npm
	$(BIN)/python -m pytest -m soak -s $(ARGS)

dist: $(STAMP) ## build wheels and sdists of all distributions into dist/, and check what an index would show of them
	rm -rf dist
	@for project in $(PROJECTS); do $(BIN)/python -m build --no-isolation --outdir dist $$project >/dev/null || exit 1; done
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

standalone: $(STAMP) ## install each driver alone in an empty environment and use it there
	$(BIN)/python -m pytest -m standalone $(ARGS)

clean: ## remove what the other verbs have made
	rm -rf $(VENV) dist .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
