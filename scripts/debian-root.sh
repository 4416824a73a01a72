#!/bin/bash
# Runs a command in a Debian of another release, beside the one that is here.
#
#     scripts/debian-root.sh [--plain] [--out DIR] SUITE COMMAND...
#
# SUITE is bookworm, trixie, forky, ... Its root is made by debootstrap on demand and kept in $XMEM_ROOTS (by default
# xmem/roots in $XDG_CACHE_HOME or ~/.cache); some 2 GB each. To have it made anew, remove it. What is needed is fetched
# from $DEBIAN_MIRROR (http://deb.debian.org/debian) the first time, and no network is needed after that.
#
# The command runs in /xmem, which is this tree as it was then, read-only. It has the Rust toolchain and the crates that are here, and
# the packages that scripts/install-deps.sh wants. With --plain it has nothing but Debian's least system, and is root
# there; apt keeps what it fetches. DIR is /out there, and what is written in it stays; all else that the command writes
# is gone when it ends, and so are its processes and mounts, also after Ctrl-C.
set -euo pipefail

fail() {
    printf 'xmem: %s\n' "$*" >&2
    exit 1
}

# --- Inside: root, with mounts and processes that end with this one -------------------------------------------------

# Makes what a root needs beside its files.
furnish() {
    local root=$1
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    # Hosts are found, and packages fetched, as they are here: through a proxy, from a mirror that is behind.
    rm -f "$root/etc/resolv.conf"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    apt-config dump 2>/dev/null | grep -E '^Acquire::(.*::)?(Proxy.*|Check-Date|Check-Valid-Until|Retries) ' \
        >"$root/etc/apt/apt.conf.d/90as-outside" || true
    mkdir -p "$root/xmem"
    mount --bind -o ro "$place/run/tree" "$root/xmem"
    if [ "$kind" = build ]; then
        mkdir -p "$root/rust" "$root/cargo"
        mount --bind -o ro "$toolchain" "$root/rust"
        mount --bind -o ro "$cargo_home" "$root/cargo"
        # cargo would find rustup's programs there, which know another toolchain.
        [ ! -d "$cargo_home/bin" ] || mount -t tmpfs tmpfs "$root/cargo/bin"
    else
        mkdir -p "$archives/partial"
        mount --bind "$archives" "$root/var/cache/apt/archives"
    fi
    if [ -n "$out" ]; then
        mkdir -p "$root/out"
        mount --bind "$out" "$root/out"
    fi
}

# Runs a command in a root that is furnished, as the user who wants it, or as root where that is the point.
within() {
    local path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    local settings=(HOME=/tmp LANG=C.UTF-8 "TERM=${TERM:-dumb}" DEBIAN_FRONTEND=noninteractive)
    local name
    for name in http_proxy https_proxy no_proxy CI CARGO_BUILD_JOBS; do
        [ -z "${!name:-}" ] || settings+=("$name=${!name}")
    done
    if [ "$kind" = build ]; then
        path=/rust/bin:$path
        settings+=(CARGO_HOME=/cargo CARGO_NET_OFFLINE=true CARGO_TARGET_DIR=/out)
    fi
    # The shell stays: somebody has to take note of processes whose parents have died.
    # shellcheck disable=SC2016 # "$@" is for that shell
    chroot "$1" /usr/bin/env -i PATH="$path" "${settings[@]}" sh -c 'cd /xmem && "$@"; exit $?' sh "${@:2}"
}

# Whether the root is there, with the packages that are wanted now. It is whole or not there: what was interrupted has
# another name.
is_made() {
    case $kind in
    plain) [ -e "$place/plain" ] ;;
    build) [ "$(cat "$place/build/$stamp" 2>/dev/null)" = "$wanted" ] ;;
    esac
}

