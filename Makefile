# Targets for all work on this tree. People, hooks, CI and the README use these targets and nothing else.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo build test suite test-matrix test-fresh test-dmabuf test-containers test-pipelines check torture \
    fuzz bench compare attacks gpu-check gpu-bundle deb test-deb doc loom install-deps deps-build deps-check deps-demo \
    deps-test deps-fuzz deps-bench deps-deb deps-matrix deps-dmabuf deps-containers deps-compare deps-attacks \
    deps-gpu-check deps-gpu-bundle

# "make INSTALL_DEPS=true ..." installs no packages.
INSTALL_DEPS ?= scripts/install-deps.sh

TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
DEB_DIR := $(TARGET_DIR)/deb
# CI fails if Cargo.lock is out of date.
LOCKED := $(if $(CI),--locked)

# The Cargo feature for the API of the installed GStreamer; "make FEATURES=" builds for 1.22 on any version. Evaluated
# late, because the dependencies are installed first.
FEATURES ?= $(shell scripts/gst-features.sh)
WITH = $(addprefix --features=,$(FEATURES))

# The versions of GStreamer for "make test-matrix": those of Debian 12, 13 and 14.
VERSIONS ?= 1.22 1.26 1.28

# The systems for "make test-fresh" and "make test-deb", the oldest first: Debian 12, 13 and Ubuntu 24.04.
SYSTEMS ?= bookworm trixie noble

# Options that select the rows of "make test-pipelines": "--group timed", "--only mp4mux"; "--list" prints the rows.
# All rows by default.
PIPELINES ?=

# Options for "make compare": "--quick", "--transports xmem,shm", "--only SIGSTOP".
RIVALS ?=

# The driver for "make gpu-check": that of the machine, or "stand-in" for a run without a GPU. More options:
# "--only questions,tests", "--short".
DRIVER ?= machine
GPU_CHECK ?=

# How long each fuzz target runs, and the fuzz targets.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= message record producer client media mapping

# The directory where rustup puts cargo. A shell that was started before Rust was installed does not search it.
export PATH := $(PATH):$(HOME)/.cargo/bin
# The plugin of this tree, with a registry of its own. The registry of the user is neither read nor written.
export GST_PLUGIN_PATH := $(TARGET_DIR)/release$(if $(GST_PLUGIN_PATH),:$(GST_PLUGIN_PATH))
export GST_REGISTRY := $(TARGET_DIR)/gst-registry.bin

help: ## list the targets (the default)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

# Builds and installs only what the demo needs. The plugin uses API of GStreamer 1.26 and later only if "make build" has
# installed the packages for that.
demo: FEATURES = $(shell scripts/gst-features.sh --present)
demo: deps-demo ## run the demo, in about 20 seconds
	cargo build $(LOCKED) --release -p gst-plugin-xmem -p xmem-examples --lib --bin demo $(WITH)
	examples/demo.sh $(TARGET_DIR)/release/demo $(TARGET_DIR)/demo

build: deps-build ## build everything; makes target/release/libgstxmem.so, for GST_PLUGIN_PATH=target/release
	cargo build $(LOCKED) --workspace --release $(WITH)

test: deps-test check suite ## run everything that must pass before a push: checks, tests, loom, documentation
	$(MAKE) loom
	RUSTDOCFLAGS="$(RUSTDOCFLAGS) -D warnings" cargo doc $(LOCKED) --workspace --no-deps $(WITH)

# The plugin is built before the tests that load it. gst-inspect checks that it loads, and fills the registry once, so
# that tests which start at the same time do not all fill it. cargo test runs the doc tests too.
suite: deps-test build ## run only the tests
	gst-inspect-1.0 $(TARGET_DIR)/release/libgstxmem.so
	cargo test $(LOCKED) --workspace --release --no-fail-fast $(WITH)

check: deps-check ## check formatting and run clippy; fast enough for a pre-commit hook
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo fmt --manifest-path rivals/Cargo.toml --check
	cargo clippy $(LOCKED) --workspace --all-targets $(WITH) -- -D warnings

loom: deps-build ## test the lease protocol under loom, in all orders that threads and the memory model allow
	RUSTFLAGS="$(RUSTFLAGS) --cfg loom" CARGO_TARGET_DIR=$(TARGET_DIR)/loom \
	    cargo test $(LOCKED) -p xmem-core --release --lib

# The roots are kept, and so are the builds in target/matrix: some 6 GB per version.
test-matrix: deps-matrix ## build and test on GStreamer VERSIONS (1.22 1.26 1.28), in Debian roots that are made on demand
	scripts/test-matrix.sh $(VERSIONS)

# Tests that "make test" cannot run on a kernel without dmabufs or a camera.
test-dmabuf: deps-dmabuf build ## test dmabufs, also of a camera, in a virtual machine with a kernel that has both
	scripts/test-dmabuf.sh dmabuf pipeline_dmabuf

