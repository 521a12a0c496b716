# The gate's policy, under which alice may run what she builds, as long as it has a name.
# shellcheck shell=sh
. /hardpan-vm/scenarios/gate-enforce/policy.sh
fileless_policy() {
    gate_policy
    cat >> /etc/hardpan/policies/50-gate.toml <<'POLICY'
[[rules.prepend]]
name = "alice-builds"
on = ["exec", "library"]
action = "allow"
subject.uid = [1001]
object.class = ["untrusted"]
POLICY
}
# A disk, and memory: what has no name is not the same on both.
places() {
    /usr/sbin/modprobe brd rd_nr=1 rd_size=32768
    for i in $(seq 50); do test -b /dev/ram0 && break; sleep 0.1; done
    mkdir -p /tmp/disk /dev/shm
    mke2fs -q /dev/ram0 > /dev/null
    mount -t ext4 /dev/ram0 /tmp/disk
    mount -t tmpfs none /dev/shm
    chmod 1777 /tmp/disk /dev/shm
}
leave() {
    umount /dev/shm 2> /dev/null || true
    for i in $(seq 100); do
        grep -q ' /tmp/disk ' /proc/mounts || break
        umount /tmp/disk 2> /dev/null || sleep 0.1
    done
    /usr/sbin/rmmod brd 2> /dev/null || true
}
