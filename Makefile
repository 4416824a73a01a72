# Everything that is done to this tree is a target here: people, hooks, CI and the README call nothing else.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo build test suite test-matrix test-fresh test-dmabuf test-containers test-pipelines check torture fuzz \
    bench compare attacks deb test-deb doc loom install-deps deps-build deps-check deps-demo deps-test deps-fuzz deps-bench deps-deb \
    deps-matrix deps-dmabuf deps-containers deps-compare deps-attacks

# "make INSTALL_DEPS=true ..." leaves the machine's packages alone.
INSTALL_DEPS ?= scripts/install-deps.sh

TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
DEB_DIR := $(TARGET_DIR)/deb
# CI builds what Cargo.lock says or nothing.
LOCKED := $(if $(CI),--locked)

# What the plugin takes of the API of the installed GStreamer; "make FEATURES=" builds for 1.22 wherever. Asked for late:
# the dependencies are installed first.
FEATURES ?= $(shell scripts/gst-features.sh)
WITH = $(addprefix --features=,$(FEATURES))

# The versions of GStreamer that "make test-matrix" tries: those of Debian 12, 13 and 14.
VERSIONS ?= 1.22 1.26 1.28

# The systems that "make test-fresh" and "make test-deb" try, the oldest first: Debian 12, 13 and Ubuntu 24.04.
SYSTEMS ?= bookworm trixie noble

# Which rows "make test-pipelines" tries, all by default: "--group timed", "--only mp4mux"; "--list" names them.
PIPELINES ?=

# How long each fuzz target runs, and which there are.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= message record producer client values caps metas events

# Where rustup puts cargo: a shell that was open before Rust came does not have it.
export PATH := $(PATH):$(HOME)/.cargo/bin
# The plugin of this tree, and a registry of its own, so that the user's own neither helps nor suffers.
export GST_PLUGIN_PATH := $(TARGET_DIR)/release$(if $(GST_PLUGIN_PATH),:$(GST_PLUGIN_PATH))
export GST_REGISTRY := $(TARGET_DIR)/gst-registry.bin

help: ## say what there is (the default)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

# Only the crates and the packages that it needs. What the plugin takes of GStreamer 1.26 and later it has here where
# "make build" has installed the packages for that.
demo: FEATURES = $(shell scripts/gst-features.sh --present)
demo: deps-demo ## show it at work, in about 20 seconds
	cargo build $(LOCKED) --release -p gst-plugin-xmem -p xmem-examples --lib --bin demo $(WITH)
	examples/demo.sh $(TARGET_DIR)/release/demo $(TARGET_DIR)/demo

build: deps-build ## build all; leaves target/release/libgstxmem.so, for GST_PLUGIN_PATH=target/release
	cargo build $(LOCKED) --workspace --release $(WITH)

test: deps-test check suite ## all that must hold before a commit is pushed: checks, tests, loom, documentation
	$(MAKE) loom
	RUSTDOCFLAGS="$(RUSTDOCFLAGS) -D warnings" cargo doc $(LOCKED) --workspace --no-deps $(WITH)

# The plugin is built before the tests that load it. gst-inspect shows that it loads, and fills the registry once, not
# in each of many tests that start at the same time. cargo test runs the doc tests too.
suite: deps-test build ## the tests alone
	gst-inspect-1.0 $(TARGET_DIR)/release/libgstxmem.so
	cargo test $(LOCKED) --workspace --release --no-fail-fast $(WITH)

check: deps-check ## formatting and clippy: quick enough for a pre-commit hook
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy $(LOCKED) --workspace --all-targets $(WITH) -- -D warnings

loom: deps-build ## the lease protocol under loom, in all the orders that threads and memory allow
	RUSTFLAGS="$(RUSTFLAGS) --cfg loom" CARGO_TARGET_DIR=$(TARGET_DIR)/loom \
	    cargo test $(LOCKED) -p xmem-core --release --lib

# The roots are kept, and the builds in target/matrix: some 6 GB a version.
test-matrix: deps-matrix ## build and test on GStreamer VERSIONS (1.22 1.26 1.28), in roots of Debian that are made on demand
	scripts/test-matrix.sh $(VERSIONS)

# What "make test" can't try where the kernel has no dmabufs and no camera.
test-dmabuf: deps-dmabuf build ## pass on dmabufs, of a camera too, in a virtual machine with a kernel that has both
	scripts/test-dmabuf.sh dmabuf pipeline_dmabuf

