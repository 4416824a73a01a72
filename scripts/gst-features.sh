#!/bin/sh
# Prints the Cargo feature of the plugin for a version of GStreamer, by default the installed one: "v1_26" for 1.26.5.
#
#     scripts/gst-features.sh [VERSION]
#
# It is the newest there is that is not newer than that version. Nothing is printed where none is needed (1.22), or where
# there is no GStreamer: then cargo says so.
set -eu

manifest=$(dirname "$0")/../plugins/xmem/Cargo.toml
version=${1:-$(pkg-config --modversion gstreamer-1.0 2>/dev/null || true)}
minor=$(printf '%s\n' "$version" | sed -n 's/^1\.\([0-9][0-9]*\).*/\1/p')

sed -n 's/^v1_\([0-9]*\) *=.*/\1/p' "$manifest" | sort -rn | while read -r known; do
    if [ "$known" -le "${minor:-0}" ]; then
        echo "v1_$known"
        break
    fi
done
