# Nothing unsigned runs; in containers as it is said. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-enforce/policy.sh
# container_policy allow|deny
container_policy() {
    # The file that is in force is protected: another one takes its place.
    rm -f /etc/hardpan/policies/50-gate.toml
    gate_policy
    sed -i "s/^fileless = \"deny\"/fileless = \"deny\"\ncontainer = \"$1\"/" /etc/hardpan/policies/50-gate.toml
    mkdir -p /tmp/g
    chmod 755 /tmp/g
    cp $HP_STUFF/dropped /tmp/g/dropped
    cp $HP_STUFF/dropped /tmp/g/probe
    printf '#!/bin/sh\nhp-hello from-a-script\n' > /tmp/g/script
    chmod 755 /tmp/g/script
}
# in_force: the daemon takes what the folder says now. What is tried meanwhile is a file of its own.
in_force() {
    kill -HUP "$(pidof hardpand | tr ' ' '\n' | tail -n 1)"
    for i in $(seq 300); do
        unshare -p -f /tmp/g/probe 2> /dev/null && return 0
        sleep 0.2
    done
    return 1
}
# What is signed runs wherever it does.
signed_runs() {
    unshare -p -f hp-hello in-a-container
    unshare -p -f hp-script
    unshare -p -f su alice -c hp-hello
    su alice -c 'unshare -U -r -p -f hp-hello'
}
