#!/bin/bash
# Runs a command in a root directory with another release of Debian or Ubuntu.
#
#     scripts/debian-root.sh [--plain | --fresh] [--out DIR] SUITE COMMAND...
#
# SUITE is bookworm, trixie, forky, ..., or noble of Ubuntu. debootstrap makes its root on demand. The root is kept in
# $XMEM_ROOTS (by default xmem/roots in $XDG_CACHE_HOME or ~/.cache) and needs some 2 GB. Remove it to have it made
# again. Packages are fetched from $DEBIAN_MIRROR (http://deb.debian.org/debian) or $UBUNTU_MIRROR
# (http://archive.ubuntu.com/ubuntu) the first time; no network is needed after that.
#
# The command runs in /xmem, a read-only copy of this tree. It has the Rust toolchain and the crates of this machine,
# and the packages that scripts/install-deps.sh installs. With --fresh it has the toolchain and the crates, but only the
# packages of a minimal system, and runs as root; apt keeps the packages that it fetches. With --plain it has no Rust
# either. DIR is mounted at /out, and files written there stay. Everything else that the command writes is discarded
# when it ends, and its processes and mounts end too, also after Ctrl-C.
set -euo pipefail

fail() {
    printf 'xmem: %s\n' "$*" >&2
    exit 1
}

# --- Inside: as root, with mounts and processes that end with this one ----------------------------------------------

# Mounts what a root needs in addition to its files.
furnish() {
    local root=$1
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    # Host names and packages are found as on this machine: through its proxy, or from a mirror that is out of date.
    rm -f "$root/etc/resolv.conf"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    apt-config dump 2>/dev/null | grep -E '^Acquire::(.*::)?(Proxy.*|Check-Date|Check-Valid-Until|Retries) ' \
        >"$root/etc/apt/apt.conf.d/90as-outside" || true
    mkdir -p "$root/xmem"
    mount --bind -o ro "$place/run/tree" "$root/xmem"
    if [ -n "$toolchain" ]; then
        mkdir -p "$root/rust" "$root/cargo"
        mount --bind -o ro "$toolchain" "$root/rust"
        mount --bind -o ro "$cargo_home" "$root/cargo"
        # Otherwise cargo would find the programs of rustup there, which use another toolchain.
        [ ! -d "$cargo_home/bin" ] || mount -t tmpfs tmpfs "$root/cargo/bin"
    fi
    if [ "$base" = plain ]; then
        mkdir -p "$archives/partial"
        mount --bind "$archives" "$root/var/cache/apt/archives"
    fi
    if [ -n "$out" ]; then
        mkdir -p "$root/out"
        mount --bind "$out" "$root/out"
    fi
}

# Runs a command in a root that furnish() has prepared.
within() {
    local path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    local settings=(HOME=/tmp LANG=C.UTF-8 "TERM=${TERM:-dumb}" DEBIAN_FRONTEND=noninteractive)
    local name
    for name in http_proxy https_proxy no_proxy CI CARGO_BUILD_JOBS; do
        [ -z "${!name:-}" ] || settings+=("$name=${!name}")
    done
    if [ -n "$toolchain" ]; then
        path=/rust/bin:$path
        settings+=(CARGO_HOME=/cargo CARGO_NET_OFFLINE=true CARGO_TARGET_DIR=/out)
    fi
    # The shell stays and does not exec the command, because a shell has to reap processes whose parents have died.
    # shellcheck disable=SC2016 # the inner shell expands "$@"
    chroot "$1" /usr/bin/env -i PATH="$path" "${settings[@]}" sh -c 'cd /xmem && "$@"; exit $?' sh "${@:2}"
}

# Whether the root exists with the current packages. It is complete or does not exist: a root that is being made has
# another name.
is_made() {
    case $base in
    plain) [ -e "$place/plain" ] ;;
    build) [ "$(cat "$place/build/$stamp" 2>/dev/null)" = "$wanted" ] ;;
    esac
}

# Makes the smallest system that debootstrap can make.
debootstrap_plain() {
    local part=$place/plain.part scripts=/usr/share/debootstrap/scripts options=(--variant=minbase)
    local script=$scripts/$suite others=$scripts/sid variable=DEBIAN_MIRROR
    options+=(--include=ca-certificates)
    if [ -n "$keyring" ]; then
        options+=(--keyring="$keyring" "--components=main,universe")
        others=$scripts/gutsy variable=UBUNTU_MIRROR
    fi
    [ -e "$script" ] || script=$others # debootstrap is older than the suite
    rm -rf --one-file-system "$part"
    debootstrap "${options[@]}" "$suite" "$part" "$mirror" "$script" ||
        fail "debootstrap failed to make a root of $suite: see $part/debootstrap/debootstrap.log, and set $variable if \
another mirror has it"
    mv "$part" "$place/plain"
}

# Makes the root, or adds missing packages to it.
make_root() {
    if [ ! -e "$place/plain" ]; then
        debootstrap_plain
    fi
    [ "$base" = build ] || return 0

    rm -rf --one-file-system "$place/build.part"
    if [ -e "$place/build" ]; then
        cp -a "$place/build" "$place/build.part"
    else
        cp -a "$place/plain" "$place/build.part"
    fi
    furnish "$place/build.part"
    within "$place/build.part" sh -c 'apt-get update && apt-get install -y --no-install-recommends make' >&2
    within "$place/build.part" scripts/install-deps.sh build lint run test
    within "$place/build.part" apt-get clean
    echo "$wanted" >"$place/build.part/$stamp"
    rm -rf --one-file-system "$place/build"
    mv "$place/build.part" "$place/build"
}

