# fapolicyd where Hardpan enforces. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-fallback/policy.sh
. /hardpan-vm/scenarios/gate-beside/peers.sh
# The policy of gate-enforce, which lets fapolicyd itself run: Debian's packages are not signed as EL's are.
beside_policy() {
    # Tier B needs it; tier A does not look at it.
    fallback_policy closed
    digests=$(peer_files | xargs sha256sum | sed 's/ .*//;s/.*/"&"/' | tr '\n' ',')
    printf '[[rules.prepend]]\nname = "fapolicyd"\non = ["exec", "library"]\naction = "allow"\nobject.digest = [%s]\n' "$digests" \
        >> /etc/hardpan/policies/50-gate.toml
}
# fapolicyd_lists FILE: from now on fapolicyd lets it run.
fapolicyd_lists() {
    echo "$1 $(stat -c %s "$1") $(sha256sum "$1" | cut -d' ' -f1)" >> /etc/fapolicyd/fapolicyd.trust
    echo 1 > /run/fapolicyd/fapolicyd.fifo
    sleep 2
}
