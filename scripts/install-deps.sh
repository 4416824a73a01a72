#!/bin/sh
# Installs the dependencies for building, running, testing and measuring xmem.
#
#     scripts/install-deps.sh [build] [demo] [lint] [run] [test] [bench] [fuzz] [deb] [matrix] [machine] [containers]
#
# The default groups are build, lint, run, test and bench.
#
# On Debian and Ubuntu it installs missing packages in one run of apt, as root or with sudo. If neither is possible, it
# prints the command to run and fails. On other systems it prints the modules that pkg-config does not find. If nothing
# is missing, it prints nothing and returns at once.
set -eu

cd "$(dirname "$0")/.."

say() {
    printf 'xmem: %s\n' "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

# --- The packages of each group --------------------------------------------------------------------------------------

packages=''  # Debian packages
modules=''   # pkg-config modules, for systems that are not Debian
analytics=no # GstAnalytics, if GStreamer has it?
lint=no      # cargo fmt and cargo clippy?
fuzz=no      # nightly Rust and cargo fuzz?

# What the plugin needs, without GstAnalytics of later versions.
add_plugin() {
    packages="$packages gcc libc6-dev pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev"
    modules="gstreamer-1.0 gstreamer-base-1.0 gstreamer-audio-1.0 gstreamer-video-1.0 gstreamer-allocators-1.0"
}

add_group() {
    case $1 in
    build)
        add_plugin
        modules="$modules gstreamer-check-1.0"
        analytics=yes
        ;;
    demo)
        # good: matroskamux, matroskademux, pngenc; ugly: x264enc; libav: avdec_h264. Without bad, which alone has
        # some 100 dependencies.
        add_plugin
        packages="$packages gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly \
            gstreamer1.0-libav"
        ;;
    lint)
        lint=yes
        ;;
    run)
        # bad: shmsink, unixfdsink (since 1.24) and h264parse; ugly: x264enc; libav: avdec_h264
        packages="$packages gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
            gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
        ;;
    test)
        # base-apps: gst-device-monitor-1.0; nice: webrtcbin; x: textoverlay
        packages="$packages strace valgrind gstreamer1.0-plugins-base-apps gstreamer1.0-nice gstreamer1.0-x"
        ;;
    bench)
        # bad: shmsink, and unixfdsink (since 1.24)
        packages="$packages strace gstreamer1.0-plugins-base gstreamer1.0-plugins-bad"
        ;;
    deb)
        packages="$packages build-essential debhelper"
        ;;
    matrix)
        # Rust is still checked, because the roots use the Rust of this machine.
        packages="$packages debootstrap"
        ;;
    machine)
        # good: v4l2src
        packages="$packages qemu-system-x86 gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
        ;;
    containers)
        # On some systems only one of the two runtimes can use the control groups.
        packages="$packages podman crun runc uidmap gstreamer1.0-tools gstreamer1.0-plugins-base"
        ;;
    fuzz)
        packages="$packages g++"
        fuzz=yes
        ;;
    *)
        fail "no such group of dependencies: $1 (build, demo, lint, run, test, bench, fuzz, deb, matrix, machine, containers)"
        ;;
    esac
}

# --- Rust ------------------------------------------------------------------------------------------------------------

check_rust() {
    needed=$(sed -n 's/^rust-version *= *"\(.*\)".*/\1/p' Cargo.toml)
    { command -v cargo && command -v rustc; } >/dev/null ||
        fail "Rust is missing: install version $needed or newer, see https://rustup.rs"

    found=$(rustc --version | cut -d ' ' -f 2)
    oldest=$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)
    [ "$oldest" = "$needed" ] ||
        fail "Rust $needed or newer is needed, $found is installed: 'rustup update stable', or see https://rustup.rs"

    [ "$lint" = no ] || { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 ||
        fail "cargo fmt or cargo clippy is missing: 'rustup component add rustfmt clippy'"

    # Only nightly Rust has the instrumentation for libFuzzer and the address sanitizer.
    [ "$fuzz" = no ] || cargo +nightly --version >/dev/null 2>&1 ||
        fail "nightly Rust is missing: 'rustup toolchain install nightly --profile minimal'"
    [ "$fuzz" = no ] || cargo fuzz --version >/dev/null 2>&1 ||
        fail "cargo fuzz is missing: 'cargo install cargo-fuzz'"
}

# --- Debian and Ubuntu -----------------------------------------------------------------------------------------------

missing_packages() {
    # shellcheck disable=SC2086,SC2016 # $packages is words; ${...} is for dpkg-query
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package} ' $packages 2>/dev/null || true)
    for package in $packages; do
        case " $installed" in
        *" installed $package "*) ;;
        *) printf '%s\n' "$package" ;;
        esac
    done | sort -u
}

# Runs apt-get with the words in $1 (may be empty) before it.
apt() {
    before=$1
    shift
    # shellcheck disable=SC2086 # $before is words
    $before env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2
}

# Prints the version of the installed GStreamer, or of the one that apt would install.
gstreamer_version() {
    pkg-config --modversion gstreamer-1.0 2>/dev/null ||
        LC_ALL=C apt-cache policy libgstreamer1.0-dev | sed -n 's/^ *Candidate: \([0-9].*\)/\1/p'
}

# Debian's package of GstAnalytics has many dependencies (OpenCV), so it is only installed if it is used.
add_analytics() {
    [ "$analytics" = yes ] || return 0
    case $(scripts/gst-features.sh "$1") in
    v1_26 | v1_28)
        packages="$packages libgstreamer-plugins-bad1.0-dev"
        modules="$modules gstreamer-analytics-1.0"
        ;;
    esac
}

install_packages() {
    base=$packages
    version=$(gstreamer_version)
    add_analytics "$version"
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "$missing" ] || return 0

    by_hand="sudo apt-get update && sudo apt-get install -y --no-install-recommends"
    if [ "$(id -u)" -eq 0 ]; then
        root=''
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        root='sudo -n'
    elif command -v sudo >/dev/null && [ -t 0 ] && [ -t 2 ]; then
        root='sudo' # may ask for a password
    elif [ -z "$version" ]; then
        fail "packages are missing and apt has no package lists: run \"sudo apt-get update\", then this again"
    else
        fail "packages are missing, run: $by_hand ${missing% }"
    fi

    # A broken third-party source makes the update fail, but the packages may still be available.
    apt "$root" update || say "apt-get update failed, trying to install anyway"
    # Only now the version that apt would install is known: a fresh system has no package lists.
    packages=$base
    add_analytics "$(gstreamer_version)"
    missing=$(missing_packages | tr '\n' ' ')
    say "installing ${missing% }"
    # shellcheck disable=SC2086 # $missing is words
    apt "$root" install -y --no-install-recommends $missing ||
        fail "packages could not be installed, run: $by_hand ${missing% }"
}

# --- Other systems ---------------------------------------------------------------------------------------------------

check_modules() {
    command -v pkg-config >/dev/null || fail "needed: pkg-config and a C compiler"
    add_analytics "$(pkg-config --modversion gstreamer-1.0 2>/dev/null || true)"
    lacking=''
    for module in $modules; do
        pkg-config --exists "$module >= 1.22" || lacking="$lacking $module"
    done
    [ -z "$lacking" ] || fail "pkg-config does not find, in version 1.22 or newer:$lacking"
}

# ---------------------------------------------------------------------------------------------------------------------

[ $# -gt 0 ] || set -- build lint run test bench
for group in "$@"; do
    add_group "$group"
done

check_rust
if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    install_packages
elif [ -n "$modules" ]; then
    check_modules
fi
