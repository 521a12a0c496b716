# The real dnf with a repository that it downloads from. shellcheck shell=sh
dnf_there() {
    # What other scenarios installed and removed counts as retired until reboot.
    rm -f /var/lib/hardpan/trust.index
    if ! test -e /usr/bin/dnf; then
        # More than half of the machine's memory: the packages, and what is in them.
        mount -o remount,size=80% /
        /usr/bin/rpm --define '_db_backend sqlite' --dbpath /var/lib/rpm -i --nodeps --nodocs --nodigest --nosignature /hardpan-vm/dnf/*.rpm
        rm -f /hardpan-vm/dnf/*.rpm
    fi
    mkdir -p /etc/dnf /etc/rpm /etc/yum.repos.d
    printf '%%_dbpath /var/lib/rpm\n%%_db_backend sqlite\n' > /etc/rpm/macros
    # As EL has it: signatures are checked, and what was installed is not kept.
    printf '[main]\ngpgcheck=1\nbest=1\nskip_if_unavailable=0\nplugins=0\n' > /etc/dnf/dnf.conf
    printf '[hp]\nname=hp\nbaseurl=http://127.0.0.1:8000/\n' > /etc/yum.repos.d/hp.repo
    busybox ip link set lo up
    busybox httpd -f -p 127.0.0.1:8000 -h /hardpan-vm/bulk &
    echo $! > /run/httpd.pid
}
dnf_gone() {
    kill "$(cat /run/httpd.pid)"
    rm -rf /run/httpd.pid /etc/yum.repos.d /etc/dnf /etc/rpm/macros /var/cache/dnf
}
# As root types it.
dnf="/usr/bin/dnf --releasever=9 -y -q"
# To take the digest of Python takes an emulated machine that shares a processor a second and more.
slow_machine() {
    sed -i 's/^fallback_timeout_ms = .*/fallback_timeout_ms = 10000/' /etc/hardpan/policies/50-gate.toml
}
