#!/bin/sh
# Runs cargo, then copies the plugin and the list of its source files to where ninja expects them. Only meson.build
# calls this script.
#
#     build-plugin-for-meson.sh SOURCE OUTPUT DEPFILE CARGO_OUTPUT_DIR cargo build ...
set -eu

output=$PWD/$2
depfile=$PWD/$3
target=$2
built=$4

cd "$1"
shift 4
"$@"

cp "$built/libgstxmem.so" "$output"
# The dependency file names cargo's output before the first colon; ninja knows the file by another name.
sed -n "1s|^[^:]*:|$target:|p" "$built/libgstxmem.d" >"$depfile"
