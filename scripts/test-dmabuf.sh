#!/bin/bash
# Runs tests on a kernel with two features that the kernel of this machine may lack: /dev/udmabuf, which makes dmabufs,
# and vivid, a virtual camera that can film into dmabufs.
#
#     scripts/test-dmabuf.sh TEST...
#
# TEST is a file of tests/tests, without its .rs, or one of its tests, as in pipeline_dmabuf::a_name.
#
# A virtual machine boots Debian's kernel. It sees the files of this system read-only, and runs the test programs that
# were built here as root. Everything that it writes is discarded when it ends. The kernel is kept in target/dmabuf;
# remove that directory to get a newer kernel. See scripts/debian-root.sh for what fetching the kernel needs.
set -euo pipefail

fail() {
    printf 'xmem: %s\n' "$*" >&2
    exit 1
}

# The oldest Debian release whose kernel has CONFIG_UDMABUF.
suite=trixie

# Runs in a plain Debian, which is discarded afterwards. Writes its kernel to /out, and an initramfs with the modules
# and /init.
get_kernel() {
    apt_install linux-image-amd64 busybox-static cpio kmod xz-utils
    local root=/tmp/root version module
    version=$(basename /lib/modules/*)
    mkdir -p $root/bin $root/modules
    cp /bin/busybox $root/bin
    for module in virtio_pci 9pnet_virtio 9p overlay vivid; do
        modprobe --set-version "$version" --show-depends "$module" | while read -r insmod file _; do
            [ "$insmod" = insmod ] || continue # built into the kernel
            module=$(basename "$file" .xz)
            ! grep -qx "$module" $root/modules/order 2>/dev/null || continue
            case $file in
            *.xz) xz -dc "$file" >"$root/modules/$module" ;;
            *) cp "$file" "$root/modules/$module" ;;
            esac
            echo "$module" >>$root/modules/order
        done
    done
    cat >$root/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /sys /files /written /root
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t devtmpfs devices /dev
mount -t sysfs sysfs /sys
# Cameras with each of the two kinds of memory that the kernel has for them, in pages and contiguous, and a camera with
# one memory per plane.
vivid='n_devs=3 node_types=0x1,0x1,0x1 allocators=0,1,0 multiplanar=1,1,2'
while read -r module; do
    insmod "/modules/$module" $([ "$module" != vivid.ko ] || echo "$vivid")
done </modules/order

mount -t tmpfs written /written
mkdir /written/upper /written/work
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose files /files
mount -t overlay overlay -o lowerdir=/files,upperdir=/written/upper,workdir=/written/work /root
for directory in dev proc sys; do
    mount --bind /$directory /root/$directory
done
mkdir -p /dev/pts /dev/shm /root/job
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs tmpfs /root/run
mount -t 9p -o trans=virtio,version=9p2000.L job /root/job
ip link set lo up
chroot /root /bin/bash /job/run </dev/null
poweroff -f
INIT
    chmod +x $root/init
    cp "/boot/vmlinuz-$version" /out/vmlinuz
    (cd $root && find . | cpio -o -H newc --quiet) >/out/initrd
}

# Uses packages that were fetched before; fetches the lists of packages again if they are too old. The kernel package
# makes no initramfs of its own, which would be for booting from a disk.
apt_install() {
    export INITRD=No
    apt-get install -y --no-install-recommends "$@" ||
        { apt-get update && apt-get install -y --no-install-recommends "$@"; }
} >/dev/null

if [ "${1:-}" = --inside ]; then
    get_kernel
    exit
fi

[ $# -gt 0 ] || fail "usage: scripts/test-dmabuf.sh TEST..."
[ "$(uname -m)" = x86_64 ] || fail "the virtual machine runs the programs of this machine, which must be x86_64"
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
place=$target/dmabuf
mkdir -p "$place"
wanted=$(sha256sum <scripts/test-dmabuf.sh)
if [ "$(cat "$place/made-with" 2>/dev/null)" != "$wanted" ]; then
    scripts/debian-root.sh --plain --out "$place" $suite scripts/test-dmabuf.sh --inside
    echo "$wanted" >"$place/made-with"
fi

# The script that the machine runs: the test programs, as cargo test would run them.
rm -rf "$place/job" && mkdir "$place/job"
features=$(scripts/gst-features.sh)
{
    printf 'export HOME=/run TMPDIR=/run PATH=%q GST_PLUGIN_PATH=%q\n' "$PATH" "$target/release"
    printf 'cd %q\n' "$PWD/tests"
    # shellcheck disable=SC2016 # for the shell in the machine
    echo 'echo "Linux $(uname -r), $(gst-inspect-1.0 --gst-version)"'
    # If these are missing, tests are not tried and still pass, so their absence is a failure here.
    echo 'status=0; ls /dev/udmabuf /dev/video0 || status=1'
    for test in "$@"; do
        file=${test%%::*}
        program=$(cargo test ${features:+"--features=$features"} --release -p xmem-tests --test "$file" --no-run 2>&1 |
            tee /dev/stderr | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
        [ -n "$program" ]
        name=()
        [ "$file" = "$test" ] || name=("${test#*::}" --exact)
        printf 'echo "$ %s"\n' "$test"
        printf '%s || status=1\n' "$(printf '%q ' "$(realpath "$program")" "${name[@]}" --nocapture)"
    done
    # shellcheck disable=SC2016 # for the shell in the machine
    echo 'echo $status >/job/status'
} >"$place/job/run"

# Without hardware virtualisation the machine is slower.
accelerator=(-accel tcg -cpu max)
if [ -w /dev/kvm ] && { [ -e /sys/module/kvm_intel ] || [ -e /sys/module/kvm_amd ]; }; then
    accelerator=(-accel kvm -cpu host)
fi
timeout 3600 qemu-system-x86_64 "${accelerator[@]}" -smp 2 -m 3G -nodefaults -display none -no-reboot \
    -serial stdio -kernel "$place/vmlinuz" -initrd "$place/initrd" -append 'console=ttyS0 quiet loglevel=2 panic=-1' \
    -virtfs local,path=/,mount_tag=files,security_model=none,readonly=on,multidevs=remap \
    -virtfs "local,path=$place/job,mount_tag=job,security_model=none" </dev/null
[ "$(cat "$place/job/status" 2>/dev/null)" = 0 ] || fail "not all tests passed: see above"
