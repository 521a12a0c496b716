# The gate's policy, and scripts that nobody signed are refused. What cannot be hashed in time is refused ("closed") or not.
# shellcheck shell=sh
script_policy() {
    . /hardpan-vm/scenarios/gate-enforce/policy.sh
    gate_policy
    sed -i "s/^boot_grace_s = 0/boot_grace_s = 0\non_doubt = \"$1\"/" /etc/hardpan/policies/50-gate.toml
}
