#!/bin/bash
# Checks xmem on a machine with an NVIDIA GPU, and prints a Markdown table for docs/cuda.md.
#
#     scripts/gpu-check.sh [--driver stand-in] [--short] [--only PHASE,...] [--out DIR]
#         [--programs DIR] [--gstreamers DIR]
#
# It needs the driver and glibc; nothing is built or fetched. "make gpu-check" builds the programs and runs it in the
# tree; "make gpu-bundle" packs it with the programs and with GStreamer 1.26 and 1.28 for a machine without the tree.
#
# The phases, in their order: facts, questions, tests, figures, gstreamer, torch. Each part has a time limit, and all
# together have $XMEM_CHECK_SECONDS (570). What can not run is a line with SKIP and the reason. The output of each part
# is in DIR of --out (./gpu-check), and so is the table.
#
# --driver stand-in runs everything on the stand-in for the driver, to see that the script works: the table has no times
# then. --short is a run of some seconds.
#
# It never changes clocks, MIG, MPS or the persistence mode.
set -uo pipefail

export LC_ALL=C PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs=$here/bin
gstreamers=$here/gstreamer
clips=$here/clips
out=${OUT:-$PWD}/gpu-check
driver=machine
short=no
phases=facts,questions,tests,figures,gstreamer,torch

