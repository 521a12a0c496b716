# Writes the policy: files are let alone, modules, BPF programs and processes are not.
# shellcheck shell=sh
objects_policy() {
    mkdir -p /etc/hardpan/policies
    cat > /etc/hardpan/policies/50-gate.toml <<'POLICY'
schema = 1
[gate]
mode = "enforce"
boot_grace_s = 0
fallback = "none"
[default.module]
unsigned = "deny"
[default.ptrace]
same-user = "allow"
other-user = "deny"
trusted-daemon = "deny"
[[rules.prepend]]
name = "no-nls"
on = ["module"]
action = "deny"
needs_tier = "B"
below = "alert"
object.name = ["nls-utf8", "dccp"]
[[rules.prepend]]
name = "no-socket-filters-for-users"
on = ["bpf"]
action = "deny"
needs_tier = "B"
below = "alert"
subject.uid = ["1000-59999"]
object.program_type = ["socket_filter"]
[[rules.prepend]]
name = "no-such-program"
on = ["bpf"]
action = "deny"
needs_tier = "B"
below = "alert"
object.name = ["evil"]
POLICY
}
# Waits until it is in force: at tier A the gate says so, below a finding says what is.
objects_enforced() {
    for i in $(seq 3000); do
        grep -q 'mode is enforce now\|BPF programs and ptrace are refused' /var/log/hardpan/events.json && return 0
        sleep 0.1
    done
    grep -E 'gate-mode|enforce' /var/log/hardpan/events.json >&2
    return 1
}
# `refused COMMAND…`
. /hardpan-vm/scenarios/gate-enforce/policy.sh
