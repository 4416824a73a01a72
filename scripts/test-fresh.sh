#!/bin/bash
# Runs a target of the Makefile on fresh systems, and prints its cost. See scripts/debian-root.sh for what this script
# needs.
#
#     scripts/test-fresh.sh demo|deb SUITE...
#
# A fresh system has make and Rust, and only the packages of a minimal system. On Debian root makes the target, on
# Ubuntu a user with sudo. The output is in fresh/SUITE/TARGET.log in the target directory, and the build is beside it.
set -euo pipefail

# The maximum disk space of the packages for "make demo", in MB, without crates and build. The README has the actual
# values.
limit=1000

fail() {
    printf 'xmem: %s\n' "$*" >&2
    exit 1
}

# --- Inside a fresh system, which is discarded afterwards; the build goes to /out ------------------------------------

inside() {
    local target=$1 user=root began packages fetched disk
    local needed=(make)
    # shellcheck source=/dev/null
    if [ "$(. /etc/os-release && echo "$ID")" = ubuntu ]; then
        user=newcomer
        needed+=(sudo)
    fi
    { apt-get update && apt-get install -y --no-install-recommends "${needed[@]}"; } >/dev/null
    if [ $user != root ]; then
        add_user $user
    fi
    grep -c '^Commandline: .* install ' /var/log/apt/history.log >/tmp/rounds

    began=$SECONDS
    mkdir -p "/out/$user"
    chown "$user:" "/out/$user"
    runuser -u $user -- env CARGO_TARGET_DIR="/out/$user" make "$target" </dev/null 2>&1 | tee "/out/$target.log"
    began=$((SECONDS - began))
    chown -R --reference=/out "/out/$user"

    check_rounds "$target"
    packages=$(sed -n 's/^.* upgraded, \([0-9]*\) newly installed.*/\1/p' "/out/$target.log")
    fetched=$(sed -n 's/^Need to get \(.*\/\)\?\([0-9.,]* .B\) of archives.*/\2/p' "/out/$target.log")
    disk=$(sed -n 's/^After this operation, \(.*\) of additional disk space.*/\1/p' "/out/$target.log")
    # shellcheck source=/dev/null
    printf '%-5s %s: %s packages in one run of apt, %s to fetch, %s on disk, %s s with the build\n' "$target" \
        "$(. /etc/os-release && echo "$PRETTY_NAME, by $user")" "$packages" "$fetched" "$disk" $began \
        >"/out/$target.summary"
    [ "$target" != demo ] || check_demo "$user" "$disk"
}

# Adds a user with the UID of the caller, who can read the crates of this machine, or with UID 1000 if that is root.
add_user() {
    local id
    id=$(stat -c %u /out)
    useradd --create-home --uid $((id ? id : 1000)) --non-unique "$1"
    echo "$1 ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/user
}

# A user at a terminal must be asked for a password only once, so there must be one run of apt.
check_rounds() {
    local rounds
    rounds=$(($(grep -c '^Commandline: .* install ' /var/log/apt/history.log) - $(cat /tmp/rounds)))
    [ $rounds -eq 1 ] || fail "\"make $1\" installed packages $rounds times, not once"
}

check_demo() {
    local built disk=$2
    built=$(find "/out/$1/release/deps" -name '*xmem_tests*')
    [ -z "$built" ] || fail "\"make demo\" built the tests"
    case $disk in
    *' kB') ;;
    *' MB') [ "${disk%%[., ]*}" -le $limit ] || fail "the packages of \"make demo\" need $disk, more than $limit MB" ;;
    *) fail "apt did not print the disk space of the packages of \"make demo\": '$disk'" ;;
    esac
}

# ---------------------------------------------------------------------------------------------------------------------

if [ "${1:-}" = --inside ]; then
    inside "$2"
    exit
fi

[ $# -ge 2 ] || fail "usage: scripts/test-fresh.sh demo|deb SUITE..."
target=$1
shift
cd "$(dirname "$0")/.."
fresh=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fresh
for suite in "$@"; do
    # An earlier build would hide missing packages and shorten the time.
    rm -rf "${fresh:?}/$suite"
    scripts/debian-root.sh --fresh --out "$fresh/$suite" "$suite" scripts/test-fresh.sh --inside "$target"
done
echo
for suite in "$@"; do
    cat "$fresh/$suite/$target.summary"
done
