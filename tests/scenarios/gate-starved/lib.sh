# A hardpand of its own whose disk and memory can be taken away. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-survives/lib.sh
# Records and state lie on a file system of their own.
small_disk() {
    mkdir -p $own
    mount -t tmpfs -o size=4m tmpfs $own
}
# It forgets soon what it cannot write.
small_queue() {
    sed -i 's/^stdout = false/&\nqueue_records = 64/' $own/hardpand.toml
}
fill() {
    dd if=/dev/zero of=$own/fill bs=4k 2> /dev/null || true
    not sh -c "echo full > $own/more" 2> /dev/null
}
# within COMMAND…: what it starts is in a control group of its own, with all its memory: what a process had before it came
# there is not counted.
within() {
    echo +memory > /sys/fs/cgroup/cgroup.subtree_control
    mkdir -p /sys/fs/cgroup/starved
    # As systemd has it for a service that is killed for want of memory.
    echo 1 > /sys/fs/cgroup/starved/memory.oom.group
    echo 0 > /sys/fs/cgroup/starved/cgroup.procs
    "$@"
    echo $$ > /sys/fs/cgroup/cgroup.procs
}
# The kernel lets it wait for each page that it asks for; to read the package database anew it asks for many.
little_memory() {
    echo 1M > /sys/fs/cgroup/starved/memory.high
    kill -HUP $own_pid
    echo "memory: $(cat /sys/fs/cgroup/starved/memory.current)"
}
# The kernel kills it for want of memory.
no_memory() {
    for i in $(seq 600); do
        grep -q '^high [1-9]' /sys/fs/cgroup/starved/memory.events && break
        sleep 0.1
    done
    echo "waited for memory: $(grep '^high ' /sys/fs/cgroup/starved/memory.events)"
    grep -q '^high [1-9]' /sys/fs/cgroup/starved/memory.events
    echo 1M > /sys/fs/cgroup/starved/memory.max
    for i in $(seq 600); do
        grep -q '^oom_kill [1-9]' /sys/fs/cgroup/starved/memory.events && break
        sleep 0.1
    done
    grep -q '^oom_kill [1-9]' /sys/fs/cgroup/starved/memory.events
    not wait $own_pid
}
# number NAME: of the ledger in the last stop record.
number() {
    grep '"action":"hardpand-stopped"' $own_events | tail -1 | sed 's/.*"ledger"://' | tr '{},' '\n' |
        sed -n "s/^\"$1\":\([0-9]*\)$/\1/p" | head -1
}
refusals() { own_count '"action":"exec-refused"'; }
# The last record adds up; and the numbers that are missing among the records are as many as it says it lost.
balanced() {
    echo "generated $(number generated), recorded $(number recorded), aggregated $(number aggregated), lost $(number lost)"
    test "$(number generated)" = $(($(number recorded) + $(number aggregated) + $(number lost)))
    missing=$(sed -n 's/.*"sequence":\([0-9]*\).*/\1/p' $own_events | sort -n | awk 'last && $1 > last + 1 { n += $1 - last - 1 } { last = $1 } END { print n + 0 }')
    said=$(sed -n 's/.* works again; \([0-9]*\) records were lost.*/\1/p' $own_events | awk '{ n += $1 } END { print n + 0 }')
    echo "$missing numbers are missing, $said are said to be lost"
    grep -o '"message":"output [^"]*' $own_events
    test "$missing" -gt 0
    test "$missing" = "$said"
    test "$(number lost)" -gt 0
    # What it says is recorded is in the file.
    test "$(number recorded)" = $(($(wc -l < $own_events) - $(own_count '"dataset":"hardpan.service"\|"dataset":"hardpan.finding"\|"action":"exec-aggregate"')))
}
# Whatever happened, nothing stays that the next daemon would have to do with.
starved_over() {
    rm -f $own/fill
    for pid in $(cat /sys/fs/cgroup/starved/cgroup.procs 2> /dev/null) $(pidof hardpand); do kill -KILL $pid || true; done
    sleep 1
    # Where none runs, this takes the gate down.
    hardpan policy mode observe --state-dir $own/state --reason 'scenario over' || true
    gate_is_open
    rmdir /sys/fs/cgroup/starved || true
    umount $own
    rm -rf /etc/hardpan/policies $own /tmp/g
}
# Starts it where an operator has said that it shall observe.
own_observes() {
    before=$(own_count '"action":"trust-loaded"')
    unshare -m sh -c "mount --bind $own/state /var/lib/hardpan && exec hardpand --config $own/hardpand.toml" > /tmp/own-out 2>&1 &
    own_pid=$!
    for i in $(seq 300); do
        test $(own_count '"action":"trust-loaded"') -gt $before && return 0
        sleep 0.2
    done
    cat /tmp/own-out >&2
    return 1
}
