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
# explain ID|PATH: as the guest's policy is chosen.
explain() { hardpan explain --el 9 --vendor rocky --hardware x86-64-v2 "$1"; }
# explained first|last CODE ACTION TEXT LINE…: the first or last record of this action that has the text is explained, with this exit
# code and these lines.
explained() {
    which=head
    test "$1" = first || which=tail
    code=$2 action=$3 text=$4
    shift 4
    for i in $(seq 300); do
        record=$(grep "\"action\":\"$action\"" /var/log/hardpan/events.json | grep -F "$text" | $which -n 1)
        test -n "$record" && break
        sleep 0.1
    done
    is_said "$code" "$(printf '%s' "$record" | sed 's/.*"event":{[^}]*"id":"\([^"]*\)".*/\1/')" "$@"
}
# is_said CODE ID|PATH LINE…: what `hardpan explain` says of it.
is_said() {
    code=$1 asked=$2 got=0
    shift 2
    explain "$asked" > /tmp/explained.txt || got=$?
    cat /tmp/explained.txt
    test "$got" -eq "$code"
    for line in "$@"; do
        grep -q -- "$line" /tmp/explained.txt || { echo "not said: $line"; return 1; }
    done
}
# As after a boot: what packages of other scenarios brought and took along is trusted no more. Before a daemon starts.
trust_forgotten() {
    rm -f /var/lib/hardpan/trust.index
}
