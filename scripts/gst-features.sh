#!/bin/sh
# Prints the Cargo feature of the plugin for a version of GStreamer, by default the installed one: "v1_26" for 1.26.5.
#
#     scripts/gst-features.sh [--present] [VERSION]
#
# That is the newest feature that is not newer than the version. Prints nothing if no feature is needed (1.22) or if
# GStreamer is not installed, which cargo reports. With --present, prints a feature that the installed packages can
# build: v1_26 and later need GstAnalytics, which Debian has in another package.
set -eu

newest=99
if [ "${1:-}" = --present ]; then
    shift
    pkg-config --exists gstreamer-analytics-1.0 2>/dev/null || newest=24
fi
manifest=$(dirname "$0")/../plugins/xmem/Cargo.toml
version=${1:-$(pkg-config --modversion gstreamer-1.0 2>/dev/null || true)}
minor=$(printf '%s\n' "$version" | sed -n 's/^1\.\([0-9][0-9]*\).*/\1/p')

sed -n 's/^v1_\([0-9]*\) *=.*/\1/p' "$manifest" | sort -rn | while read -r known; do
    if [ "$known" -le "${minor:-0}" ] && [ "$known" -le "$newest" ]; then
        echo "v1_$known"
        break
    fi
done
