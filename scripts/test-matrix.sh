#!/bin/bash
# Builds and tests xmem on several versions of GStreamer: the installed version on this system, and each other version
# in a root of the Debian release that has it. See scripts/debian-root.sh for what this script needs.
#
#     scripts/test-matrix.sh 1.22 1.26 1.28
#     GOALS=test-pipelines scripts/test-matrix.sh 1.26        other targets than the default, check and suite
#
# The output of each is in matrix/VERSION.log in the target directory, and its build is beside it.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
matrix=$(realpath -m "${CARGO_TARGET_DIR:-target}")/matrix
here=$(pkg-config --modversion gstreamer-1.0 2>/dev/null || true)
read -ra goals <<<"${GOALS:-check suite}"
# Without this, an interrupt would only skip to the next version.
trap 'echo "xmem: interrupted" >&2; exit 130' INT TERM

suite_of() {
    case $1 in
    1.22) echo bookworm ;;
    1.26) echo trixie ;;
    1.28) echo forky ;;
    *)
        echo "xmem: no Debian release with GStreamer $1 is known (1.22, 1.26, 1.28)" >&2
        return 1
        ;;
    esac
}

# Prints the exact version of GStreamer, then runs the goals.
run() {
    local version=$1 suite=$2
    if [ "${here%"${here#*.*.}"}" = "$version." ]; then
        echo "GStreamer $here on this machine"
        make "${goals[@]}"
    else
        # shellcheck disable=SC2016 # for the shell in the root
        scripts/debian-root.sh --out "$matrix/$version" "$suite" sh -c \
            'echo "GStreamer $(pkg-config --modversion gstreamer-1.0) in Debian $(cat /etc/debian_version)" && exec "$@"' \
            sh make INSTALL_DEPS=true "${goals[@]}"
    fi
}

[ $# -gt 0 ] || { echo "usage: scripts/test-matrix.sh VERSION..." >&2 && exit 1; }
for version in "$@"; do
    suite_of "$version" >/dev/null || exit 1
done

mkdir -p "$matrix"
status=0
summary=()
for version in "$@"; do
    log=$matrix/$version.log
    begun=$SECONDS
    if run "$version" "$(suite_of "$version")" 2>&1 | tee "$log"; then
        result=passed
    else
        result=FAILED
        status=1
    fi
    where=$(sed -n 's/^\(GStreamer 1\..* \(on\|in\) .*\)/\1/p' "$log" | head -n 1)
    tests=$(sed -n 's/^test result: .*\. \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$log" |
        awk '{ passed += $1; failed += $2 } END { printf "%d tests passed, %d failed", passed, failed }')
    summary+=("$(printf '%-5s %s  %s, in %d min  %s' "$version" "$result" "$tests" $(((SECONDS - begun + 59) / 60)) \
        "${where:-(the tests did not start)}")")
    while read -r name; do
        summary+=("      $name")
    done < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
done

echo
printf '%s\n' "${summary[@]}"
exit $status