# If podman cannot run, its tests say why, and that they were not tried. The other tests are part of "make test" too.
test-containers: deps-containers build ## test producers and clients in podman containers, and under seccomp filters
	XMEM_PODMAN=1 cargo test $(LOCKED) -p xmem-tests --release --no-fail-fast $(WITH) \
	    --test containers_podman --test containers --test forbidden_calls -- --nocapture

# "make test" runs a selection of these rows. Some rows need the whole machine, so nothing else should run.
test-pipelines: deps-test build ## print a table of pipelines, cut by the elements and uncut, in some 25 minutes
	$(TARGET_DIR)/release/xmem-test-table $(PIPELINES)

torture: deps-test deps-fuzz build ## run the tests with many more repetitions, and the fuzz targets: see docs/reliability.md
	XMEM_TORTURE=1 XMEM_ROUNDS=1000 cargo test $(LOCKED) -p xmem-tests --release --no-fail-fast $(WITH) -- --nocapture
	$(MAKE) fuzz

# New inputs are kept in the target directory. The inputs in fuzz/corpus are a small selection, and "make test" runs
# them too: see CONTRIBUTING.md. Leak detection is off for some targets, because threads that are about to end look like
# leaks.
fuzz: deps-fuzz ## fuzz the decoders of data from other processes, each target for FUZZ_SECONDS (60)
	for target in $(FUZZ_TARGETS); do \
	    case $$target in message | record | client | media) leaks=1 ;; *) leaks=0 ;; esac; \
	    mkdir -p $(TARGET_DIR)/fuzz/corpus/$$target && \
	    ASAN_OPTIONS=detect_leaks=$$leaks cargo +nightly fuzz run $(WITH) --target-dir $(TARGET_DIR)/fuzz $$target \
	        $(TARGET_DIR)/fuzz/corpus/$$target fuzz/corpus/$$target \
	        -- -max_total_time=$(FUZZ_SECONDS) -timeout=30 -print_final_stats=1 || exit 1; \
	done

bench: deps-bench build ## measure the core, then the elements in comparison with shmsink and shmsrc
	cargo bench $(LOCKED) -p xmem-core
	cargo bench $(LOCKED) -p xmem-tests --bench elements $(WITH)

compare: deps-compare build ## cause failures in xmem, shm and unixfd, and print a table of the results
	cargo run $(LOCKED) --release --manifest-path rivals/Cargo.toml --target-dir $(TARGET_DIR) $(WITH) -- $(RIVALS)

attacks: deps-attacks build ## attack a channel as one of its clients, and print a table of the costs for others
	cargo bench $(LOCKED) -p xmem-tests --bench attacks $(WITH)

# Uses the GStreamers and clips of the bundle, if it was made here. See docs/cuda.md.
gpu-check: deps-gpu-check ## check xmem on a GPU, and print a table for docs/cuda.md; DRIVER=stand-in needs no GPU
	scripts/gpu-bundle.sh --programs $(TARGET_DIR)/gpu-check/bin
	scripts/gpu-check.sh --driver $(DRIVER) --programs $(TARGET_DIR)/gpu-check/bin --out $(TARGET_DIR)/gpu-check \
	    --gstreamers $(TARGET_DIR)/gpu-bundle/xmem-gpu-check/gstreamer $(GPU_CHECK)

gpu-bundle: deps-gpu-bundle ## pack that check for a machine that has only a GPU and its driver, in target/gpu-check.tar.xz
	scripts/gpu-bundle.sh

# Runs on a copy of the needed files, because packaging leaves files in its tree.
deb: deps-deb ## build a Debian package for this release and later ones, in target/deb
	rm -rf $(DEB_DIR)/xmem $(DEB_DIR)/*.deb && mkdir -p $(DEB_DIR)/xmem
	cp -a Cargo.toml Cargo.lock LICENSE-* *.md debian examples plugins scripts tests xmem-core xmem-media \
	    $(DEB_DIR)/xmem
	cd $(DEB_DIR)/xmem && CARGO_TARGET_DIR=$(DEB_DIR)/target dpkg-buildpackage -b -us -uc
	@ls $(DEB_DIR)/*.deb

# A package that was built on the oldest release must work on all of them.
test-deb: deps-matrix ## "make deb" on fresh SYSTEMS, then install the package of the oldest on all, and pass frames; run lintian
	scripts/test-deb.sh $(SYSTEMS)

test-fresh: deps-matrix ## "make demo" on fresh SYSTEMS (bookworm trixie noble: Debian 12, 13, Ubuntu 24.04), and print its cost
	scripts/test-fresh.sh demo $(SYSTEMS)

doc: deps-build ## build the API documentation, in target/doc
	cargo doc $(LOCKED) --workspace --no-deps $(WITH)

install-deps: ## install the dependencies of the common targets (each target installs its own)
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
deps-gpu-check:
	@$(INSTALL_DEPS) build run
deps-gpu-bundle:
	@$(INSTALL_DEPS) build run matrix
