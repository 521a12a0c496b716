# What is trusted, and goes. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-enforce/policy.sh
rpm="/usr/bin/rpm --dbpath /var/lib/rpm --define '_db_backend sqlite' --nodeps"
records=/var/log/hardpan/events.json
count() { grep -c "$1" $records || true; }
readings() { count '"action":"trust-loaded"'; }
# read_again BEFORE: until the daemon has read once more than that.
read_again() {
    for i in $(seq 600); do
        test "$(readings)" -gt "$1" && return 0
        sleep 0.1
    done
    echo "no reading after $1" >&2
    return 1
}
# held BEFORE: until one more loss is held.
held() {
    for i in $(seq 600); do
        test "$(count '"code":"trust-loss-held"')" -gt "$1" && return 0
        sleep 0.1
    done
    echo "no loss is held" >&2
    return 1
}
# soon COMMAND: tries until it succeeds.
soon() {
    for i in $(seq 300); do
        "$@" > /dev/null 2>&1 && return 0
        sleep 0.2
    done
    "$@"
}
# programs NAME…: each with a content of its own, which no package has.
programs() {
    mkdir -p /tmp/t
    for name in "$@"; do
        { cat $HP_STUFF/dropped; echo $name; } > /tmp/t/$name
        chmod 755 /tmp/t/$name
    done
}
