# What the three hosts have in common; sourced by their scenarios.
events=/var/log/hardpan/events.json
# Waits until so many records have been written that fit.
told() { for i in $(seq 600); do [ $(grep -c "$2" $events) -ge $1 ] && return 0; sleep 0.2; done; echo "not told: $2"; return 1; }
# What the host's init does before any service starts.
sysctl_at_boot() { busybox sysctl -p /etc/sysctl.d/99-zz-hardpan.conf; }
# What this host vouches for is trusted, its policy is the signed one with serial 7, its hardening holds.
is_sound() {
    hp-hello
    hardpan trust whence /usr/bin/hp-hello
    hardpan policy show --resolved > /tmp/policy
    grep 'swappiness.*= 10 ' /tmp/policy
    not hardpan policy verify /etc/hardpan/older.hpm > /tmp/older 2>&1
    grep -i serial /tmp/older
    test "$(cat /proc/sys/kernel/kptr_restrict)" = 2
    test -z "$(hardpan harden drift)"
}
# State and configuration go on to the next release, as on a disk.
hand_out() { tar -C / -cf - var/lib/hardpan etc/hardpan etc/sysctl.d etc/modprobe.d | gzip > /run/hardpan-vm/kept.tar.gz; }
