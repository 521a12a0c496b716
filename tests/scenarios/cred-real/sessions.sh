# Makes the Debian tree a host with users, and runs things in it; sourced by the halves of cred-real and cred-nfs.
TREE=${TREE:-/hardpan-vm/sessions}

# In a mount namespace whose root is the tree, as switch_root leaves it: user namespaces may be made there, not so in a chroot.
inside() { busybox nsenter -m -t "$(cat /tmp/sessions.pid)" /usr/bin/busybox env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C /bin/sh -c 'exec "$@"' sh "$@"; }

sessions_files() {
    for link in bin sbin lib lib64; do [ -e $TREE/$link ] || ln -s usr/$link $TREE/$link; done
    mkdir -p $TREE/proc $TREE/sys $TREE/dev $TREE/run/sshd $TREE/run/rpcbind $TREE/run/crun $TREE/tmp $TREE/root/.ssh $TREE/home/alice/.ssh $TREE/home/dora \
        $TREE/var/tmp $TREE/var/log $TREE/var/lib/nfs/v4recovery $TREE/var/lib/nfs/rpc_pipefs $TREE/var/instances $TREE/etc/exports.d \
        $TREE/etc/security
    chmod 1777 $TREE/tmp $TREE/var/tmp
    chmod 0000 $TREE/var/instances
    chmod 0700 $TREE/root
    printf '%s\n' root:x:0:0:root:/root:/bin/sh alice:x:1001:1001:Alice:/home/alice:/bin/sh dora:x:1003:1003:Dora:/home/dora:/bin/sh bob:x:1002:1002:Bob:/home/bob:/bin/sh \
        sshd:x:74:74::/run/sshd:/sbin/nologin _rpc:x:75:75::/run/rpcbind:/sbin/nologin statd:x:76:76::/var/lib/nfs:/sbin/nologin \
        nobody:x:65534:65534:nobody:/:/sbin/nologin > $TREE/etc/passwd
    printf '%s\n' root:x:0: shadow:x:42: tty:x:5: alice:x:1001: bob:x:1002: dora:x:1003: crew:x:2000:alice sshd:x:74: nogroup:x:65534: > $TREE/etc/group
    printf 'root:*:19000:0:99999:7:::\nalice:*:19000:0:99999:7:::\nbob:*:19000:0:99999:7:::\ndora:*:19000:0:99999:7:::\n' > $TREE/etc/shadow
    printf 'root:*::\ncrew:!::alice\nalice:!::\n' > $TREE/etc/gshadow
    printf 'alice:100000:65536\n' > $TREE/etc/subuid
    printf 'alice:100000:65536\n' > $TREE/etc/subgid
    printf 'passwd: files\ngroup: files\nshadow: files\ngshadow: files\nhosts: files\nservices: files\nprotocols: files\nrpc: files\n' > $TREE/etc/nsswitch.conf
    printf '127.0.0.1 localhost\n' > $TREE/etc/hosts
    # What an installation would have configured; EL's sessions have keyrings, limits, login ids, and some their own /tmp.
    printf 'auth optional pam_cap.so\nauth required pam_permit.so\n' > $TREE/etc/pam.d/common-auth
    printf 'account required pam_permit.so\n' > $TREE/etc/pam.d/common-account
    printf 'password required pam_permit.so\n' > $TREE/etc/pam.d/common-password
    printf 'session optional pam_keyinit.so revoke\nsession required pam_limits.so\nsession required pam_permit.so\n' > $TREE/etc/pam.d/common-session
    cp $TREE/etc/pam.d/common-session $TREE/etc/pam.d/common-session-noninteractive
    grep -q pam_namespace $TREE/etc/pam.d/login || printf 'session required pam_namespace.so\n' >> $TREE/etc/pam.d/login
    printf '/var/tmp /var/instances/ user root\n' > $TREE/etc/security/namespace.conf
    printf '#!/bin/sh\nexit 0\n' > $TREE/etc/security/namespace.init
    printf 'cap_net_raw dora\nnone *\n' > $TREE/etc/security/capability.conf
    printf '* soft core unlimited\n' > $TREE/etc/security/limits.conf
    printf 'Defaults !fqdn\nroot ALL=(ALL:ALL) ALL\nalice ALL=(ALL:ALL) NOPASSWD: ALL\n' > $TREE/etc/sudoers
    chmod 0440 $TREE/etc/sudoers
    # Where who logs in does what he came for.
    printf 'id -u > /tmp/login-uid\ngrep CapInh /proc/self/status > /tmp/login-caps\nid -u > /var/tmp/mine\nexit 0\n' > $TREE/home/dora/.profile
    chown -R 1001:1001 $TREE/home/alice
    # Set by dpkg, and lost where it did not run as root.
    for name in su sudo newgrp passwd newuidmap newgidmap mount umount gpasswd; do chmod 4755 $TREE/usr/bin/$name; done
    chmod 4755 $TREE/usr/sbin/mount.nfs
    chmod 2755 $TREE/usr/bin/chage
}

sessions_up() {
    sessions_files
    mount -o bind $TREE $TREE
    mount -t proc proc $TREE/proc
    mount -t sysfs sysfs $TREE/sys
    mount -t cgroup2 cgroup $TREE/sys/fs/cgroup
    mount -o bind /dev $TREE/dev
    mkdir -p $TREE/dev/pts $TREE/dev/shm
    mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts $TREE/dev/pts
    # The world, kept by a process that sleeps in it.
    unshare -m sh -c "cd $TREE && mount --move . / && echo \$\$ > /tmp/sessions.pid; exec busybox chroot . /usr/bin/busybox sleep 100000" &
    for i in $(seq 100); do [ -s /tmp/sessions.pid ] && inside test -e /etc/sudoers 2> /dev/null && break; sleep 0.1; done
    inside test -e /etc/sudoers
    inside busybox ip link set lo up
    # The kernel starts it where process 1 is.
    printf '#!/bin/sh\nexec busybox nsenter -m -t $(cat /tmp/sessions.pid) /sbin/request-key "$@"\n' > /sbin/request-key
    chmod 755 /sbin/request-key
}

sessions_down() {
    kill "$(cat /tmp/sessions.pid)"
    rm /tmp/sessions.pid /sbin/request-key
    for at in dev/pts dev sys/fs/cgroup sys proc .; do umount -l $TREE/$at; done
}

# That a command says what is expected, and nothing went wrong: was(EXPECTED, COMMAND…).
was() {
    expected=$1
    shift
    echo "+ $*"
    said=$(inside "$@" 2> /tmp/said) || { echo "$* failed with $?: $said"; cat /tmp/said; return 1; }
    case "$said" in
        $expected) ;;
        *) echo "$* said: $said, not $expected"; cat /tmp/said; return 1 ;;
    esac
}
