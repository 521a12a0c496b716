# A hardpand of its own beside the guest's, which can be killed. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-enforce/policy.sh
own=/tmp/survives
own_events=$own/events.json
# own_policy closed|open
own_policy() {
    gate_policy
    sed -i "s/^boot_grace_s = 0/boot_grace_s = 0\ndaemon_lost = \"$1\"/" /etc/hardpan/policies/50-gate.toml
    mkdir -p $own/state
    cat > $own/hardpand.toml <<CONFIG
mode = "enforce"
[output]
file = "$own_events"
stdout = false
[policy]
el = 9
vendor = "rocky"
hardware = "x86-64-v2"
CONFIG
}
# own_start: waits until its gate enforces.
own_start() {
    # With its quotes: where executions are recorded, those of grep are, too.
    enforces='"message":"the exec gate.s mode is enforce now'
    before=$(own_count "$enforces")
    # With a state folder of its own, which is where everybody's is.
    # Not --foreground: standard output would be a second output, which takes and loses records of its own.
    unshare -m sh -c "mount --bind $own/state /var/lib/hardpan && exec hardpand --config $own/hardpand.toml" > $own/out 2>&1 &
    own_pid=$!
    for i in $(seq 1500); do
        test $(own_count "$enforces") -gt $before && return 0
        sleep 0.2
    done
    cat $own/out >&2
    return 1
}
own_count() { cat $own_events 2> /dev/null | grep -c "$1" || true; }
own_kill() { kill -$1 $own_pid; wait $own_pid || true; }
# busy: executions all the time, of content that the kernel has to read first: a task sleeps in one program at the hook
# while the next one is taken away. idle: no longer.
busy() {
    mkdir -p /tmp/busy
    while test -d /tmp/busy; do
        cp /usr/bin/hp-hello /tmp/busy/hello && /tmp/busy/hello
        sleep 0.1
    done > /dev/null 2>&1 &
    busy_pid=$!
}
# The loop ends first: what it copies just then would keep the folder.
idle() {
    kill $busy_pid
    wait $busy_pid || true
    rm -rf /tmp/busy || { sleep 1; rm -rf /tmp/busy; }
}
# linked: the generations whose gate stays by itself.
linked() { ls -d /sys/fs/bpf/hardpan/g*/links 2> /dev/null | cut -d/ -f6; }
# told N PATTERN: waits until there are so many such records.
told() {
    for i in $(seq 3000); do
        test "$(own_count "$2")" -ge "$1" && return 0
        sleep 0.1
    done
    echo "$(own_count "$2") instead of $1 records with $2" >&2
    return 1
}
# The kernel lets go of a link some moments after its last name is gone: until then the configuration is protected.
gate_is_open() {
    for i in $(seq 100); do
        # In a shell of its own: one that may not redirect a builtin of its own ends.
        sh -c ': >> /etc/hardpan/hardpan.toml' 2> /dev/null && return 0
        sleep 0.1
    done
    return 1
}
