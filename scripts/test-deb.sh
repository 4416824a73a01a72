#!/bin/bash
# Builds the Debian package on a fresh system of each release. Installs the package of the first release, which is the
# oldest, on a plain system of each, and passes frames between two processes there. See scripts/debian-root.sh for what
# this script needs.
#
#     scripts/test-deb.sh bookworm trixie noble
set -euo pipefail

# Runs inside a plain system, which is discarded afterwards. /out has the package.
inside() {
    local packages=(/out/gstreamer1.0-xmem_*.deb)
    local plugin
    apt_install "${packages[0]}" gstreamer1.0-tools gstreamer1.0-plugins-base
    plugin=$(dpkg -L gstreamer1.0-xmem | grep '/gstreamer-1.0/libgstxmem.so$')
    gst-inspect-1.0 xmemsrc >/dev/null
    gst-inspect-1.0 xmemsink | grep 'Filename .*/gstreamer-1.0/libgstxmem.so$'

    local pictures=(videotestsrc pattern=ball num-buffers=100 ! "video/x-raw,format=RGB,width=320,height=240")
    gst-launch-1.0 -q "${pictures[@]}" ! filesink location=/tmp/expected
    timeout 120 gst-launch-1.0 -q xmemsrc channel=deb connection-timeout=-1 ! filesink location=/tmp/received &
    timeout 120 gst-launch-1.0 -q "${pictures[@]}" ! \
        xmemsink channel=deb overflow=block wait-for-connection=true sync=false
    wait $!
    cmp /tmp/expected /tmp/received
    [ "$(stat -c %s /tmp/received)" -eq $((100 * 320 * 240 * 3)) ]

    apt_install lintian
    lintian --fail-on error "${packages[0]}"

    apt-get purge -y gstreamer1.0-xmem >/dev/null
    [ ! -e "$plugin" ]
    # shellcheck source=/dev/null
    echo "$(basename "${packages[0]}") works in $(. /etc/os-release && echo "$PRETTY_NAME"), $(gst-inspect-1.0 --gst-version)"
}

# Uses packages that were fetched before; fetches the lists of packages again if they are too old.
apt_install() {
    apt-get install -y --no-install-recommends "$@" ||
        { apt-get update && apt-get install -y --no-install-recommends "$@"; }
} >/dev/null

if [ "${1:-}" = --inside ]; then
    inside
    exit
fi

cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
scripts/test-fresh.sh deb "$@"

# Only the package of the build is used.
rm -rf "$target/deb-test" && mkdir -p "$target/deb-test"
cp "$target/fresh/$1"/*/deb/gstreamer1.0-xmem_*.deb "$target/deb-test"
for suite in "$@"; do
    scripts/debian-root.sh --plain --out "$target/deb-test" "$suite" scripts/test-deb.sh --inside
done