fail() {
    printf 'xmem: %s\n' "$*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --short) short=yes && shift && continue ;;
    --driver | --only | --programs | --gstreamers | --out) [ $# -gt 1 ] || fail "$1 needs a value" ;;
    *) fail "no such option: $1 (--driver, --short, --only, --programs, --gstreamers, --out)" ;;
    esac
    case $1 in
    --driver) driver=$2 ;;
    --only) phases=$2 ;;
    --programs) programs=$(realpath -m "$2") ;;
    --gstreamers) gstreamers=$(realpath -m "$2") && clips=${gstreamers%/*}/clips ;;
    --out) out=$2 ;;
    esac
    shift 2
done
case $driver in machine | stand-in) ;; *) fail "no such driver: $driver (machine, stand-in)" ;; esac

seconds=${XMEM_CHECK_SECONDS:-570}
mkdir -p "$out" || exit
out=$(cd "$out" && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/xmem-check-XXXXXX") || exit
# Only what this script has started: the parts that "timeout" has left, and their directory.
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
rows=$scratch/rows
: >"$rows"

# --- What is printed -------------------------------------------------------------------------------------------------

say() {
    printf '%s\n' "$*"
}

# Adds a row of the table.
row() {
    printf '%s\t%s\n' "$1" "${2//|/\\|}" >>"$rows"
    say "$1: $2"
}

skip() {
    row "$1" "SKIP $2"
}

# Adds lines "question: answer" of standard input.
rows_of_lines() {
    local line
    while IFS= read -r line; do
        case $line in *': '*) row "${line%%: *}" "${line#*: }" ;; esac
    done
}

print_table() {
    local question answer
    say '| question or figure | answer | device | driver |'
    say '|---|---|---|---|'
    while IFS=$'\t' read -r question answer; do
        say "| $question | $answer | $device | $version |"
    done <"$rows"
}

# --- Time ------------------------------------------------------------------------------------------------------------

# Whether there is time for a part; prints the seconds that it may take, at most $1.
left() {
    local left=$((seconds - SECONDS))
    [ "$left" -ge 5 ] || return 1
    printf '%s\n' $((left < $1 ? left : $1))
}

# Runs a command for at most $1 seconds, with its output in the file $2. Its status is 124 after that, or 125 if there
# was no time at all.
limited() {
    local limit log=$out/$2
    limit=$(left "$1") || return 125
    shift 2
    timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null
}

why() {
    case $1 in
    124 | 137) say "no end in time" ;;
    125) say "the time is up: run it alone with --only" ;;
    *) say "status $1: $(tail -n 1 "$out/$2" 2>/dev/null | tr '\t' ' ')" ;;
    esac
}

# --- The driver ------------------------------------------------------------------------------------------------------

# The directory with libcuda.so.1, if the dynamic linker has to be told.
library_path=''
if [ "$driver" = stand-in ]; then
    [ -e "$programs/libfakecuda.so" ] || fail "there is no stand-in in $programs: make gpu-check builds it"
    mkdir "$scratch/driver"
    # All names are links to one file, because two files would be two drivers.
    cp "$(realpath "$programs/libfakecuda.so")" "$scratch/driver/libcuda.so"
    ln -s libcuda.so "$scratch/driver/libcuda.so.1"
    ln -s libcuda.so "$scratch/driver/libnvcuvid.so.1"
    library_path=$scratch/driver
    export XMEM_STAND_IN=1 FAKECUDA_MEMORY=$((1 << 30))
    unset "${!CUDA_VISIBLE@}"
else
    found=''
    path=${LD_LIBRARY_PATH:-}
    for directory in ${path//:/ }; do
        [ -n "$found" ] || [ ! -e "$directory/libcuda.so.1" ] || found=$directory/libcuda.so.1
    done
    [ -n "$found" ] || found=$( (ldconfig -p || /sbin/ldconfig -p) 2>/dev/null |
        sed -n 's/.*libcuda\.so\.1 (libc6,.*=> //p' | head -n 1)
    for directory in /usr/local/nvidia/lib64 /usr/lib/wsl/lib /usr/lib/x86_64-linux-gnu /usr/lib64; do
        if [ -z "$found" ] && [ -e "$directory/libcuda.so.1" ]; then
            found=$directory/libcuda.so.1
            library_path=$directory
        fi
    done
    driver_directory=${found%/*}
fi
# Tests that control the driver say that they need the stand-in.
export XMEM_REAL_CUDA=1
[ -z "$library_path" ] || export LD_LIBRARY_PATH=$library_path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
driver_directory=${driver_directory:-$library_path}

questions=$programs/xmem-test-questions
[ -x "$questions" ] || fail "there are no programs in $programs: make gpu-check builds them"
limited 60 facts.txt "$questions" F
device=$(sed -n 's/^F device: \(.*\), UUID .*/\1/p' "$out/facts.txt")
version="CUDA $(sed -n "s/^F driver's version of CUDA: //p" "$out/facts.txt")"
module=$(sed -n 's/^F module of the kernel: .*Kernel Module *\(for [^ ]* *\)\?\([0-9.]*\).*/\2/p' "$out/facts.txt")
[ -z "$module" ] || version="$module, $version"
if [ "$driver" = stand-in ]; then
    device='no GPU: the stand-in'
    version='none'
elif [[ $device == Stand-in* ]]; then
    fail "the driver here is the stand-in, whose times say nothing: use --driver stand-in"
elif [ -z "$device" ]; then
    cat "$out/facts.txt"
    say "There is no GPU here, or its driver does not work: nothing was checked."
    say "On a machine with one: make gpu-bundle makes target/gpu-check.tar.xz here; unpack it there, and run"
    say "xmem-gpu-check/gpu-check.sh. Without one: make gpu-check DRIVER=stand-in runs everything without times."
    exit 1
fi

# --- Phase 1: facts --------------------------------------------------------------------------------------------------

facts() {
    row system "$(uname -srm), glibc $(getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/.* //')"
    if [ "$driver" = machine ]; then
        if command -v nvidia-smi >/dev/null; then
            local asked=name,driver_version,mig.mode.current,persistence_mode,compute_mode
            limited 20 nvidia-smi.txt nvidia-smi "--query-gpu=$asked" --format=csv,noheader
            row "nvidia-smi ($asked)" "$(tr '\n' ' ' <"$out/nvidia-smi.txt")"
        else
            skip nvidia-smi "it is not installed"
        fi
        local names
        names=$(cd "${driver_directory:-/nonexistent}" 2>/dev/null && shopt -s nullglob &&
            echo libnvcuvid.so.1* libnvidia-encode.so.1*)
        row "NVDEC and NVENC in ${driver_directory:-?}" "${names:-none}"
    fi
    grep '^F ' "$out/facts.txt" | sed 's/^F //' | grep -v '^context of another' >"$scratch/facts"
    rows_of_lines <"$scratch/facts"
}

# --- Phase 2: the open questions -------------------------------------------------------------------------------------

ask_questions() {
    local names=(Q1 Q2 Q3 Q4 Q5 Q10 Q7 Q9 Q8 Q12 Q6 Q11) status
    [ "$short" = no ] || names=(Q1 Q2 Q4)
    limited 230 questions.txt "$questions" "${names[@]}"
    status=$?
    rows_of_lines <"$out/questions.txt"
    [ "$status" = 0 ] || skip "the other questions" "$(why $status questions.txt)"
}

# --- Phase 3: tests --------------------------------------------------------------------------------------------------

# Runs each test of a program in a process of its own: one that needs the stand-in ends its process.
run_tests() {
    local program=$1 name test status passed=0 skipped=0 failed=0 file
    name=$(basename "$program")
    while IFS= read -r test; do
        file=$name-$test.txt
        limited "${2:-60}" "$file" "$program" --exact "$test" --nocapture --test-threads 1
        status=$?
        case $status in
        0) passed=$((passed + 1)) ;;
        77) skipped=$((skipped + 1)) ;;
        125) skip "$name" "$(why 125 "$file")" && break ;;
        *)
            failed=$((failed + 1))
            row "FAILED: $test" "$(grep -m 1 -A 1 panicked "$out/$file" | tr '\n' ' ') $(why $status "$file")"
            ;;
        esac
        sed -n 's/^.*FIGURE //p' "$out/$file" >"$scratch/figures"
        rows_of_lines <"$scratch/figures"
    done < <("$program" --list --format terse 2>/dev/null | sed -n 's/: test$//p')
    row "tests of $name" "$passed passed, $failed failed, $skipped need the stand-in and were skipped"
}

