# Writes the policy: protected files and devices in use are not written to, and one device is let alone.
# shellcheck shell=sh
writes_policy() {
    # At tier A nothing unsigned runs, either.
    gate_policy
    cat > /etc/hardpan/policies/60-writes.toml <<'POLICY'
schema = 1
[protect]
paths = { append = ["/srv/hp/**"] }
[default.file-write]
protected = "deny"
block-device = "deny"
[[rules.prepend]]
name = "alice-may"
on = ["file-write"]
action = "allow"
subject.uid = [1001]
object.class = ["protected"]
[[rules.prepend]]
name = "alice-removes-nothing"
on = ["file-write"]
action = "deny"
needs_tier = "B"
below = "alert"
subject.uid = [1001]
object.class = ["replaced"]
[[rules.prepend]]
name = "packaged-stays"
on = ["file-write"]
action = "deny"
needs_tier = "B"
below = "alert"
object.class = ["packaged"]
POLICY
}
# Files that are protected, and block devices: 1:0 and 1:1.
writes_files() {
    mkdir -p /srv/hp/alice /srv/free /mnt/a /mnt/b
    echo secret > /srv/hp/secret
    echo mine > /srv/hp/alice/mine
    chown -R 1001:1001 /srv/hp/alice
    echo free > /srv/free/file
    test -b /dev/ram0 || /usr/sbin/modprobe brd rd_nr=2 rd_size=4096
    for i in $(seq 50); do test -b /dev/ram1 && break; sleep 0.1; done
}
# Waits until the list in the kernel is the one of now.
soon_refused() {
    for i in $(seq 100); do
        "$@" 2> /tmp/refused.txt || break
        sleep 0.1
    done
    grep -qi 'not permitted' /tmp/refused.txt || { echo "not refused: $*" >&2; cat /tmp/refused.txt >&2; return 1; }
}
# `gate_policy`, `refused`; `objects_enforced`
. /hardpan-vm/scenarios/gate-objects/policy.sh
# Whoever has just hashed a file there is done in a moment.
unmount() {
    for i in $(seq 100); do
        umount "$1" 2> /dev/null && return 0
        sleep 0.1
    done
    umount "$1"
}
