# Runs a script that nobody signed until the gate tells of it: from then on it judges. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-scripts/policy.sh
gate_judges() {
    echo 'echo ran' > /tmp/canary.sh
    for i in $(seq 300); do
        test "$(bash /tmp/canary.sh)" = ran
        grep -q '"action":"script-alert"' /var/log/hardpan/events.json && return 0
        sleep 0.1
    done
    echo 'the gate tells nothing' >&2
    return 1
}
