# What real programs lawfully do to identities, capabilities, namespaces, roots, filters and keyrings. Each says what it became.

others() {
    was 1001 sudo -u alice id -u
    was 0 sudo -u alice sudo -n id -u
    was 2000 sudo -u alice -g crew id -g
    was 1002 sudo -u alice sudo -n -u bob setpriv --nnp id -u
    was 1001 sudo -i -u alice busybox id -u
    was '*1001*' script -qec 'sudo -u alice id -u' /dev/null
    was 1001 su alice -c 'id -u'
    was '*1001*' script -qec 'su -P alice -c "id -u"' /dev/null
    was 1001 runuser -u alice -- id -u
    was 2000 su alice -c 'sg crew -c "id -g"'
    was 2000 su alice -c 'echo "id -g" | newgrp crew'
    was 'alice L *' su alice -c 'passwd -S'
    was 'Last password change*' su alice -c 'chage -l alice'
    # A login with a /tmp of its own, PAM's capabilities, and a keyring.
    inside rm -f /tmp/login-uid /tmp/login-caps
    was '*' script -qec 'exec login -f dora' /dev/null
    was 1003 cat /tmp/login-uid
    was '*2000' cat /tmp/login-caps
    was 1003 sh -c 'cat /var/instances/dora/mine'
}

capabilities() {
    for how in cap_net_raw+p cap_net_raw+ep; do
        inside setcap $how /usr/bin/ping
        was '*1 received*' su alice -c 'ping -n -c 1 127.0.0.1'
    done
    was '*0000000000002000' capsh --keep=1 --user=alice --inh=cap_net_raw --addamb=cap_net_raw --shell=/bin/sh -- -c 'grep CapAmb /proc/self/status'
    was 1001 capsh --drop=cap_sys_admin,cap_sys_module --uid=1001 --shell=/bin/sh -- -c 'id -u'
    was '*0000000000000000' capsh --mode=NOPRIV --shell=/bin/sh -- -c 'grep CapPrm /proc/self/status'
    was '*fe' capsh --secbits=0x2f --drop=cap_chown --inh=cap_net_raw --shell=/bin/sh -- -c 'grep CapBnd /proc/self/status'
    was 1001 capsh --iab='!cap_sys_boot' --secbits=0x1 --gid=1001 --groups=2000 --uid=1001 --shell=/bin/sh -- -c 'id -u'
    was 0 capsh --chroot=/ --shell=/bin/sh -- -c 'id -u'
    was '*2000' setpriv --reuid=1001 --regid=1001 --init-groups --inh-caps=+net_raw --ambient-caps=+net_raw --bounding-set=-sys_boot \
        --no-new-privs grep CapAmb /proc/self/status
    was 1002 setpriv --ruid=1002 --euid=1001 --rgid=1002 --egid=1001 --clear-groups --securebits=+noroot id -ru
}

spaces() {
    was 0 su alice -c 'unshare -Ur id -u'
    was 1 su alice -c 'unshare -UrmnuipCT --fork --mount-proc busybox sh -c "hostname in && echo \$\$"'
    was 100 su alice -c 'unshare --map-auto --map-root-user --setuid 100 --setgid 100 --fork id -u'
    was 1001 unshare -m --root=/ --setuid 1001 --setgid 1001 --keep-caps id -u
    was 'hello' unshare -m sh -c 'mount -t tmpfs t /var/tmp && cd /var/tmp && mkdir old bin && cp /usr/bin/busybox bin && busybox pivot_root . old && /bin/busybox echo hello'
    was 0 su alice -c 'unshare -UrmnuipT --fork sleep 30 & busybox sleep 2; p=$(cat /proc/$!/task/$!/children)
        nsenter -t ${p% } -U -m -n -u -i -p -T --preserve-credentials id -u; kill $p'
    was 1001 busybox chroot / su alice -c 'id -u'
}

keyrings() {
    was '*keyring: hp*' keyctl session hp keyctl show
    was '*' sudo -u alice sh -c 'keyctl new_session mine && keyctl add user name value @s && keyctl show @s'
    # The kernel runs request-key, which takes over the right to make the key.
    was '*Debug gizmo*' keyctl session - sh -c 'keyctl print $(keyctl request2 user debug:hello gizmo @s)'
}

containers() {
    was 0 su alice -c 'bwrap --ro-bind / / --unshare-all --uid 0 --gid 0 --cap-drop ALL --new-session --proc /proc --dev /dev id -u'
    bundle false ''
    was 'CapEff:*400' crun --cgroup-manager=disabled --root /run/crun run -b /tmp/bundle root
    bundle false 1001
    inside chown -R 1001:1001 /tmp/bundle
    was 'CapEff:*400' su alice -c 'XDG_RUNTIME_DIR=/tmp/alice-run crun --cgroup-manager=disabled --root /tmp/alice-run run -b /tmp/bundle rootless'
}

