# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DRIVE ?=
OUT ?=

.PHONY: demo test install install-test lint bench clean

demo: install
	@tools/demo.sh "$(BIN)" "$(DRIVE)" "$(OUT)"

test: install-test
	@$(BIN)/pytest -n 2 --dist worksteal

lint: install-test
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

install: $(VENV)/installed
install-test: $(VENV)/installed-test

$(VENV)/installed: pyproject.toml tools/install.sh
	@tools/install.sh "$(PYTHON)" "$(VENV)" ""
	@touch $@

$(VENV)/installed-test: pyproject.toml tools/install.sh
	@tools/install.sh "$(PYTHON)" "$(VENV)" "test"
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) runs .demo