tests() {
    local program found=no
    if [ "$short" = yes ]; then
        export XMEM_SECONDS=1 XMEM_ROUNDS=2 XMEM_BYTES=65536
    elif [ "$driver" = stand-in ]; then
        export XMEM_SECONDS=5 XMEM_ROUNDS=20 XMEM_BYTES=65536
    else
        # 1080p NV12.
        export XMEM_SECONDS=60 XMEM_ROUNDS=50 XMEM_BYTES=3110400
    fi
    for program in "$programs"/test-cuda_torn_frames "$programs"/test-*; do
        [ -x "$program" ] || continue
        case $(basename "$program") in
        test-cuda_torn_frames) [ $found = no ] || continue ;;
        *) [ "$short" = no ] || continue ;;
        esac
        found=yes
        run_tests "$program" 110
    done
    [ $found = yes ] || skip tests "they are not in $programs"
}

# --- Phase 4: figures of the core ------------------------------------------------------------------------------------

figures() {
    local program=$programs/bench-cuda options=() status
    # The largest frames of eight clients.
    export FAKECUDA_MEMORY=$((8 << 30))
    [ -x "$program" ] || { skip "figures of the core" "the bench is not in $programs" && return; }
    [ "$driver" = machine ] || options=(--quick --sizes 1080p --clients "1,2")
    limited 200 figures.txt "$program" "${options[@]}"
    status=$?
    [ $status = 0 ] || { skip "figures of the core" "$(why $status figures.txt)" && return; }
    if [ "$driver" = stand-in ]; then
        row "figures of the core" "the bench ran to its end (not timed)"
    else
        row "figures of the core" "see below"
    fi
}

# --- Phase 5: GStreamer ----------------------------------------------------------------------------------------------


# Sets "command" to what runs a program with a GStreamer: a directory of the bundle, or "installed".
with_gstreamer() {
    local where=$1 program=$2 plugins=$programs name with=() path
    shift 2
    [ ! -d "$programs/plugin" ] || plugins=$programs/plugin
    name=$(basename "$where")
    local settings=("XMEM_RUNTIME_DIR=$scratch" "GST_REGISTRY=$scratch/registry-$name")
    if [ "$where" = installed ]; then
        command=(env "${settings[@]}" "GST_PLUGIN_PATH=$plugins${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}" "$program" "$@")
        return
    fi
    case $program in gst-*) program=$where/bin/$program ;; esac
    # The driver comes last, because its directory may have another version of a library.
    path=$where/lib${driver_directory:+:$driver_directory}${stub:+:$stub}
    if [ -e "$scratch/own-libc-$name" ]; then
        with=("$where/libc/ld-linux-x86-64.so.2" --library-path "$where/libc:$path")
    fi
    settings+=("LD_LIBRARY_PATH=$path" "GST_PLUGIN_PATH=$where/plugins:$plugins")
    settings+=(GST_PLUGIN_SYSTEM_PATH_1_0=/nonexistent GST_REGISTRY_FORK=no)
    command=(env "${settings[@]}" "${with[@]}" "$program" "$@")
}