# Makes the root, or what it lacks.
make_root() {
    local script=/usr/share/debootstrap/scripts/$suite
    [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid # a debootstrap older than the suite
    if [ ! -e "$place/plain" ]; then
        rm -rf --one-file-system "$place/plain.part"
        debootstrap --variant=minbase --include=ca-certificates "$suite" "$place/plain.part" "$mirror" "$script" ||
            fail "debootstrap could not make a root of $suite: see $place/plain.part/debootstrap/debootstrap.log, and \
set DEBIAN_MIRROR if another mirror has it"
        mv "$place/plain.part" "$place/plain"
    fi
    [ "$kind" = build ] || return 0

    rm -rf --one-file-system "$place/build.part"
    if [ -e "$place/build" ]; then
        cp -a "$place/build" "$place/build.part"
    else
        cp -a "$place/plain" "$place/build.part"
    fi
    furnish "$place/build.part"
    within "$place/build.part" sh -c 'apt-get update && apt-get install -y --no-install-recommends make' >&2
    within "$place/build.part" scripts/install-deps.sh build lint run test deb
    within "$place/build.part" apt-get clean
    echo "$wanted" >"$place/build.part/$stamp"
    rm -rf --one-file-system "$place/build"
    mv "$place/build.part" "$place/build"
}

# Standard input is the tree.
inside() {
    roots=$1 mirror=$2 kind=$3 suite=$4 out=$5 toolchain=$6 cargo_home=$7
    local user=$8 group=$9
    shift 9
    place=$roots/$suite
    archives=$place/archives
    mkdir -p "$place/run"
    mount -t tmpfs tmpfs "$place/run"
    mkdir "$place/run/tree" "$place/run/upper" "$place/run/work" "$place/run/root"
    tar -x -C "$place/run/tree"
    stamp=etc/xmem-made-with
    wanted=$(sha256sum <"$place/run/tree/scripts/install-deps.sh")

    # Others may use the root at the same time, but nobody while it changes.
    exec 9>"$place/lock"
    flock --shared 9
    if ! is_made; then
        flock --nonblock 9 || { echo "xmem: $place is in use, waiting: it will change" >&2 && flock 9; }
        is_made || make_root
        flock --shared 9
    fi

    local root=$place/run/root
    mount -t overlay overlay -o "lowerdir=$place/$kind,upperdir=$place/run/upper,workdir=$place/run/work" "$root" ||
        fail "the kernel has no overlay file system, which keeps the root as it is: modprobe overlay"
    furnish "$root"
    cd "$root"
    pivot_root . .
    umount -l .
    if [ "$kind" = build ]; then
        within / setpriv --reuid "$user" --regid "$group" --clear-groups "$@"
    else
        within / "$@"
    fi
}

# --- Outside: whoever wants it ---------------------------------------------------------------------------------------

# What is in the tree, but for what was built there.
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

outside() {
    local tree roots=${XMEM_ROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/xmem/roots}
    tree=$(cd "$(dirname "$0")/.." && pwd)
    local kind=build out=''
    while [ $# -gt 0 ]; do
        case $1 in
        --plain) kind=plain ;;
        --out) mkdir -p "$2" && out=$(cd "$2" && pwd) && shift ;;
        *) break ;;
        esac
        shift
    done
    [ $# -ge 2 ] || fail "usage: scripts/debian-root.sh [--plain] [--out DIR] SUITE COMMAND..."

    # Users can make roots by user namespaces too, but not with devices and all the users that packages want.
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "to mount and to install in a root of Debian takes root or sudo"
        root=(sudo)
    fi

    local program lacking=''
    PATH=$PATH:/usr/sbin:/sbin
    for program in debootstrap unshare pivot_root setpriv flock; do
        command -v "$program" >/dev/null || lacking="$lacking $program"
    done
    [ -z "$lacking" ] || fail "needed to make a root of Debian:$lacking (Debian's packages debootstrap, util-linux)"

    # Nothing of the machine's Rust but its toolchain is used, which has its own libraries.
    local toolchain='' cargo_home=${CARGO_HOME:-$HOME/.cargo}
    if [ "$kind" = build ]; then
        toolchain=$(rustc --print sysroot) || fail "Rust is missing: see https://rustup.rs"
        if [ ! -x "$toolchain/bin/cargo" ] || [ "$toolchain" = /usr ]; then
            fail "a Rust toolchain that stands in a directory of its own is needed: see https://rustup.rs"
        fi
        cargo fetch --locked --quiet --manifest-path "$tree/Cargo.toml"
    fi

    cd "$tree"
    files | tar -c --null --files-from=- |
        "${root[@]}" env PATH="$PATH" CI="${CI:-}" CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-}" \
            http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" no_proxy="${no_proxy:-}" \
            unshare --mount --pid --fork --kill-child bash "$tree/scripts/debian-root.sh" --inside \
            "$roots" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" "$kind" "$1" "$out" "$toolchain" "$cargo_home" \
            "$(id -u)" "$(id -g)" "${@:2}"
}

# Read to its end before it does anything: whoever edits this file meanwhile is not in the way.
{
    if [ "${1:-}" = --inside ]; then inside "${@:2}"; else outside "$@"; fi
    exit
}
