#!/bin/bash
# Packs scripts/gpu-check.sh with all it runs, for a machine that has a GPU and its driver and little else.
#
#     scripts/gpu-bundle.sh                       makes gpu-check.tar.xz in the target directory
#     scripts/gpu-bundle.sh --programs DIR        only builds the programs, and puts them into DIR
#
# The bundle has the programs (release, stripped), GStreamer 1.26 and 1.28 from roots of Debian 13 and 14 (see
# scripts/debian-root.sh for what those need) with the libraries that they use and their libc, and clips of H.264. It
# fails if it gets larger than 64 MiB.
set -euo pipefail

limit=$((64 << 20))
# The programs must run with the libc of Ubuntu 24.04.
newest_glibc=2.39

fail() {
    printf 'xmem: %s\n' "$*" >&2
    exit 1
}

# --- Inside a root of Debian: copies its GStreamer to /out -----------------------------------------------------------

# The plugins of the pipelines in gpu-check.sh, and what is at hand for others.
plugins=(coreelements app videotestsrc videoconvertscale videorate rawparse videoparsersbad typefindfunctions isomp4
    matroska playback debugutilsbad nvcodec shm openh264 unixfd)

# Prints the libraries that files need, with their dependencies.
libraries() {
    ldd "$@" | sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u
}

inside() {
    local lib=/usr/lib/x86_64-linux-gnu plugin library
    rm -rf /out/bin /out/lib /out/plugins /out/libc
    mkdir -p /out/bin /out/lib /out/plugins /out/libc
    cp /usr/bin/gst-launch-1.0 /usr/bin/gst-inspect-1.0 /out/bin/
    for plugin in "${plugins[@]}"; do
        cp "$lib/gstreamer-1.0/libgst$plugin.so" /out/plugins/
    done
    cp -L $lib/libgstcuda-1.0.so.0 /out/lib/
    # libgcc_s: our programs. libgstallocators, libgstaudio, libgstanalytics: our plugin.
    for library in libgcc_s.so.1 libgstallocators-1.0.so.0 libgstaudio-1.0.so.0 libgstanalytics-1.0.so.0; do
        cp -L $lib/$library /out/lib/
    done
    libraries /out/bin/* /out/plugins/* /out/lib/* | while read -r library; do
        case ${library##*/} in
        libc.so.6 | libm.so.6 | libdl.so.2 | libpthread.so.0 | librt.so.1 | libresolv.so.2)
            cp -L "$library" /out/libc/
            ;;
        *) cp -L "$library" /out/lib/ ;;
        esac
    done
    # The driver may use more of libc than GStreamer does.
    for library in libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 ld-linux-x86-64.so.2; do
        cp -L "/lib/x86_64-linux-gnu/$library" /out/libc/
    done
}

# --- Outside ---------------------------------------------------------------------------------------------------------

