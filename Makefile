# Everything runs from a fresh clone with nothing but python3 (3.11 or newer, with venv) and make.
# The bot needs the packages of requirements.txt, tests and lint those of requirements-dev.txt, too. They are installed
# into .venv on first use, and again when one of these files changes.

PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
READY := .venv/.ready
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
  --require-hashes --only-binary :all:

.DEFAULT_GOAL := help
.PHONY: help try run check audit access health manifest test lint soak bench screenshots lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(RUNTIME): requirements.txt
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "python3 3.11 or newer, with venv, is needed; PYTHON=... names another" >&2; exit 1; }
	@echo "Installing the bot's packages into .venv: 80 MB, about 15 seconds ..." >&2
	@$(PYTHON) -m venv --clear .venv
	@$(INSTALL) --requirement requirements.txt
	@touch $(RUNTIME)

$(READY): $(RUNTIME) requirements-dev.txt pyproject.toml
	@echo "Installing the packages for tests and lint into .venv: 390 MB more, about 20 seconds ..." >&2
	@$(INSTALL) --requirement requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-index --no-build-isolation --editable .
	@touch $(READY)

try: $(RUNTIME) ## the bot with a pretend Slack and ModelsLab, on this machine
	@$(BIN)/python -m bot try $(ARGS)

run: $(RUNTIME) ## the bot, with the settings of the environment and .env
	@$(BIN)/python -m bot run

check: $(RUNTIME) ## what is set up wrong, and how to fix it; ARGS=--verbose lists every setting
	@$(BIN)/python -m bot check $(ARGS)

audit: $(RUNTIME) ## who asked for what in the last week; ARGS="--since 30d" for longer
	@$(BIN)/python -m bot audit $(ARGS)

access: $(RUNTIME) ## the access that admins gave in Slack
	@$(BIN)/python -m bot access $(ARGS)

health: $(RUNTIME) ## whether the bot on this machine is alive; ARGS=--ready: whether it takes commands
	@$(BIN)/python -m bot health $(ARGS)

manifest: $(RUNTIME) ## the manifest of the Slack app; ARGS="--url https://bot.example.com" for HTTP mode
	@$(BIN)/python -m bot manifest $(ARGS)

test: $(READY) ## the whole test suite, with branch coverage
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest -n auto --dist worksteal $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report

soak: $(READY) ## the fault tests that take minutes; ATTACK_SECONDS=600 is for all attacks together
	@$(BIN)/python -m pytest -m soak $(ARGS)

bench: $(READY) ## how fast the bot is, compared with default Bolt; ARGS=--quick takes a minute
	@$(BIN)/python -m tests.bench $(ARGS)

screenshots: $(READY) ## the pictures of docs/, played on npm's local-slack (needs npm, a Chromium, Linux on x86-64)
	@$(BIN)/python -m tests.screenshots

lint: $(READY) ## style, types, imports, the manifest, the deployment files, the workflows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/check-jsonschema --schemafile tests/data/slack-manifest.schema.2.0.0.json manifest.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml deploy/compose.postgres.yaml
	@$(BIN)/kubernetes-validate --strict --quiet --no-warn deploy/kubernetes/*.yaml deploy/kubernetes/*/*.yaml
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.renovate renovate.json
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	@$(BIN)/zizmor --offline --quiet .github

# Without annotations and addresses: the same lock serves every index, Python 3.11 to 3.14, Linux and macOS.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header pyproject.toml

lock: ## resolve the three lock files again (needs uv)
	$(COMPILE) --upgrade --extra postgres -o requirements.txt
	$(COMPILE) --upgrade --extra postgres --group dev --constraint requirements.txt -o requirements-dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-header --group build --constraint requirements-dev.txt -o requirements-build.txt

clean: ## remove what was built
	rm -rf .venv .coverage* htmlcov build dist tests/screenshots/node_modules
