# Everything runs in .venv, from the versions in constraints.txt. `make help` lists what there is.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.11
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable
INPUTS := pyproject.toml constraints.txt
OPENCV := $(shell sed -n 's/^opencv-python==//p' constraints.txt)
HEADLESS = $(BIN)/python -m pip uninstall -qq --yes opencv-python && \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --force-reinstall --no-deps opencv-python-headless==$(OPENCV)
# Threads that spin while they wait slow everything down where processes outnumber cores.
export OMP_WAIT_POLICY := passive

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.venv/created:
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade pip
	@touch $@

# What the sketch profile needs: no torch.
.venv/serve: .venv/created $(INPUTS)
	@echo "Installing the service (about a minute)…"
	@$(INSTALL) '.[serve]'
	@touch $@

# What the paper profile needs: torch and the published models' libraries, about 6 GB. ultralytics asks for the OpenCV that wants a
# screen's libraries; the headless one is the same without them.
.venv/paper: .venv/created $(INPUTS)
	@echo "Installing the published models' libraries, torch too (about 6 GB)…"
	@$(INSTALL) '.[paper]'
	@$(HEADLESS)
	@touch $@ .venv/serve

.venv/dev: .venv/created $(INPUTS)
	@echo "Installing everything, torch too (about 6 GB)…"
	@$(INSTALL) '.[dev]'
	@$(HEADLESS)
	@touch $@ .venv/paper .venv/serve .venv/ui

# What the page needs, beside the client alone.
.venv/ui: .venv/created $(INPUTS)
	@echo "Installing the page (about a minute)…"
	@$(INSTALL) '.[serve,ui]'
	@touch $@ .venv/serve

demo: .venv/serve ## make a silent sample video, start the service, give the video its sound: out/demo.mp4
	@$(BIN)/python -m client.demo

paper: .venv/paper ## install what the published models need: torch and friends, about 6 GB

CONFIG ?= serve_config.yaml
# Nothing large passes through Ray's own memory. Request ids are made safe to log where they come in.
serve: export RAY_USAGE_STATS_ENABLED = 0
serve: export RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES = 80000000
serve: export RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH = serve.access:at_the_proxy
serve: .venv/serve ## start the service on http://127.0.0.1:8000 (CONFIG=serve_config.gpu.yaml for the paper's models)
	@RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$$($(BIN)/python -c 'import secrets; print(secrets.token_hex())') \
		exec $(BIN)/python -m serve.one_machine run $(CONFIG)

SERVER ?= http://127.0.0.1:8000
ui: .venv/ui ## open the page on http://127.0.0.1:7860, for a service that runs (SERVER=http://…)
	@$(BIN)/immersivaudio ui --server $(SERVER)

lint: .venv/dev ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy models serve client tests bench

test: lint ## style, types and the whole suite
	$(BIN)/python -m pytest

bench: .venv/dev ## what we claim about speed, measured here
	@for program in bench/*.py; do name=$$(basename $$program .py); echo "== $$name"; $(BIN)/python -m bench.$$name || exit 1; done

screenshots: .venv/dev ## the page in all its states, at desktop and phone size, into docs/img/
	@$(BIN)/python -m tests.page.screenshots

constraints: ## renew constraints.txt: the newest versions that fit together
	rm -rf build/resolve && $(PYTHON) -m venv build/resolve
	build/resolve/bin/python -m pip install -qq --upgrade pip
	build/resolve/bin/python -m pip install -qq '.[dev]'
	build/resolve/bin/python -m pip freeze --exclude immersivaudio --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' > constraints.txt

.PHONY: help demo paper serve ui screenshots lint test bench constraints
