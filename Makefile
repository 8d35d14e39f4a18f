# The two commands a person needs are `make run` and `make test`; `make setup` is what both begin with.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
# Debian's browser and Korean fonts drive the page's test; without them that test is skipped.
BROWSER := chromium fonts-nanum

.PHONY: setup run test lint bench browser clean
.NOTPARALLEL:

setup: $(STAMP)

# torch comes first and by exact version, so that its CPU build can be chosen and nothing else asks for another.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[train,dev]'
	touch $(STAMP)

run: setup
	$(BIN)/damso serve --open

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint browser
	$(BIN)/python -m pytest

browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -qq -y --no-install-recommends $(BROWSER) >/dev/null; } \
		|| echo "chromium is not installed: the page's test will be skipped"

bench: setup
	for name in generation routing retrieval serving tools vision; do $(BIN)/python -m benchmarks.$$name; done

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