SSH='-p 2222 -i /root/.ssh/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'

sshd_up() {
    inside test -e /etc/ssh/ssh_host_ed25519_key || inside ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
    inside rm -f /root/.ssh/id
    inside ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id
    inside busybox sh -c 'cat /root/.ssh/id.pub > /home/alice/.ssh/authorized_keys'
    printf 'Port 2222\nListenAddress 127.0.0.1\nUsePAM yes\nSubsystem sftp /usr/lib/openssh/sftp-server\n' > $TREE/etc/ssh/sshd_config
    inside /usr/sbin/sshd -D -e 2> /tmp/sshd.log &
    for i in $(seq 600); do grep -q listening /tmp/sshd.log && break; sleep 0.1; done
}

sshd_down() { kill $(pidof sshd) || true; }

# With and without a terminal, and the file server.
networked() {
    sshd_up
    for how in -T -tt; do was '*1001*' ssh $how $SSH alice@127.0.0.1 'id -u'; done
    was '*secret*' sh -c "echo secret > /tmp/sent; echo 'get /tmp/sent /tmp/got' | sftp -q -P 2222 ${SSH#-p 2222} -b - alice@127.0.0.1 > /dev/null && cat /tmp/got"
    sshd_down
}

# A dump through a program, of one's own process and of a set-user-id program.
dumps() {
    printf '#!/bin/sh\ncat | wc -c > /tmp/core.$1\n' > /tmp/takes-core
    chmod 755 /tmp/takes-core
    echo '|/tmp/takes-core %e' > /proc/sys/kernel/core_pattern
    echo 2 > /proc/sys/fs/suid_dumpable
    inside su alice -c 'ulimit -c unlimited; busybox sh -c "kill -SEGV \$\$"' || true
    inside sh -c 'cp /usr/bin/setpriv /tmp/raised && chmod 4755 /tmp/raised'
    inside su alice -c 'ulimit -c unlimited; /tmp/raised /usr/bin/setpriv --clear-groups sleep 30 & busybox sleep 2; kill -SEGV $!; wait' || true
    inside su alice -c 'ulimit -c unlimited; ping -n 127.0.0.1 > /dev/null & busybox sleep 2; kill -SEGV $!; wait' || true
    for i in $(seq 50); do [ -s /tmp/core.ping ] && [ -s /tmp/core.busybox ] && [ -s /tmp/core.sleep ] && break; sleep 0.2; done
    test "$(cat /tmp/core.busybox)" -gt 4096
    test "$(cat /tmp/core.ping)" -gt 4096
    test "$(cat /tmp/core.sleep)" -gt 4096
    rm /tmp/core.*
    echo 0 > /proc/sys/fs/suid_dumpable
    echo core > /proc/sys/kernel/core_pattern
}

# bundle(TERMINAL, UID of a rootless container's owner, or nothing)
bundle() {
    mkdir -p $TREE/tmp/bundle/rootfs/bin $TREE/tmp/bundle/rootfs/proc $TREE/tmp/bundle/rootfs/dev $TREE/tmp/bundle/rootfs/sys
    cp $TREE/usr/bin/busybox $TREE/tmp/bundle/rootfs/bin/busybox
    user=${2:+'{"type":"user"},'}
    maps=${2:+"\"uidMappings\":[{\"containerID\":0,\"hostID\":$2,\"size\":1}],\"gidMappings\":[{\"containerID\":0,\"hostID\":$2,\"size\":1}],"}
    cat > $TREE/tmp/bundle/config.json << CONFIG
{"ociVersion":"1.0.2","process":{"terminal":$1,"user":{"uid":0,"gid":0},"args":[${CONTAINED:-"\"/bin/busybox\",\"grep\",\"CapEff\",\"/proc/self/status\""}],
"env":["PATH=/bin"],"cwd":"/","noNewPrivileges":true,"capabilities":{"bounding":["CAP_NET_BIND_SERVICE"],"effective":["CAP_NET_BIND_SERVICE"],
"permitted":["CAP_NET_BIND_SERVICE"],"inheritable":[],"ambient":[]}},"root":{"path":"rootfs"},"hostname":"contained",
"mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755"]}],
"linux":{$maps"namespaces":[$user{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"network"}],
"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["reboot","kexec_load"],"action":"SCMP_ACT_ERRNO"}]},
"maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"]}}
CONFIG
}

everybody() {
    others
    capabilities
    spaces
    keyrings
    containers
    networked
    dumps
}
