# The policy of gate-enforce, with digests taken by user space: `fallback_policy open|closed`.
# shellcheck shell=sh
. /hardpan-vm/scenarios/gate-enforce/policy.sh
fallback_policy() {
    gate_policy
    sed -i "s/^boot_grace_s = 0/&\nfallback = \"fanotify\"\nfallback_timeout_ms = 2000\non_doubt = \"$1\"/" /etc/hardpan/policies/50-gate.toml
}
# Process id of the responder, of the watchdog: `process_of --gate-responder`.
process_of() {
    for dir in /proc/[0-9]*; do
        tr '\0' '\n' 2>/dev/null < "$dir/cmdline" | grep -qx -- "$1" && echo "${dir#/proc/}" && return 0
    done
    return 1
}
# How many records say so: `count TEXT`.
count() { grep -c -- "$1" /var/log/hardpan/events.json || true; }
# Waits until so many records say so: `told COUNT TEXT`.
told() {
    for i in $(seq 2000); do
        test "$(count "$2")" -ge "$1" && return 0
        sleep 0.1
    done
    echo "not told $1 times: $2" >&2
    return 1
}
# Whether a process holds a fanotify group.
holds_group() {
    ls -l "/proc/$1/fd" | grep -q 'inode:.*fanotify'
}
# Notes a file's inode: records of old kernels have no paths. `inode_of NAME FILE`.
inode_of() {
    echo "$1=$(stat -c %i "$2")" >> "$HP_FACTS"
}
# Process id of the daemon itself, whose program the two others run.
daemon_pid() {
    sed -n 's/^PPid:[[:space:]]*//p' "/proc/$(process_of --gate-watchdog)/status"
}