# Builds the programs and puts them into a directory.
programs() {
    local to=$1 features built=$target/release file name program options=()
    features=$(scripts/gst-features.sh)
    [ -z "$features" ] || options=("--features=$features")
    [ -z "${CI:-}" ] || options+=(--locked)
    rm -rf "${to:?}"
    mkdir -p "$to/plugin"
    cargo build "${options[@]}" --release -p xmem-tests -p gst-plugin-xmem -p fakecuda
    for program in xmem-test-questions xmem-test-gpu xmem-test-stamps libfakecuda.so; do
        cp "$built/$program" "$to/"
    done
    cp "$built/libgstxmem.so" "$to/plugin/"
    for file in tests/tests/cuda*.rs tests/benches/cuda; do
        [ -e "$file" ] || continue
        name=$(basename "$file" .rs)
        case $file in
        *.rs) options+=(--test "$name") ;;
        *) options+=(--bench "$name") ;;
        esac
    done
    # cargo prints where it puts them: "Executable tests/cuda.rs (target/release/deps/cuda-1234)".
    cargo test "${options[@]}" --release -p xmem-tests --no-run 2>&1 | tee /dev/stderr |
        sed -n 's/^ *Executable \(.*\) (\(.*\))$/\1 \2/p' >"$to/built"
    while read -r file program; do
        case $file in
        tests/*) cp "$program" "$to/test-$(basename "$file" .rs)" ;;
        benches/*) cp "$program" "$to/bench-$(basename "${file%/main.rs}" .rs)" ;;
        esac
    done < <(sed 's/^\(.*\) \([^ ]*\)$/\1 \2/' "$to/built")
    rm "$to/built"
}

# Fails if a program in a directory needs a newer libc than the machine may have.
check_glibc() {
    local file newest
    while IFS= read -r file; do
        newest=$({ objdump -T "$file" && echo "GLIBC_$newest_glibc"; } | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
        [ "$newest" = "GLIBC_$newest_glibc" ] || fail "$file needs $newest: build the bundle on an older system"
    done < <(find "$1" -type f)
}

# Encodes 10 seconds of a test picture.
clip() {
    local file=$1 size=$2 rate=$3 bitrate=$4
    [ ! -e "$file" ] || return 0
    gst-launch-1.0 -q videotestsrc "num-buffers=$((10 * rate))" pattern=ball ! \
        "video/x-raw,format=I420,$size,framerate=$rate/1" ! x264enc speed-preset=ultrafast "bitrate=$bitrate" \
        key-int-max="$rate" ! h264parse ! mp4mux ! filesink "location=$file.part"
    mv "$file.part" "$file"
}

# A libnvcuvid that has no codec, for a driver without one: nvcodec registers nothing without any.
stub() {
    sed -n 's/^    \(cuvid[A-Za-z0-9]*\)$/int \1(void) { return 801; }/p' tests/fakecuda/src/api/cuvid.rs |
        gcc -shared -fPIC -s -Wl,-soname,libnvcuvid.so.1 -o "$1/libnvcuvid.so.1" -x c -
}

bundle() {
    local made=$target/gpu-bundle root version suite size
    root=$made/xmem-gpu-check
    command -v xz >/dev/null || fail "xz is missing: install the package xz-utils"
    mkdir -p "$root/gstreamer/stub" "$root/clips"
    programs "$root/bin"
    find "$root/bin" -type f -exec strip {} +
    check_glibc "$root/bin"
    for version in 1.26:trixie 1.28:forky; do
        suite=${version#*:}
        version=${version%:*}
        scripts/debian-root.sh --out "$root/gstreamer/$version" "$suite" bash scripts/gpu-bundle.sh --inside
        find "$root/gstreamer/$version/lib" "$root/gstreamer/$version/plugins" -type f -exec strip --strip-unneeded {} +
    done
    stub "$root/gstreamer/stub"
    clip "$root/clips/1080p.mp4" width=1920,height=1080 60 2000
    clip "$root/clips/4k.mp4" width=3840,height=2160 30 3000
    cp scripts/gpu-check.sh scripts/gpu-check-torch.py "$root/"
    tar -C "$made" -c xmem-gpu-check | xz -T2 -6 >"$target/gpu-check.tar.xz"
    size=$(stat -c %s "$target/gpu-check.tar.xz")
    du -sh "$root"/* | sed "s|$root/||"
    printf '%s: %d.%d MiB of at most %d MiB\n' "$target/gpu-check.tar.xz" $((size >> 20)) \
        $(((size * 10 >> 20) % 10)) $((limit >> 20))
    [ "$size" -le $limit ] || fail "the bundle is too large"
    echo "On the machine: tar -xf gpu-check.tar.xz && xmem-gpu-check/gpu-check.sh"
}

if [ "${1:-}" = --inside ]; then
    inside
    exit
fi
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
case ${1:-} in
--programs) programs "$(realpath -m "${2:?}")" ;;
'') bundle ;;
*) fail "usage: scripts/gpu-bundle.sh [--programs DIR]" ;;
esac
