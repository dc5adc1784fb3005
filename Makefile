# Gatecast's everyday commands; `make help` lists them.
# Everything lives in $(VENV). Installation is skipped until pyproject.toml or constraints.txt change.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV ?= .venv
# The first Python that is new enough; `make PYTHON=/path/to/python …` chooses another.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo "$$python" && break; done)
# Test processes. Each uses one thread: more threads than cores only get into each other's way.
WORKERS ?= 2
PYTEST_ARGS ?=
# Of `make faults`; REPORT="--report docs/reliability.md" writes its table there.
SIZE ?= full
ROWS ?=
RESULTS ?= $(CURDIR)/.cache/faults.jsonl
REPORT ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
FAULTS := $(VENV)/.installed-faults
STACK := $(VENV)/.installed-stack
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMEXPR_NUM_THREADS=1

.PHONY: help
help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf '  make %-10s %s\n' "$$name" "$$what"; done

.PHONY: demo
demo: $(DEMO) ## Install, then train, serve and show a forecast of the M3 competition
	$(BIN)/gatecast demo $(DEMO_ARGS)

.PHONY: test
# Types and import rules are checked by one process beside the tests, which wait for one another
# now and then; what they say comes last.
test: lint ## Install, then lint, types, import rules and tests
	@said=$$(mktemp); \
	$(MAKE) --no-print-directory types imports >"$$said" 2>&1 & beside=$$!; \
	$(MAKE) --no-print-directory unit; tests=$$?; \
	wait $$beside; checks=$$?; cat "$$said"; rm -f "$$said"; \
	test $$tests -eq 0 && test $$checks -eq 0

.PHONY: setup
setup: $(DEV) ## Install everything that the tests need into .venv

.PHONY: lint
lint: $(DEV) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: format
format: $(DEV) ## Put style and formatting right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: $(DEV) ## Check types
	$(BIN)/python -m mypy forecasting serving pipelines

.PHONY: imports
imports: $(DEV) ## Check which package may import which
	$(BIN)/lint-imports

.PHONY: unit
unit: $(DEV) ## Run the tests but the slow ones; PYTEST_ARGS adds options
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

.PHONY: slow
slow: $(DEV) ## Run the slow tests
	$(ONE_THREAD) $(BIN)/python -m pytest -m slow --timeout 1800 $(PYTEST_ARGS)

.PHONY: properties
properties: $(DEV) ## Run the tests that draw their inputs; those that name no number draw 400
	$(ONE_THREAD) HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -m "hypothesis and not slow" \
		-n $(WORKERS) --dist loadfile --timeout 1800 $(PYTEST_ARGS)

.PHONY: year
year: $(DEV) ## Play a year of monthly deliveries, retraining and bad days on real data
	$(ONE_THREAD) $(BIN)/python -m pytest tests/pipelines/test_year.py --timeout 3600 $(PYTEST_ARGS)

.PHONY: first-hour
first-hour: $(DEV) ## Play a stranger's first hour from the wheel on, and write docs/first-hour.md
	$(BIN)/python -m tests.first_hour

.PHONY: faults
# Rows of docs/reliability.md by name: make faults ROWS="fuzz flips". SIZE is a share of the full one.
faults: $(FAULTS) ## Do harm at full size, and print what came of it; ROWS="fuzz flips", SIZE=0.1
	@{ command -v nginx || test -x /usr/sbin/nginx; } >/dev/null || { test "$$(id -u)" = 0 && \
		apt-get install --yes --no-install-recommends nginx-light; } || true
	@mkdir -p $(dir $(RESULTS))
	-$(ONE_THREAD) GATECAST_FAULTS=$(SIZE) GATECAST_FAULTS_ROWS="$(ROWS)" \
		GATECAST_FAULTS_RESULTS=$(RESULTS) \
		$(BIN)/python -m pytest tests/faults --timeout 20000 $(PYTEST_ARGS)
	$(BIN)/python -m tests.faults.report $(RESULTS) $(REPORT)

.PHONY: stack
# Servers are Debian's where this is root; what is not there skips its tests, and says so.
stack: $(STACK) ## Start the whole stack of docker-compose.yml as processes, and end its parts in turn
	@{ test "$$(id -u)" = 0 && apt-get install --yes --no-install-recommends \
		nginx-light postgresql prometheus prometheus-alertmanager; } || true
	$(ONE_THREAD) GATECAST_STACK=1 $(BIN)/python -m pytest tests/stack tests/deploy \
		tests/test_deploy.py tests/pipelines/registry/test_turns.py --timeout 3600 $(PYTEST_ARGS)

.PHONY: docs
docs: $(DEV) ## Build the pages of docs/ into build/docs, every link checked; `gatecast docs` opens them
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

.PHONY: notebooks
notebooks: $(DEV) ## Execute docs/notebooks into build/notebooks; `make docs` then shows what came out
	$(ONE_THREAD) $(BIN)/python -m docs.building.execute

.PHONY: lock
# Pins of groups that are not installed here stay as they are.
lock: $(DEV) ## Write constraints.txt from what is installed in .venv, requirements.lock with hashes
	{ $(PIP) freeze --all --exclude-editable --exclude gatecast --exclude pip | sed 's/+[a-z0-9.]*$$//'; \
	  grep -v '^#' constraints.txt; } \
	| awk -F== '{ name = tolower($$1); gsub(/[-_.]+/, "-", name) } !seen[name]++' \
	| LC_ALL=C sort -f > constraints.new
	{ grep '^#' constraints.txt; cat constraints.new; } > constraints.lock
	mv constraints.lock constraints.txt && rm constraints.new
	touch $(VENV)/.installed-torch $(DEMO) $(DEV)
	$(BIN)/python deploy/lock.py

.PHONY: sbom
sbom: $(DEV) ## Write what is installed as CycloneDX to build/sbom.json
	$(BIN)/python deploy/sbom.py build/sbom.json

.PHONY: clean
clean: ## Remove the virtual environment and the tools' caches
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find forecasting pipelines serving tests benchmarks -name __pycache__ -type d -prune \
		-exec rm -rf {} + 2>/dev/null || true

# Installation. A stamp is written only after its step succeeded, so a broken one is done again.

$(VENV)/.created:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		2>/dev/null || { echo "Gatecast needs Python 3.11 or newer and found none:" \
		"install it, or name it with 'make PYTHON=/path/to/python3.11'." >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module:" \
		"install it (Debian and Ubuntu: the package python3-venv)." >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

# torch comes first and alone: so pip takes the build meant for this machine where one is offered.
$(VENV)/.installed-torch: $(VENV)/.created constraints.txt
	$(PIP) install --progress-bar off -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(DEMO): $(VENV)/.installed-torch pyproject.toml
	$(PIP) install --progress-bar off -c constraints.txt -e ".[demo]"
	@touch $@

$(DEV): $(VENV)/.installed-torch pyproject.toml
	$(PIP) install --progress-bar off -c constraints.txt -e ".[dev]"
	@touch $(DEMO) $@

$(STACK): $(DEV)
	$(PIP) install --progress-bar off -c constraints.txt -e ".[stack]"
	@touch $@

$(FAULTS): $(DEV)
	$(PIP) install --progress-bar off -c constraints.txt -e ".[faults]"
	@touch $@
