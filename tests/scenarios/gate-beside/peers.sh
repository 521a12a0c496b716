# fapolicyd and auditd of Debian, run from a folder of their own with their own libraries. shellcheck shell=sh
peers=/hardpan-vm/peers
loader=$peers/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
# peer PROGRAM ARGUMENTS
peer() {
    program=$peers/$1
    shift
    $loader --library-path $peers/lib/x86_64-linux-gnu:$peers/usr/lib/x86_64-linux-gnu "$program" "$@"
}
# Everything that runs there, for a rule or a list.
peer_files() {
    find $peers/lib $peers/usr/lib $peers/sbin $peers/usr/sbin -type f
}
# fapolicyd_up FILESYSTEMS: with file trust (all programs and libraries of the guest), integrity by content, and the rules
# that EL ships ("known-libs"); until it refuses what is not listed, and what is listed with other content.
fapolicyd_up() {
    mkdir -p /etc/fapolicyd/trust.d /etc/fapolicyd/rules.d /var/lib/fapolicyd /run/fapolicyd /usr/share/fapolicyd /usr/share/misc
    cp $peers/usr/share/fapolicyd/fapolicyd-magic.mgc /usr/share/fapolicyd/
    cp $peers/usr/lib/file/magic.mgc /usr/share/misc/
    sed -e 's/^uid = .*/uid = root/' -e 's/^gid = .*/gid = root/' -e 's/^trust = .*/trust = file/' \
        -e 's/^integrity = .*/integrity = sha256/' -e "s/^watch_fs = .*/watch_fs = $1/" \
        $peers/etc/fapolicyd/fapolicyd.conf > /etc/fapolicyd/fapolicyd.conf
    for rules in 10-languages 20-dracut 21-updaters 30-patterns 40-bad-elf 41-shared-obj 42-trusted-elf 70-trusted-lang 72-shell \
        90-deny-execute 95-allow-open; do
        cat $peers/usr/share/fapolicyd/sample-rules/$rules.rules
    done > /etc/fapolicyd/compiled.rules
    cp /usr/bin/hp-hello /usr/libexec/unlisted
    cp /usr/bin/hp-hello /usr/libexec/changed
    { find /usr/bin /usr/sbin /usr/lib /usr/lib64 /init /usr/libexec/hp-init /usr/libexec/changed -type f ! -path '*/modules/*' ! -name '*.o'
      peer_files; } | while read -r file; do
        echo "$file $(stat -c %s "$file") $(sha256sum "$file" | cut -d' ' -f1)"
    done > /etc/fapolicyd/fapolicyd.trust
    printf J | dd of=/usr/libexec/changed bs=1 seek=$HP_HELLO_OFFSET conv=notrunc 2>/dev/null
    peer usr/sbin/fapolicyd
    for i in $(seq 300); do
        su alice -c /usr/libexec/unlisted > /dev/null 2>&1 || break
        sleep 0.2
    done
    fapolicyd_refuses
}
fapolicyd_refuses() {
    su alice -c hp-hello > /dev/null
    for file in unlisted changed; do
        if su alice -c /usr/libexec/$file > /dev/null 2>&1; then echo "fapolicyd let /usr/libexec/$file run"; return 1; fi
    done
}
fapolicyd_down() {
    kill "$(cat /run/fapolicyd.pid)"
    for i in $(seq 100); do test -e /run/fapolicyd.pid || break; sleep 0.2; done
    su alice -c /usr/libexec/unlisted > /dev/null
    rm -rf /etc/fapolicyd /var/lib/fapolicyd /usr/libexec/unlisted /usr/libexec/changed
}
# auditd_up: with one rule, on every execution. What the kernel does for it does not end with it.
auditd_up() {
    mkdir -p /etc/audit/plugins.d /var/log/audit
    sed -e 's/^log_group = .*/log_group = root/' $peers/etc/audit/auditd.conf > /etc/audit/auditd.conf
    chmod 640 /etc/audit/auditd.conf
    peer sbin/auditd
    for arch in b64 b32; do peer sbin/auditctl -a always,exit -F arch=$arch -S execve -k exec; done
    sh -c hp-hello
    for i in $(seq 100); do grep -q 'type=EXECVE.*hp-hello' /var/log/audit/audit.log && return 0; sleep 0.2; done
    echo 'auditd writes nothing'
    return 1
}
