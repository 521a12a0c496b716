# Refuses what differs from its package, and lets run what no package has.
# shellcheck shell=sh
. /hardpan-vm/scenarios/gate-enforce/policy.sh
mismatch_policy() {
    mkdir -p /etc/hardpan/policies
    {
        printf 'schema = 1\n[gate]\nmode = "enforce"\nboot_grace_s = 0\n'
        for kind in exec library script; do
            printf '[default.%s]\nuntrusted = "alert"\nmismatch = "deny"\nfileless = "alert"\n' $kind
        done
    } > /etc/hardpan/policies/50-gate.toml
}
