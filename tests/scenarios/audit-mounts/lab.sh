# Makes the lab a small EL 9 host with homes here and elsewhere; sourced by both halves.
LAB=/hardpan-vm/lab
lab() { chroot $LAB /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C "$@"; }
served() { lab python3 /tmp/served.py "$1" "$2" "/tmp/$1.log" < /dev/null > "/tmp/$1.err" 2>&1 &
    for i in $(seq 100); do grep -q ready "$LAB/tmp/$1.log" 2> /dev/null && return 0; sleep 0.2; done
    cat "/tmp/$1.err"; return 1; }
# Ends what `served` started, by name of what it serves: only these have it on their command line.
unserved() { for pid in $(pidof python3); do grep -q "served.py.$1" /proc/$pid/cmdline && kill -9 $pid; done; }
audit() {
    code=0
    lab hardpan audit --profile cis-l2-server "$@" -o json=/tmp/report.json > /tmp/audit.out 2>&1 || code=$?
    # Fine, failures, errors: a report in each case.
    case $code in 0 | 1 | 3) ;; *) cat /tmp/audit.out; return 1 ;; esac
}
# Whether the report's control has this result, with this text in its reason or evidence.
found() { lab python3 /tmp/found.py "$@"; }

# Writes passwd: name:number:home of each.
users() {
    echo root:x:0:0:root:/root:/bin/bash > $LAB/etc/passwd
    for user in "$@"; do
        name=${user%%:*} rest=${user#*:}
        echo "$name:x:${rest%%:*}:${rest%%:*}::${rest#*:}:/bin/bash" >> $LAB/etc/passwd
    done
}

lab_up() {
    mkdir -p $LAB/proc $LAB/sys $LAB/dev
    mount -o bind $LAB $LAB
    for at in proc sys dev; do mount -o bind /$at $LAB/$at; done
    cp /usr/bin/hardpan $LAB/usr/bin/hardpan
    cp served.py found.py $LAB/tmp/
    mkdir -p $LAB/home/alice $LAB/net $LAB/srv/local/carol $LAB/srv/data $LAB/srv/again $LAB/var/lib/containers/storage/overlay/one
    users alice:1001:/home/alice bob:1002:/net/bob carol:1003:/srv/local/carol
    printf 'root:x:0:\nalice:x:1001:\nbob:x:1002:\ncarol:x:1003:\n' > $LAB/etc/group
    cp -P $LAB/etc/os-release /tmp/os-release 2> /dev/null || true
    rm -f $LAB/etc/os-release
    printf 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"\nPRETTY_NAME="Rocky Linux 9.6"\n' > $LAB/etc/os-release
    chown 1003:1003 $LAB/srv/local/carol
    chmod 0750 $LAB/srv/local/carol
}

lab_down() {
    for what in autofs fuse sss; do unserved $what; done
    sleep 1
    for at in net home/alice srv/again srv/data var/lib/containers/storage/overlay/one dev sys proc; do umount -l $LAB/$at 2> /dev/null || true; done
    umount -l $LAB 2> /dev/null || true
    rm -rf $LAB/srv/local $LAB/tmp/*.log $LAB/tmp/report.json $LAB/var/lib/sss $LAB/etc/nsswitch.conf $LAB/etc/os-release
    cp -P /tmp/os-release $LAB/etc/os-release 2> /dev/null || true
}