# Where podman can't run, its tests say why, and that they were not tried; the others are those of "make test".
test-containers: deps-containers build ## producers and clients in containers of podman, and under seccomp filters
	XMEM_PODMAN=1 cargo test $(LOCKED) -p xmem-tests --release --no-fail-fast $(WITH) \
	    --test containers_podman --test containers --test forbidden_calls -- --nocapture

# "make test" tries a choice of these rows. Some take the machine for themselves: let nothing else run.
test-pipelines: deps-test build ## a table of what real pipelines do when they are cut by the elements, in some 25 minutes
	$(TARGET_DIR)/release/xmem-test-table $(PIPELINES)

torture: deps-test deps-fuzz build ## what "make test" does for seconds, for as long as it takes: see docs/reliability.md
	XMEM_TORTURE=1 XMEM_ROUNDS=1000 cargo test $(LOCKED) -p xmem-tests --release --no-fail-fast $(WITH) -- --nocapture
	$(MAKE) fuzz

# What is found new is kept beside the build. The inputs in fuzz/corpus are tests ("make test"), few and chosen: see
# CONTRIBUTING.md. Threads that are on their way out look like leaks.
fuzz: deps-fuzz ## what comes from another process, as a fuzzer makes it up: each target for FUZZ_SECONDS (60)
	for target in $(FUZZ_TARGETS); do \
	    case $$target in message | record | client | values) leaks=1 ;; *) leaks=0 ;; esac; \
	    mkdir -p $(TARGET_DIR)/fuzz/corpus/$$target && \
	    ASAN_OPTIONS=detect_leaks=$$leaks cargo +nightly fuzz run $(WITH) --target-dir $(TARGET_DIR)/fuzz $$target \
	        $(TARGET_DIR)/fuzz/corpus/$$target fuzz/corpus/$$target \
	        -- -max_total_time=$(FUZZ_SECONDS) -timeout=30 -print_final_stats=1 || exit 1; \
	done

bench: deps-bench build ## measure the core, then the elements beside shmsink and shmsrc
	cargo bench $(LOCKED) -p xmem-core
	cargo bench $(LOCKED) -p xmem-tests --bench elements $(WITH)

compare: deps-compare build ## do to xmem, shm and unixfd what breaks things, and print a table of what each does
	cargo bench $(LOCKED) -p xmem-tests --bench rivals $(WITH)

attacks: deps-attacks build ## attack a channel as one of its clients, and print a table of what that costs the others
	cargo bench $(LOCKED) -p xmem-tests --bench attacks $(WITH)

# On a copy of what is needed: packaging leaves things in the tree where it is done.
deb: deps-deb ## a Debian package for this release and later ones, in target/deb
	rm -rf $(DEB_DIR)/xmem $(DEB_DIR)/*.deb && mkdir -p $(DEB_DIR)/xmem
	cp -a Cargo.toml Cargo.lock LICENSE-* *.md debian examples plugins scripts tests xmem-core xmem-media \
	    $(DEB_DIR)/xmem
	cd $(DEB_DIR)/xmem && CARGO_TARGET_DIR=$(DEB_DIR)/target dpkg-buildpackage -b -us -uc
	@ls $(DEB_DIR)/*.deb

# A package that was built on the oldest release has to work on all.
test-deb: deps-matrix ## "make deb" on fresh SYSTEMS, then install the package of the oldest on all, and pass frames; lintian
	scripts/test-deb.sh $(SYSTEMS)

test-fresh: deps-matrix ## "make demo" on fresh SYSTEMS (bookworm trixie noble: Debian 12, 13, Ubuntu 24.04), and what it costs there
	scripts/test-fresh.sh demo $(SYSTEMS)

doc: deps-build ## the API documentation, in target/doc
	cargo doc $(LOCKED) --workspace --no-deps $(WITH)

install-deps: ## install what any of these needs (each also does so by itself)
	@$(INSTALL_DEPS)

deps-build:
	@$(INSTALL_DEPS) build
deps-check:
	@$(INSTALL_DEPS) build lint
deps-demo:
	@$(INSTALL_DEPS) demo
deps-test:
	@$(INSTALL_DEPS) build lint run test
deps-fuzz:
	@$(INSTALL_DEPS) build fuzz
deps-bench:
	@$(INSTALL_DEPS) build bench
deps-deb:
	@$(INSTALL_DEPS) build deb
deps-matrix:
	@$(INSTALL_DEPS) matrix
deps-dmabuf:
	@$(INSTALL_DEPS) build matrix machine
deps-containers:
	@$(INSTALL_DEPS) build containers
deps-compare:
	@$(INSTALL_DEPS) build bench
deps-attacks:
	@$(INSTALL_DEPS) build
