# A small EL 9 image on an ext4 of its own; sourced by both halves.
LAB=/hardpan-vm/lab
# Where the image lies, as the lab's tools see it and as the guest does.
IN=/tmp/power
WORK=$LAB$IN
lab() { chroot $LAB /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C "$@"; }
harden() {
    verb=$1 root=$2; shift 2
    case $verb in
    apply) hardpan harden apply --root $root --el 9 --vendor rocky --hardware x86-64-v2 --role kiosk --level locked \
        --only 'sysctl:kernel.*' --only module:sctp --only 'boot:init_on_alloc*' --only 'service:cups*' --only 'suid:*' \
        --only 'mount:*' --only 'sshd:*' --only crypto-policy "$@" ;;
    rollback) hardpan harden rollback --root $root "$@" ;;
    esac
}
# Content, kind, mode, owner, links, label and capability of everything but the journal.
snapshot() {
    (cd $1; find etc boot usr -type f -exec sha256sum {} + | sort -k 2; find etc boot usr -exec stat -c '%A %u %g %N' {} + | sort -k 4)
    for file in etc/fstab usr/bin/gpasswd usr/bin/newgrp; do lab getfattr -h -d -m - $IN/root/$file 2> /dev/null; done
}

image_up() {
    /usr/sbin/modprobe loop
    for at in proc sys dev; do mkdir -p $LAB/$at; mount -o bind /$at $LAB/$at; done
    mkdir -p $WORK
    # Nothing is written to the image but what is synced, for as long as this takes.
    echo 0 > /proc/sys/vm/dirty_writeback_centisecs
    dd if=/dev/zero of=$WORK/image bs=1024 count=6144 2> /dev/null
    lab mkfs.ext4 -q -b 1024 -J size=1 $IN/image
    mkdir -p $WORK/root
    mount -t ext4 -o loop,commit=3000 $WORK/image $WORK/root
    cd $WORK/root
    mkdir -p etc/sysctl.d etc/modprobe.d etc/default etc/ssh etc/kernel etc/crypto-policies/back-ends etc/crypto-policies/state \
        boot/loader/entries usr/bin usr/lib/systemd/system usr/share/crypto-policies/policies usr/share/crypto-policies/DEFAULT \
        usr/share/crypto-policies/FUTURE
    printf 'ID="rocky"\nVERSION_ID="9.6"\nPLATFORM_ID="platform:el9"\n' > etc/os-release
    printf 'root:x:0:\nwheel:x:10:\n' > etc/group
    printf '# ours\nkernel.kptr_restrict = 0\n' > etc/sysctl.d/10-site.conf
    printf 'GRUB_CMDLINE_LINUX="quiet"\n' > etc/default/grub
    printf 'root=/dev/vda ro\n' > etc/kernel/cmdline
    printf 'title EL\nversion 5.14.0\nlinux /vmlinuz-5.14.0\noptions root=/dev/vda ro\n' > boot/loader/entries/id-5.14.0.conf
    printf '/dev/vda / ext4 defaults 0 0\ntmpfs /tmp tmpfs size=1G 0 0\n' > etc/fstab
    printf 'Include /etc/ssh/sshd_config.d/*.conf\nX11Forwarding yes\n' > etc/ssh/sshd_config
    printf '[Unit]\n' > usr/lib/systemd/system/cups.service
    for program in gpasswd newgrp chage; do echo program > usr/bin/$program; chmod 4755 usr/bin/$program; done
    chmod 0755 usr/bin/newgrp
    printf '# comment\nDEFAULT\n' > etc/crypto-policies/config
    printf 'DEFAULT\n' > etc/crypto-policies/state/current
    for policy in DEFAULT FUTURE; do
        echo mac > usr/share/crypto-policies/policies/$policy.pol
        for end in openssl gnutls; do echo $policy > usr/share/crypto-policies/$policy/$end.txt; done
    done
    for end in openssl gnutls; do ln -s /usr/share/crypto-policies/DEFAULT/$end.txt etc/crypto-policies/back-ends/$end.config; done
    cd - > /dev/null
    lab setcap cap_setuid=ep $IN/root/usr/bin/newgrp
    lab setfattr -n security.selinux -v system_u:object_r:etc_t:s0 $IN/root/etc/fstab
    lab setfattr -n security.selinux -v system_u:object_r:passwd_exec_t:s0 $IN/root/usr/bin/gpasswd
    sync
}

# What a machine without power finds: a copy of the disk, mounted as after a boot, the file system's own journal replayed.
booted() { mount -t ext4 -o loop,commit=3000 $1 $WORK/root; }

image_down() {
    umount $WORK/root 2> /dev/null || true
    for at in dev sys proc; do umount $LAB/$at || true; done
    echo 500 > /proc/sys/vm/dirty_writeback_centisecs
    rm -rf $WORK
}
