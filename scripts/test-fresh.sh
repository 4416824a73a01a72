#!/bin/bash
# Runs a target of the Makefile on fresh systems, and prints what it costs there. See scripts/debian-root.sh for what that
# takes.
#
#     scripts/test-fresh.sh demo|deb SUITE...
#
# A fresh system has make and Rust, and of packages only those of the least system. In Debian's the target is made by
# root, in Ubuntu's by a user with sudo. What it prints is in fresh/SUITE/TARGET.log in the target directory, its build
# beside it.
set -euo pipefail

# What "make demo" may take of the disk, in MB, crates and build apart. The README says what it takes.
limit=1000

fail() {
    printf 'xmem: %s\n' "$*" >&2
    exit 1
}

# --- Inside a fresh system that is gone afterwards: the build goes to /out -------------------------------------------

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
    printf '%-5s %s: %s packages by one run of apt, %s to fetch, %s on the disk, %s s with the build\n' "$target" \
        "$(. /etc/os-release && echo "$PRETTY_NAME, by $user")" "$packages" "$fetched" "$disk" $began \
        >"/out/$target.summary"
    [ "$target" != demo ] || check_demo "$user" "$disk"
}

# With the id of whoever called, who can read the crates that are here, unless that is root.
add_user() {
    local id
    id=$(stat -c %u /out)
    useradd --create-home --uid $((id ? id : 1000)) --non-unique "$1"
    echo "$1 ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/user
}

# Whoever waits at a terminal is asked once.
check_rounds() {
    local rounds
    rounds=$(($(grep -c '^Commandline: .* install ' /var/log/apt/history.log) - $(cat /tmp/rounds)))
    [ $rounds -eq 1 ] || fail "\"make $1\" has installed packages $rounds times, not once"
}

check_demo() {
    local built disk=$2
    built=$(find "/out/$1/release/deps" -name '*xmem_tests*')
    [ -z "$built" ] || fail "\"make demo\" has built the tests"
    case $disk in
    *' kB') ;;
    *' MB') [ "${disk%%[., ]*}" -le $limit ] || fail "the packages of \"make demo\" take $disk, more than $limit MB" ;;
    *) fail "apt has not said what the packages of \"make demo\" take: '$disk'" ;;
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
    # What was built before would hide what is not there now, and make it quick.
    rm -rf "${fresh:?}/$suite"
    scripts/debian-root.sh --fresh --out "$fresh/$suite" "$suite" scripts/test-fresh.sh --inside "$target"
done
echo
for suite in "$@"; do
    cat "$fresh/$suite/$target.summary"
done