# Reads an archive of the tree from standard input.
inside() {
    roots=$1 mirror=$2 keyring=$3 base=$4 suite=$5 out=$6 toolchain=$7 cargo_home=$8
    local user=$9 group=${10}
    shift 10
    place=$roots/$suite
    archives=$place/archives
    mkdir -p "$place/run"
    mount -t tmpfs tmpfs "$place/run"
    mkdir "$place/run/tree" "$place/run/upper" "$place/run/work" "$place/run/root"
    tar -x -C "$place/run/tree"
    stamp=etc/xmem-made-with
    wanted=$(sha256sum <"$place/run/tree/scripts/install-deps.sh")

    # Several processes may use the root at the same time, but none while it changes.
    exec 9>"$place/lock"
    flock --shared 9
    if ! is_made; then
        flock --nonblock 9 || { echo "xmem: waiting until $place is not in use, to change it" >&2 && flock 9; }
        is_made || make_root
        flock --shared 9
    fi

    local root=$place/run/root
    mount -t overlay overlay -o "lowerdir=$place/$base,upperdir=$place/run/upper,workdir=$place/run/work" "$root" ||
        fail "the kernel has no overlay file system, which is needed to keep the root unchanged: modprobe overlay"
    furnish "$root"
    cd "$root"
    pivot_root . .
    umount -l .
    if [ "$base" = build ]; then
        within / setpriv --reuid "$user" --regid "$group" --clear-groups "$@"
    else
        within / "$@"
    fi
}

# --- Outside: as the calling user -----------------------------------------------------------------------------------

# Prints the files of the tree, without build outputs.
files() {
    local file
    if git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files -z --cached --others --exclude-standard
    else
        find . -path ./target -prune -o -type f -print0
    fi | while IFS= read -r -d '' file; do
        [ ! -e "$file" ] || printf '%s\0' "$file"
    done
}

# Prints the path of the file with the keys of Ubuntu. If the package with the keys is not installed (Debian has it
# since 13), a root of Debian 13 fetches it, so that it is verified with Debian's keys. It is kept in the target
# directory.
keyring_of_ubuntu() {
    local name=ubuntu-archive-keyring.gpg
    local file=/usr/share/keyrings/$name
    if [ ! -e "$file" ]; then
        file=$(realpath -m "${CARGO_TARGET_DIR:-$tree/target}")/keys/$name
    fi
    if [ ! -e "$file" ]; then
        # shellcheck disable=SC2016 # the shell in the root expands it
        "$tree/scripts/debian-root.sh" --plain --out "${file%/*}" trixie sh -c 'cd /tmp && apt-get update &&
            apt-get download ubuntu-keyring && dpkg -x ubuntu-keyring_*.deb . &&
            install -m 644 "usr/share/keyrings/$1" "/out/$1.part" && mv "/out/$1.part" "/out/$1"' sh "$name" >&2 ||
            fail "packages of Ubuntu are verified with its keys: install the package ubuntu-keyring"
    fi
    echo "$file"
}

outside() {
    local tree roots=${XMEM_ROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/xmem/roots}
    tree=$(cd "$(dirname "$0")/.." && pwd)
    local base=build rust=yes out=''
    while [ $# -gt 0 ]; do
        case $1 in
        --plain) base=plain rust=no ;;
        --fresh) base=plain ;;
        --out) mkdir -p "$2" && out=$(cd "$2" && pwd) && shift ;;
        *) break ;;
        esac
        shift
    done
    [ $# -ge 2 ] || fail "usage: scripts/debian-root.sh [--plain | --fresh] [--out DIR] SUITE COMMAND..."

    # A user namespace would not need root, but has no devices and not all the users that packages need.
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "root or sudo is needed to mount and to install packages in a root of Debian"
        root=(sudo)
    fi

    local program lacking=''
    PATH=$PATH:/usr/sbin:/sbin
    for program in debootstrap unshare pivot_root setpriv flock; do
        command -v "$program" >/dev/null || lacking="$lacking $program"
    done
    [ -z "$lacking" ] || fail "needed to make a root of Debian:$lacking (Debian's packages debootstrap, util-linux)"

    # Only the toolchain of the machine's Rust is used, which has its own libraries.
    local toolchain='' cargo_home=${CARGO_HOME:-$HOME/.cargo}
    if [ "$rust" = yes ]; then
        toolchain=$(rustc --print sysroot) || fail "Rust is missing: see https://rustup.rs"
        if [ ! -x "$toolchain/bin/cargo" ] || [ "$toolchain" = /usr ]; then
            fail "a Rust toolchain in a directory of its own is needed: see https://rustup.rs"
        fi
        cargo fetch --locked --quiet --manifest-path "$tree/Cargo.toml"
    fi

    local mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian} keyring=''
    case $1 in
    noble)
        mirror=${UBUNTU_MIRROR:-http://archive.ubuntu.com/ubuntu}
        [ -e "$roots/$1/plain" ] || keyring=$(keyring_of_ubuntu)
        ;;
    esac

    cd "$tree"
    files | tar -c --null --files-from=- |
        "${root[@]}" env PATH="$PATH" CI="${CI:-}" CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-}" \
            http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" no_proxy="${no_proxy:-}" \
            unshare --mount --pid --fork --kill-child bash "$tree/scripts/debian-root.sh" --inside \
            "$roots" "$mirror" "$keyring" "$base" "$1" "$out" "$toolchain" "$cargo_home" \
            "$(id -u)" "$(id -g)" "${@:2}"
}

# The shell reads this block to its end before it runs it, so the file can be edited meanwhile.
{
    if [ "${1:-}" = --inside ]; then inside "${@:2}"; else outside "$@"; fi
    exit
}
