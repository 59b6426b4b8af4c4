# `make help` lists the targets. `make run` and `make test` install everything they need.
# Targets that begin with a dot are stamp files: they are remade if a file they depend on is newer.
# The first interpreter that is new enough; `make PYTHON=...` uses another one.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
BENCH := $(VENV)/.bench
# Of its own, because the fastest interpreter on PATH is measured.
BENCH_VENV := benchmarks/.venv-bench
PROXIES := $(VENV)/.proxies
S3_SERVERS := $(VENV)/.s3-servers
DOCS := $(VENV)/.docs
# Three processes on two cores: tests wait for timers, disks and clients about two fifths of the time. The tests of a
# file run in one process and share its server. A test that ends its process is given to the next one, for ever without
# a bound.
PYTEST := $(BIN)/python -m pytest -q -n 3 --dist loadfile --max-worker-restart 4
ARGS ?=

.PHONY: help run test test-all store-servers first-hour fast check format bench bench-here docs conformance conformance-report compatibility vendor vendor-api media-types new-database lock clean venv packages more-packages
.DEFAULT_GOAL := run

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: $(RUN) ## run the server on http://127.0.0.1:8080 (ARGS="--port 9000" adds flags)
	@$(BIN)/tusd-py serve $(ARGS)

test: $(DOCS) packages ## run the tests, with real clients and a real browser: about a quarter of an hour
	@$(PYTEST) -m "not long" $(ARGS)

test-all: $(PROXIES) $(S3_SERVERS) $(DOCS) packages more-packages ## run every test, the long ones too: kill storms, every back end, every proxy
	@$(PYTEST) $(ARGS)

store-servers: $(S3_SERVERS) more-packages ## install SeaweedFS and Ceph's gateway, for tests with TUSD_PY_TEST_S3

first-hour: $(DEV) ## do what a new user does in the first hour, from the wheel in an empty directory; part of make test
	@$(BIN)/python -m pytest -q tests/integration/test_first_hour.py $(ARGS)

fast: $(DEV) ## run the tests that need no browser, client or network: about four minutes
	@$(PYTEST) tests/unit tests/property tests/contracts tests/conformance -m "not long" $(ARGS)

check: $(DEV) ## check format, lint, types, layers and project rules
	@$(BIN)/ruff format --check --quiet . || { echo "make check: run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >$(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }
	@$(BIN)/python -m pytest -q tests/unit/test_tidy.py

format: $(DEV) ## format the code
	@$(BIN)/ruff check --quiet --fix --exit-zero .
	@$(BIN)/ruff format --quiet .

bench: ## measure tusd-py and other tus servers (docs/benchmarks.md); ARGS="--only creations" narrows it
	@$(MAKE) --no-print-directory VENV=$(BENCH_VENV) PYTHON="$$($(PYTHON) benchmarks/interpreter.py)" bench-here

# With the interpreter of VENV.
bench-here: $(BENCH)
	@$(BIN)/python -m benchmarks $(ARGS)

conformance: $(DEV) ## run the tus suite against any server: make conformance URL=http://127.0.0.1:8080/files/
	@test -n "$(URL)" || { echo "make conformance: set URL=http://host:port/files/" >&2; exit 2; }
	@$(BIN)/python -m tests.conformance $(URL) $(ARGS)

compatibility: $(PROXIES) packages more-packages ## write docs/compatibility.md: every client behind every proxy, about five minutes
	@$(BIN)/python -m tests.compatibility

conformance-report: $(DEV) ## write docs/conformance.md
	@$(BIN)/python -m tests.conformance.report $(ARGS)

docs: $(DOCS) ## build the documentation site in build/docs; a warning, such as a broken link, is an error
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs && echo "build/docs/index.html"

UPPY ?= 6.0.1
VENDOR := tusd_py/web/page/static/vendor
# uppy.NOTICES has the licence of every package that Uppy's source map lists.
vendor: ## download Uppy's files from npm (UPPY=version); then update VENDOR.md
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	npm install --silent --no-save --ignore-scripts --prefix "$$folder" uppy@$(UPPY) >/dev/null && \
	cp "$$folder"/node_modules/uppy/dist/uppy.min.mjs "$$folder"/node_modules/uppy/dist/uppy.min.css $(VENDOR)/ && \
	cp "$$folder"/node_modules/uppy/LICENSE $(VENDOR)/uppy.LICENSE && \
	for pack in de_DE fr_FR; do cp "$$folder"/node_modules/@uppy/locales/lib/$$pack.js $(VENDOR)/$$pack.mjs; done && \
	(cd "$$folder"/node_modules && for name in blueimp-canvas-to-blob $$(grep -o 'node_modules/\(@[^/"]*/\)\?[^/"]*' \
	    uppy/dist/uppy.min.mjs.map | sed 's#node_modules/##' | sort -u); do \
	  node -p 'const p = require("./'$$name'/package.json"); `\n==== $${p.name}, $${p.license}, by $${p.author?.name ?? p.author ?? "its authors"}\n`'; \
	  find $$name -maxdepth 1 -iname 'licen[sc]e*' -exec cat {} +; \
	done) > $(VENDOR)/uppy.NOTICES && cd $(VENDOR) && sha256sum uppy.* *.mjs

SWAGGER_UI ?= 5.35.0
VENDOR_API := tusd_py/web/api/swagger/vendor
vendor-api: ## download Swagger UI's files from npm (SWAGGER_UI=version); then update its VENDOR.md
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	npm install --silent --no-save --ignore-scripts --prefix "$$folder" swagger-ui-dist@$(SWAGGER_UI) >/dev/null && \
	cd "$$folder"/node_modules/swagger-ui-dist && target="$(CURDIR)/$(VENDOR_API)" && \
	cp swagger-ui-bundle.js swagger-ui.css "$$target"/ && cp LICENSE "$$target"/swagger-ui.LICENSE && \
	(cat NOTICE; echo; cat swagger-ui-bundle.js.LICENSE.txt) > "$$target"/swagger-ui.NOTICES && \
	cd "$$target" && sha256sum swagger-ui*

MIME_DB := 1.54.0
new-database: $(DEV) ## write the schema of a new SQLite database again, after adding a migration
	@$(BIN)/python -m tests.support.new_database

media-types: $(DEV) ## write the table of media type names again, from shared-mime-info and mime-db
	@$(BIN)/python -m tests.support.media_type_names $(MIME_DB)

# uv on PATH, else the one of the environment.
LOCK = $$(command -v uv || echo $(BIN)/uv) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
# Locks that are installed together must agree: the others are bound by the first.
lock: ## lock the newest allowed versions with their hashes
	@command -v uv >/dev/null || test -x $(BIN)/uv || { echo "make lock: needs uv; make $(DEV) installs it" >&2; exit 2; }
	@$(LOCK) --extra accounts --extra jwt --extra s3 pyproject.toml -o requirements.lock >/dev/null
	@$(LOCK) -c requirements.lock --group pyproject.toml:build -o requirements-build.lock >/dev/null
	@$(LOCK) -c requirements.lock --group dev pyproject.toml -o requirements-dev.lock >/dev/null
	@$(LOCK) -c requirements.lock --group bench pyproject.toml -o requirements-bench.lock >/dev/null
	@$(LOCK) -c requirements.lock --group proxies pyproject.toml -o requirements-proxies.lock >/dev/null
	@$(LOCK) --group pyproject.toml:s3-servers -o requirements-s3-servers.lock >/dev/null
	@$(LOCK) -c requirements.lock -c requirements-dev.lock --group pyproject.toml:docs -o requirements-docs.lock >/dev/null

clean: ## remove generated files, except data
	@rm -rf $(VENV) .venv-* benchmarks/.venv-* tests/compatibility/.build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage* build
	@find . -name node_modules -prune -exec rm -rf {} + -o -name __pycache__ -prune -exec rm -rf {} +

# uv if it is on PATH (faster), else pip; both install the same locked versions and check hashes.
INSTALL = if command -v uv >/dev/null; then VIRTUAL_ENV=$(VENV) uv pip install --quiet $(1); else $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1); fi