# Runs a pipeline, given as words, to its end.
launch() {
    local where=$1 limit=$2 log=$3
    shift 3
    # shellcheck disable=SC2048,SC2086 # words
    with_gstreamer "$where" gst-launch-1.0 -q $*
    limited "$limit" "$log" "${command[@]}"
}

has_element() {
    with_gstreamer "$1" gst-inspect-1.0 --exists "$2"
    "${command[@]}" >/dev/null 2>&1
}

# The first error in the output of a pipeline.
error_in() {
    local line
    # What an element says of itself is more than what its source says.
    line=$(grep -m 1 -E '(ERROR|WARNING).*xmems|could not link' "$out/$1" || grep -m 1 ERROR "$out/$1" ||
        tail -n 1 "$out/$1")
    say "${line//$'\t'/ } $(grep -m 1 -A 2 '^Additional debug info' "$out/$1" | tail -n 1)"
}

# Waits for a file, at most 15 seconds.
file_comes() {
    local round
    for ((round = 0; round < 150; round++)); do
        [ ! -e "$1" ] || return 0
        sleep 0.1
    done
    return 1
}

cuda='video/x-raw(memory:CUDAMemory)'

# Whether a GStreamer runs here at all; notes whether it needs the libc of the bundle.
starts() {
    local where=$1 name=$2
    rm -f "$scratch/own-libc-$name"
    with_gstreamer "$where" gst-inspect-1.0 --version
    limited 60 "gstreamer-$name.txt" "${command[@]}" && return
    [ "$where" != installed ] && [ -d "$where/libc" ] || return
    : >"$scratch/own-libc-$name"
    with_gstreamer "$where" gst-inspect-1.0 --version
    limited 60 "gstreamer-$name.txt" "${command[@]}"
}

# What is sent and what is received must be the same bytes.
exact() {
    local where=$1 name=$2 raw=$3 between=$4 row=$5 log=exact-$2.txt
    launch "$where" 60 "$log" videotestsrc num-buffers=20 ! "$raw" ! \
        filesink "location=$scratch/uncut" || { skip "$row" "$(error_in "$log")" && return 1; }
    rm -f "$scratch/cut"
    if [ "$between" = xmem ]; then
        with_gstreamer "$where" gst-launch-1.0 -q xmemsrc channel=exact ! "$cuda" ! cudadownload ! videoconvert ! \
            "$raw" ! filesink "location=$scratch/cut"
        limited 60 "exact-client-$name.txt" "${command[@]}" &
        local client=$!
        between='xmemsink channel=exact wait-for-connection=true overflow=block'
        launch "$where" 60 "$log" videotestsrc num-buffers=20 ! "$raw" ! cudaupload ! "$cuda" ! "$between"
        wait $client || { row "$row" "FAILED: $(error_in "exact-client-$name.txt")" && return 1; }
    else
        launch "$where" 60 "$log" videotestsrc num-buffers=20 ! "$raw" ! "$between" ! videoconvert ! "$raw" ! \
            filesink "location=$scratch/cut" || { row "$row" "FAILED: $(error_in "$log")" && return 1; }
    fi
    if cmp -s "$scratch/uncut" "$scratch/cut"; then
        row "$row" "20 frames, all bytes the same"
    else
        row "$row" "FAILED: the bytes differ ($(wc -c <"$scratch/uncut"), $(wc -c <"$scratch/cut" 2>/dev/null))"
    fi
}

