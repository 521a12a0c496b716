# Writes the policy under which nothing unsigned runs but the guest's own marker, and makes the daemon's readiness visible.
# shellcheck shell=sh
gate_policy() {
    mkdir -p /etc/hardpan/policies
    marker=$(sha256sum /hardpan-vm/marker | cut -d' ' -f1)
    {
        printf 'schema = 1\n[gate]\nmode = "enforce"\nboot_grace_s = 0\n'
        for kind in exec library script; do
            printf '[default.%s]\nuntrusted = "deny"\nmismatch = "deny"\nfileless = "deny"\n' $kind
        done
        printf '[default.file-write]\nrunning = "deny"\n'
        printf '[[rules.prepend]]\nname = "guest-marker"\non = ["exec", "library"]\naction = "allow"\nobject.digest = ["%s"]\n' "$marker"
    } > /etc/hardpan/policies/50-gate.toml
}
# Waits until the gate refuses.
gate_enforces() {
    for i in $(seq 3000); do
        # The last word on it: an operator may have spoken.
        grep '"reason":"the exec gate.s mode is ' /var/log/hardpan/events.json | tail -1 | grep -q 'mode is enforce now' && return 0
        sleep 0.1
    done
    grep -E 'gate-mode|enforce' /var/log/hardpan/events.json >&2
    return 1
}
# The command must not be let run.
refused() {
    if "$@" 2> /tmp/refused.txt; then
        echo "not refused: $*" >&2
        return 1
    fi
    grep -qi 'not permitted' /tmp/refused.txt || { cat /tmp/refused.txt >&2; return 1; }
}