$(RUN): pyproject.toml requirements.lock requirements-build.lock | venv
	@echo "make: installing the packages of requirements.lock into $(VENV), once: about half a minute" >&2
	@$(call INSTALL,--require-hashes -r requirements.lock -r requirements-build.lock)
	@$(call INSTALL,--no-deps --no-build-isolation -e .)
	@touch $@

$(DEV): pyproject.toml requirements-dev.lock | venv
	@$(call INSTALL,--require-hashes -r requirements-dev.lock)
	@$(call INSTALL,--no-deps --no-build-isolation -e .)
	@touch $@ $(RUN)

$(BENCH): $(DEV) requirements-bench.lock
	@$(call INSTALL,--require-hashes -r requirements-bench.lock)
	@touch $@

$(PROXIES): $(DEV) requirements-proxies.lock
	@$(call INSTALL,--require-hashes -r requirements-proxies.lock)
	@touch $@

$(S3_SERVERS): $(DEV) requirements-s3-servers.lock
	@$(call INSTALL,--require-hashes -r requirements-s3-servers.lock)
	@touch $@

$(DOCS): $(DEV) requirements-docs.lock
	@$(call INSTALL,--require-hashes -r requirements-docs.lock)
	@touch $@

APT = DEBIAN_FRONTEND=noninteractive apt-get
# Debian packages venv separately; without it `python3 -m venv` leaves an incomplete environment behind.
venv:
	@test ! -x $(BIN)/python || exit 0; \
	test -n "$(PYTHON)" || { echo "make: needs Python 3.11 or newer (Debian: apt-get install python3 python3-venv)" >&2; exit 2; }; \
	if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			$(APT) update -qq && $(APT) install -y -qq --no-install-recommends python3-venv >/dev/null; \
		else echo "make: Python's venv is missing (Debian: apt-get install python3-venv)" >&2; exit 2; fi; \
	fi; \
	echo "make: making a virtual environment in $(VENV) with $(PYTHON)" >&2; \
	$(PYTHON) -m venv $(VENV)

# System packages of clients and proxies that only long tests need.
more-packages:
	@missing=; for pair in cargo:cargo java:default-jdk-headless mvn:maven /usr/sbin/haproxy:haproxy \
		/usr/sbin/apache2:apache2-bin radosgw:radosgw ceph-mon:ceph-mon ceph-osd:ceph-osd; do \
		command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair##*:}"; done; \
	test -n "$$missing" || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		$(APT) update -qq && $(APT) install -y -qq --no-install-recommends $$missing libssl-dev pkg-config >/dev/null; \
	else echo "make: tests that need$$missing are skipped (Debian: apt-get install$$missing libssl-dev pkg-config)" >&2; fi

# System packages for the real clients in the tests. The tests install the clients' own packages, once.
packages:
	@missing=; for pair in node:nodejs npm:npm chromium:chromium curl:curl redis-server:redis-server \
		sqlite3:sqlite3 /usr/sbin/nginx:nginx-light /usr/sbin/pgbouncer:pgbouncer; do \
		command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair##*:}"; done; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$$missing postgresql"; \
	test -n "$$missing" || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		$(APT) update -qq && $(APT) install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "make test: tests that need$$missing are skipped (Debian: apt-get install$$missing)" >&2; fi
