# What gate-mapped has; `layers`, `merge`, `leave`.
# shellcheck shell=sh
. /hardpan-vm/scenarios/gate-mapped/lib.sh
# Layers: what is below is in memory.
layers() {
    /usr/sbin/modprobe overlay
    mkdir -p /tmp/o
    mount -t tmpfs none /tmp/o
    mkdir -p /tmp/o/upper /tmp/o/lower /tmp/o/work /tmp/o/merged /tmp/o/twice
}
merge() {
    mount -t overlay overlay -o lowerdir=/tmp/o/lower,upperdir=/tmp/o/upper,workdir=/tmp/o/work /tmp/o/merged
}
leave() {
    for dir in /tmp/o/twice /tmp/o/merged /tmp/f /tmp/o; do
        umount $dir 2> /dev/null || true
    done
    rm -rf /tmp/g /tmp/f /tmp/o
}
