# Every task that people and CI run. `make help` lists them.

CARGO ?= cargo
# Clients of OpenWhisk to test with, as paths. aio is npm's @adobe/aio-cli.
WSK ?=
WSKDEPLOY ?=
AIO ?=
CLIENTS = $(if $(WSK),--test wsk) $(if $(WSKDEPLOY),--test wskdeploy) $(if $(AIO),--test aio)

# What failed, not where in the runner it was called: of a long run's output,
# people and CI read the end.
export RUST_BACKTRACE := 0

.DEFAULT_GOAL := help
.PHONY: help run build images test test-cluster torture test-api test-clients bench bench-keep-warm bench-placement simulate check docs

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

run: ## Install what is missing, build, start the server, show a function run, go on serving
	@scripts/install-deps.sh run
	$(CARGO) build --release --locked -p whisker-server
	@scripts/run.sh target/release/whisker

build: ## The binary as it is released: target/release/whisker
	$(CARGO) build --release --locked -p whisker-server

images: ## Docker images of the runtimes, as whisker/action-nodejs-v20:latest and so on: make images LANGUAGES="go java"
	scripts/images.sh $(LANGUAGES)

# Both of the whole workspace: of one package, dependencies would be compiled once
# more, with fewer features.
test: ## Everything: units, contracts, launchers, and the real binary from outside
	@scripts/install-deps.sh test
	python3 runtimes/test.py
	$(CARGO) test --locked --workspace --no-fail-fast
	CONFORMANCE_CONTAINERS=docker $(CARGO) test --locked --workspace --test conformance -- --test-threads 1

test-cluster: ## Controllers and invokers on real Kafka and PostgreSQL, killed under load (a part of make test)
	@scripts/install-deps.sh test
	$(CARGO) test --locked -p whisker-server --test cluster -- --nocapture

torture: ## Every process of a cluster is killed at random: make torture SECONDS=300
	@scripts/install-deps.sh test
	WHISKER_TORTURE_SECONDS=$(or $(SECONDS),300) $(CARGO) test --locked -p whisker-server --test cluster -- \
		--ignored --nocapture nothing_accepted_is_lost

test-api: ## schemathesis against the OpenAPI documents of the real binary, for a minute
	@scripts/install-deps.sh run
	$(CARGO) build --locked -p whisker-server
	python3 compat/schemathesis/run.py target/debug/whisker

test-clients: ## The original clients that are given: make test-clients WSK=path WSKDEPLOY=path AIO=path
	@scripts/install-deps.sh test
	@test -n "$(CLIENTS)" || { echo "say which: make test-clients WSK=/path/to/wsk WSKDEPLOY=... AIO=..." >&2; exit 2; }
	WSK="$(abspath $(WSK))" WSKDEPLOY="$(abspath $(WSKDEPLOY))" AIO="$(abspath $(AIO))" \
		$(CARGO) test --locked -p whisker-server --features original-clients --no-fail-fast \
		--test clients $(CLIENTS) -- --show-output

bench: ## Floors and Whisker side by side, with ratios (docs/performance.md)
	@scripts/install-deps.sh run
	$(CARGO) build --release --locked -p whisker-server -p whisker-bench
	target/release/whisker-bench

bench-keep-warm: ## What each way of keeping containers warm costs, on a day of made-up traffic
	$(CARGO) run --release --locked -q -p whisker-pool --example keep_warm

bench-placement: ## What each way of choosing invokers costs, on made-up traffic, and how long a choice takes
	$(CARGO) run --release --locked -q -p whisker-placement --example compare

simulate: ## 10,000 seeds of a cluster with faults, on a clock of its own; SEED=n lives one again
	@scripts/install-deps.sh run
	$(CARGO) run --release --locked -q -p whisker-simulation -- $(SEED)

check: ## Format, lints, documentation, licences and known holes of dependencies
	@scripts/install-deps.sh check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	scripts/deny.sh

docs: ## Write the generated parts of docs/
	$(CARGO) run --locked -p whisker-compat -- --write-guide
