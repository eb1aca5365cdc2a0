# `make demo` and `make test` do everything, the environment included.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check slow bench clean

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/raynas search genome_cnn --data fashion_mnist_mini --search regularized-evolution --stop asha \
		--trials 16 --epochs 4 search.population=6 search.tournament=3 stop.grace=1 --home runs

test: $(VENV)/installed
	$(BIN)/python -m pytest -q

slow: $(VENV)/installed
	$(BIN)/python -m pytest -q -m slow

check: $(VENV)/installed
	$(BIN)/ruff check raynas tests examples
	$(BIN)/ruff format --check raynas tests examples
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

bench: $(VENV)/installed
	$(BIN)/raynas bench overhead
	$(BIN)/raynas bench training

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
