# Another root. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-enforce/policy.sh
rpm="/usr/bin/rpm --define '_db_backend sqlite' --nodeps"
# A root of its own that scriptlets can run in.
own_root() {
    mkdir -p $1/usr/bin $1/tmp $1/dev
    ln -s usr/bin $1/bin
    cp /usr/bin/busybox $1/usr/bin/sh
    : > $1/dev/null
}