# Measures one way from a process to another: its name, the socket, the pads and the ends of the two pipelines, and how
# many more clients there are, one stopped and one killed.
measure() {
    local where=$1 name=$2 source=$3 way=$4 socket=$5 sent=$6 sink=$7 received=$8 client=$9 others=${10:-}
    local time=6 stamps=$programs/xmem-test-stamps log pids=() pid producer status
    local row="GStreamer $name, $way" verdict=SKIP
    # What fails of others is no failure of xmem.
    case $way in xmem*) verdict=FAILED: ;; esac
    [ "$short" = no ] || time=3
    left 20 >/dev/null || { skip "$row" "$(why 125)" && return; }
    log=$(tr -c 'a-z0-9\n' - <<<"stamps-$name-$way" | tr -s -)
    rm -f "$scratch/sent" "$scratch/received" "$socket"
    # shellcheck disable=SC2086 # words
    with_gstreamer "$where" "$stamps" run "$scratch/sent" $((time + 6)) "$sent" $source ! $sink
    timeout -k 5 $((time + 20)) "${command[@]}" >"$out/$log-producer.txt" 2>&1 </dev/null &
    producer=$!
    if ! file_comes "$socket"; then
        kill $producer 2>/dev/null
        wait $producer
        row "$row" "$verdict the producer: $(tail -n 1 "$out/$log-producer.txt" | tr '\t' ' ')"
        return
    fi
    for ((; ${#pids[@]} < ${#others}; )); do
        # shellcheck disable=SC2086 # words
        with_gstreamer "$where" "$stamps" run "$scratch/other" 30 "$received" $client
        "${command[@]}" >/dev/null 2>&1 </dev/null &
        pids+=($!)
    done
    if [ ${#pids[@]} -gt 0 ]; then
        # They have to be connected, which nothing tells here.
        sleep 2
        kill -STOP "${pids[0]}"
        kill -KILL "${pids[1]}"
        # Otherwise the shell tells of it.
        wait "${pids[1]}" 2>/dev/null
    fi
    # shellcheck disable=SC2086 # words
    with_gstreamer "$where" "$stamps" run "$scratch/received" "$time" "$received" $client
    limited $((time + 20)) "$log-client.txt" "${command[@]}"
    status=$?
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    wait $producer
    if [ $status != 0 ]; then
        row "$row" "$verdict the client: $(why $status "$log-client.txt")"
    else
        with_gstreamer "$where" "$stamps" compare "$scratch/sent" "$scratch/received"
        row "$row" "$("${command[@]}" 2>&1)"
    fi
}

gstreamer_with() {
    local where=$1 name size='width=1920,height=1080' raw source refusal mode
    name=$(basename "$where")
    if ! starts "$where" "$name"; then
        skip "GStreamer $name" "it does not start: $(tail -n 1 "$out/gstreamer-$name.txt")"
        return
    fi
    row "GStreamer $name" "$(sed -n 's/^GStreamer //p' "$out/gstreamer-$name.txt")$(
        [ ! -e "$scratch/own-libc-$name" ] || echo ', with the libc of the bundle'
    )"
    if ! has_element "$where" cudaupload; then
        skip "GStreamer $name" "its plugin nvcodec registers no cudaupload: it found no driver, or no libnvcuvid"
        return
    fi
    [ "$driver" = machine ] || size='width=320,height=240'
    raw="video/x-raw,format=NV12,$size,framerate=60/1"
    exact "$where" "$name" "$raw" "cudaupload ! $cuda ! cudadownload" "GStreamer $name, cudaupload to cudadownload"

    local up="cudaupload ! $cuda"
    # gst-launch-1.0 does not always end after an error before PLAYING, so this one gets less time.
    if launch "$where" 15 "xmem-$name.txt" videotestsrc num-buffers=5 ! "$raw" ! "$up" ! xmemsink channel=probe; then
        refusal=''
        exact "$where" "$name" "$raw" xmem "GStreamer $name, cudaupload to xmemsink, xmemsrc to cudadownload"
    else
        refusal="xmemsink does not take $cuda: $(error_in "xmem-$name.txt")"
        skip "GStreamer $name, xmem" "$refusal"
    fi
    [ "$short" = no ] || return

    source="videotestsrc is-live=true ! $raw ! $up"
    local decode="filesrc location=$clips/1080p.mp4 ! qtdemux ! h264parse ! nvh264dec ! $cuda"
    if ! has_element "$where" nvh264dec; then
        skip "GStreamer $name, nvh264dec" "there is no such element: videotestsrc and cudaupload are the source"
    elif [ ! -e "$clips/1080p.mp4" ]; then
        skip "GStreamer $name, nvh264dec" "there is no clip in $clips"
    elif launch "$where" 60 "decode-$name.txt" "$decode" ! fakesink; then
        row "GStreamer $name, nvh264dec" "decodes the clip into CUDA memory; it is the source of the next rows"
        source=$decode
    else
        skip "GStreamer $name, nvh264dec" "$(error_in "decode-$name.txt")"
    fi
    local end='fakesink sync=false' ipc=$scratch/ipc.sock
    if [ -z "$refusal" ]; then
        if [ "$source" = "$decode" ] && [ -e "$clips/4k.mp4" ]; then
            measure "$where" "$name" "${decode/1080p/4k}" 'xmem, 4K' "$scratch/measured.sock" sink:sink \
                'xmemsink name=sink channel=measured sync=true' src:src \
                "xmemsrc name=src channel=measured ! $cuda ! $end"
        fi
        measure "$where" "$name" "$source" xmem "$scratch/measured.sock" sink:sink \
            'xmemsink name=sink channel=measured sync=true' src:src "xmemsrc name=src channel=measured ! $cuda ! $end"
        measure "$where" "$name" "$source" 'xmem, beside a client that is stopped and one that is killed' \
            "$scratch/measured.sock" sink:sink 'xmemsink name=sink channel=measured sync=true' src:src \
            "xmemsrc name=src channel=measured ! $cuda ! $end" xx
    fi
    if has_element "$where" cudaipcsink; then
        for mode in 'legacy copy' 'legacy import' 'mmap copy'; do
            measure "$where" "$name" "$source" "cudaipc ${mode% *}, ${mode#* }" "$ipc" sink:sink \
                "cudaipcsink name=sink address=$ipc ipc-mode=${mode% *} sync=true" src:src \
                "cudaipcsrc name=src address=$ipc io-mode=${mode#* } ! $end"
        done
    else
        skip "GStreamer $name, cudaipc" "there is no cudaipcsink"
    fi
    if has_element "$where" shmsink; then
        measure "$where" "$name" "$source" 'shm with cudadownload and cudaupload' "$scratch/shm.sock" down:sink \
            "cudadownload name=down ! shmsink socket-path=$scratch/shm.sock shm-size=134217728 sync=true" up:src \
            "shmsrc socket-path=$scratch/shm.sock is-live=true ! $raw ! cudaupload name=up ! $cuda ! $end"
    fi
}

stub=''
gstreamer() {
    local where found=no
    # nvcodec registers nothing without libnvcuvid or libnvidia-encode; with a stub it registers all but codecs.
    if [ "$driver" = machine ] && [ -d "$gstreamers/stub" ] && ! [ -e "$driver_directory/libnvcuvid.so.1" ] &&
        ! [ -e "$driver_directory/libnvidia-encode.so.1" ]; then
        stub=$gstreamers/stub
        skip "NVDEC and NVENC" "the driver here has neither library"
    fi
    for where in "$gstreamers"/1.*; do
        [ -x "$where/bin/gst-launch-1.0" ] || continue
        found=yes
        gstreamer_with "$where"
    done
    [ $found = no ] || return
    if command -v gst-launch-1.0 >/dev/null; then
        gstreamer_with installed
    else
        skip GStreamer "there is none: it is in the bundle"
    fi
}

# --- Phase 6: torch --------------------------------------------------------------------------------------------------

torch() {
    local python script=$here/gpu-check-torch.py status
    for python in python3 /usr/bin/python3 /usr/local/bin/python3; do
        "$python" -c 'import torch' >/dev/null 2>&1 || continue
        limited 60 torch.txt "$python" "$script"
        status=$?
        rows_of_lines <"$out/torch.txt"
        [ $status = 0 ] || skip torch.multiprocessing "$(why $status torch.txt)"
        return
    done
    skip torch.multiprocessing "no Python here has torch"
}

# ---------------------------------------------------------------------------------------------------------------------

for phase in ${phases//,/ }; do
    case $phase in facts | questions | tests | figures | gstreamer | torch) ;; *) fail "no such phase: $phase" ;; esac
    say
    say "== $phase"
    if ! left 10 >/dev/null; then
        skip "$phase" "the time is up: run it alone with --only $phase"
        continue
    fi
    if [ "$short" = yes ]; then
        case $phase in figures | torch) skip "$phase" "--short" && continue ;; esac
    fi
    case $phase in questions) ask_questions ;; *) "$phase" ;; esac
done

{
    if [ "$driver" = machine ] && [ -s "$out/figures.txt" ]; then
        say '```text'
        cat "$out/figures.txt"
        say '```'
        say
    fi
    print_table
} >"$out/table.md"
say
say "== the table, also in $out/table.md (after $SECONDS seconds)"
say
cat "$out/table.md"
! grep -q -P '^FAILED|\tFAILED' "$rows"
