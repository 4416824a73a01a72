#!/bin/bash
# xmem at work, in about 20 seconds: one decoder, five clients, each a process of its own.
#
#     make demo
#     examples/demo.sh PROGRAM OUTPUT      # the built program "demo", and the directory for the files that remain
#
# A producer decodes an H.264 clip into shared memory, and the clients read the pictures there. Meanwhile a client is
# killed, another one is stopped, and the producer is killed and comes back. Each process writes a line for each frame
# into NAME.frames (see src/bin/demo.rs); at the end the script compares them. The exit code is 0 if all claims hold.
set -euo pipefail

program=$(realpath "$1")
output=$(realpath -m "$2")
shown=${output#"$PWD"/}
GST_PLUGIN_PATH=$(dirname "$program")${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
export GST_PLUGIN_PATH
"$program" elements
directory=$(mktemp -d -t xmem-demo.XXXXXX)
cd "$directory"
export XMEM_RUNTIME_DIR=$directory/runtime
declare -A processes # by name, while they run
names=()
if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then
    erase=$'\r\e[K' newline='' period=1 width=62
else
    erase='' newline=$'\n' period=20 width=200
fi
if [ -n "$erase" ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' green=$'\e[32m' red=$'\e[1;31m' plain=$'\e[0m'
else
    bold='' green='' red='' plain=''
fi

finish() {
    local status=$?
    trap '' EXIT INT TERM HUP
    {
        kill -KILL "${processes[@]}" || true
        wait
    } 2>/dev/null
    if [ $status -eq 0 ] || [ $status -eq 130 ]; then
        cd / && rm -rf "$directory"
    else
        printf '%sThe demo has failed.%s The logs are in %s\n' "$red" "$plain" "$directory" >&2
    fi
}
trap finish EXIT
trap 'printf "%s" "$erase"; exit 130' INT TERM HUP

say() { # NAME TEXT
    printf '%s%3d s  %s%-9s%s %s\n' "$erase" $SECONDS "$bold" "$1" "$plain" "$2"
}

fail() { # TEXT
    printf '%s%sFAILED%s %s\n' "$erase" "$red" "$plain" "$1" >&2
    exit 1
}

start() { # NAME TEXT ARGUMENT...
    : >"$1.frames"
    "$program" "${@:3}" >"$1.frames" 2>"$1.log" </dev/null &
    processes[$1]=$!
    names+=("$1")
    say "$1" "$2 (process $!)"
}

signal() { # NAME SIGNAL TEXT
    has_ended "$1" && fail "the $1 has ended too early"
    kill "-$2" "${processes[$1]}"
    if [ "$2" = KILL ]; then
        wait "${processes[$1]}" 2>/dev/null || true
        unset "processes[$1]"
    fi
    say "$1" "$3"
}

frames() { # NAME
    wc -l <"$1.frames"
}

has_frames() { # NAME COUNT
    [ "$(frames "$1")" -ge "$2" ] 2>/dev/null # Ctrl-C ends wc, too
}

has_ended() { # NAME
    [ -z "${processes[$1]:-}" ]
}

# Waits for frames or for an end, not for a time: a slow machine shows the same.
until_true() { # COMMAND...
    local ticks=0 progress name
    until "$@"; do
        sleep 0.1
        ticks=$((ticks + 1))
        [ $ticks -lt 1200 ] || fail "waited 120 s for: $*"
        progress=''
        for name in "${names[@]}"; do
            if ! has_ended "$name"; then
                progress="$progress${progress:+, }$name $(frames "$name")"
                kill -0 "${processes[$name]}" 2>/dev/null || take_end "$name"
            fi
        done
        if [ $((ticks % period)) -eq 0 ]; then
            printf '%s%3d s  frames:   %.*s%s' "$erase" $SECONDS $width "$progress" "$newline"
        fi
    done
}

take_end() { # NAME
    wait "${processes[$1]}" 2>/dev/null || fail "the $1 has ended with status $?: $(tail -n 1 "$1.log")"
    unset "processes[$1]"
}

# Compares the frames of a client with those that were published, and prints a row of the table. The columns of both:
# 1 producer, 2 position, 3 time of arrival, 4 time when read, 5 hash, 6 bytes, 7 access, 8 place.
compare() { # CLIENT
    awk -v client="$1" '
        FILENAME != client ".frames" {
            bytes[$1, $2] = $5 " " $6
            place[$1, $2] = $7 " " $8
            read[$1, $2] = $4
            # The killed producer may have printed a frame that it has not published.
            published[$1] = $1 == "producer" ? $2 : $2 + 1
            next
        }
        {
            if ($5 " " $6 != bytes[$1, $2]) print "bytes", client, $1, $2
            if ($7 != "r--s" || "rw-s " $8 != place[$1, $2]) print "copied", client, $1, $2
            # The viewer was there before the producer.
            first = client $1 == "viewerproducer" ? 0 : $2
            if ($2 != ($1 in end ? end[$1] : first)) print "missed", client, $1, "before", $2
            end[$1] = $2 + 1
            printf "latency %.3f\n", ($3 - read[$1, $2]) / 1e6
        }
        END {
            for (producer in published)
                if (client != "guest" && end[producer] < published[producer])
                    print "missed", client, producer, "from", end[producer]
        }' producer.frames phoenix.frames "$1.frames" >"$1.compared"
    sed -n 's/^latency //p' "$1.compared" | sort -n >latencies
    printf '%-9s %7d %16s %8s\n' "$1" "$(frames "$1")" "$(percentile 50)" "$(percentile 99)"
}

percentile() { # PERCENT
    sed -n "$(($(wc -l <latencies) * $1 / 100 + 1))p" latencies
}

# Prints a claim, and the first of the lines that contradict it.
claim() { # CLAIM LINES
    if [ -z "$2" ]; then
        echo "${green}ok    $plain $1"
    else
        echo "${red}FAILED$plain $1; but: ${2%%$'\n'*}"
        failed=1
    fi
}

# Prints a command that fails.
expect() { # COMMAND...
    "$@" || echo "$*"
}

gigabytes() {
    cat {viewer,recorder,guest,inference,snapshot}.frames | awk '{ bytes += $6 } END { printf "%.2f", bytes / 1e9 }'
}

# Prints the demo's processes, its sockets, and mappings of its producers' memory.
left_behind() {
    env -u XMEM_RUNTIME_DIR grep -alsF "XMEM_RUNTIME_DIR=$XMEM_RUNTIME_DIR" /proc/[0-9]*/environ
    ls "$XMEM_RUNTIME_DIR"
    grep -hsw "$(cut -d ' ' -f 8 producer.frames phoenix.frames | cut -d + -f 1 | sort -u)" /proc/[0-9]*/maps |
        grep /memfd:xmem
}

# --- What happens ----------------------------------------------------------------------------------------------------

# A test card that scrolls, with noise in a corner: no two pictures are equal. With B-frames the decoder keeps pictures
# that it has output already.
start encoder 'encodes 8 s of H.264, 1280x720 at 60 fps: 480 frames' pipeline encoder "
    videotestsrc num-buffers=480 pattern=smpte horizontal-speed=8
    ! video/x-raw,format=I420,width=1280,height=720,framerate=60/1
    ! x264enc name=encoder speed-preset=ultrafast bframes=2 b-adapt=false ref=3
    ! matroskamux ! filesink location=clip.mkv"
until_true has_ended encoder

# identity waits for the clock, so that xmemsink publishes each buffer at once. With overflow=block the producer waits
# for each client that receives every frame.
producer='filesrc location=clip.mkv ! matroskademux ! avdec_h264 ! identity sync=true
    ! xmemsink channel=demo sync=false wait-for-connection=true overflow=block block-timeout=10000000000'
# A client waits for a producer without a limit, and for the next one when that is killed.
client='xmemsrc channel=demo connection-timeout=18446744073709551615'

start viewer 'starts, and waits for a producer' pipeline viewer "$client name=viewer ! fakesink sync=false"
start producer 'starts: decodes the clip into shared memory' pipeline producer "$producer name=producer"
until_true has_frames viewer 1
start recorder 'starts: encodes what it receives into a file' pipeline recorder "$client name=recorder
    ! videoscale ! video/x-raw,width=640,height=360 ! x264enc speed-preset=ultrafast
    ! matroskamux ! filesink location=recording.mkv"
start inference 'starts: no GStreamer; takes the newest frame, at its own pace' inference
start guest 'starts' pipeline guest "$client name=guest ! fakesink sync=false"

until_true has_frames guest 60
signal guest KILL 'is killed by SIGKILL, with a frame in its hands'
at_kill=$(frames viewer)
start snapshot 'starts: writes one picture, and ends' pipeline snapshot "$client name=snapshot num-buffers=1
    ! videoconvert ! pngenc ! filesink location=frame.png"
for name in snapshot recorder inference; do
    until_true has_frames $name 1
done
until_true has_frames producer 240
after_kill=$(($(frames viewer) - at_kill))
signal producer KILL 'is killed by SIGKILL; its clients wait for the next one'
start phoenix 'starts: the producer is back' pipeline phoenix "$producer name=phoenix"

until_true has_frames phoenix 120
signal inference STOP 'is stopped by SIGSTOP; the others go on'
at_stop=$(frames viewer)
until_true has_frames viewer $((at_stop + 120))
while_stopped=$(($(frames viewer) - at_stop))
signal inference CONT 'goes on'
for name in snapshot phoenix viewer recorder inference; do
    until_true has_ended $name
done
start reader 'counts the frames of the recording' pipeline reader "
    filesrc location=recording.mkv ! matroskademux ! fakesink name=reader"
until_true has_ended reader

# --- The verdict -----------------------------------------------------------------------------------------------------

mkdir -p "$output"
cp frame.png recording.mkv "$output"
printf '\n           frames   latency p50 ms   p99 ms   (from xmemsink to the client)\n'
for name in producer phoenix; do
    printf '%-9s %7d\n' $name "$(frames $name)"
done
for name in viewer recorder guest inference snapshot; do
    compare $name
done
echo
failed=0
claim "bytes: all equal, in $(gigabytes) GB that the clients received" "$(grep -h ^bytes ./*.compared)"
claim 'copied: none; clients read, read-only, the memory that the decoder wrote' "$(grep -h ^copied ./*.compared)"
claim 'missed: none, by viewer, recorder and guest' "$(grep -hE '^missed (viewer|recorder|guest)' ./*.compared)"
claim "killed: the guest, after $(frames guest) frames; the viewer received $after_kill more of the same producer" \
    "$(expect [ "$after_kill" -gt 0 ])"
claim "stopped: the inference, while the viewer received $while_stopped frames" "$(expect [ "$while_stopped" -ge 120 ])"
claim "phoenix: the producer was killed after $(frames producer) frames; its clients received from the next one" \
    "$(expect grep -q ^phoenix inference.frames)"
claim "recording: $(frames reader) frames of both producers are in $shown/recording.mkv" \
    "$(expect [ "$(frames reader)" -eq "$(frames recorder)" ])"
claim "picture: frame $(cut -d ' ' -f 2 snapshot.frames) is in $shown/frame.png" \
    "$(expect [ "$(head -c 8 frame.png | od -An -tx1)" = ' 89 50 4e 47 0d 0a 1a 0a' ])"
claim 'left behind: no process, no socket, no memory' "$(left_behind)"
echo
[ $failed -eq 0 ] || exit 1
echo "All of it holds. The demo took $SECONDS s."
