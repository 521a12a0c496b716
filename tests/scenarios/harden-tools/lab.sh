# Makes the lab a host that looks like EL 9 to `hardpan harden`, with labels and a file capability; sourced by both halves.
LAB=/hardpan-vm/lab
lab() { chroot $LAB /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C "$@"; }
harden() { verb=$1; shift; lab hardpan harden "$verb" --el 9 --vendor rocky --hardware x86-64-v2 --role kiosk --level strict "$@"; }
label() { lab setfattr -n security.selinux -v "system_u:object_r:$1:s0" "$2"; }

lab_up() {
    mkdir -p $LAB/proc $LAB/sys $LAB/dev $LAB/run
    mount -t proc proc $LAB/proc
    mount -t sysfs sysfs $LAB/sys
    mount -o bind /dev $LAB/dev
    mount -t tmpfs run $LAB/run
    cp /usr/bin/hardpan $LAB/usr/bin/hardpan
    mkdir -p $LAB/run/dbus $LAB/run/sshd $LAB/run/lock $LAB/tmp $LAB/var/tmp $LAB/etc/authselect $LAB/etc/ssh/sshd_config.d \
        $LAB/etc/sysctl.d $LAB/etc/modprobe.d $LAB/etc/kernel $LAB/boot/grub2 $LAB/boot/loader/entries $LAB/var/lib/dbus
    printf 'root:x:0:0:root:/root:/bin/sh\nsshd:x:74:74::/run/sshd:/sbin/nologin\nmessagebus:x:81:81::/:/sbin/nologin\n' > $LAB/etc/passwd
    printf 'root:x:0:\nwheel:x:10:\nsshd:x:74:\nmessagebus:x:81:\n' > $LAB/etc/group
    cp /etc/machine-id $LAB/etc/machine-id
    # PAM: authselect's own profile, as anaconda selects it.
    lab authselect select sssd with-mkhomedir --force > /dev/null
    # sshd: Debian's own configuration, and a key so that sshd -t has something to say.
    cp $LAB/usr/share/openssh/sshd_config $LAB/etc/ssh/sshd_config
    [ -e $LAB/etc/ssh/ssh_host_ed25519_key ] || lab ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
    # Boot entries and GRUB's environment block, the latter by GRUB's own tool.
    printf 'title EL\nversion 5.14.0\nlinux /vmlinuz-5.14.0\noptions root=UUID=1 ro quiet $tuned_params\n' > $LAB/boot/loader/entries/id-5.14.0.conf
    rm -f $LAB/boot/grub2/grubenv
    lab grub-editenv /boot/grub2/grubenv create
    lab grub-editenv /boot/grub2/grubenv set kernelopts='root=UUID=1 ro' saved_entry=id-5.14.0
    printf 'GRUB_CMDLINE_LINUX="quiet"\n' > $LAB/etc/default/grub
    printf 'root=UUID=1 ro quiet\n' > $LAB/etc/kernel/cmdline
    printf '/dev/vda / ext4 defaults 0 0\ntmpfs /tmp tmpfs size=1G 0 0\n' > $LAB/etc/fstab
    printf '[Unit]\nDescription=Printing\n[Service]\nExecStart=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\n' > $LAB/usr/lib/systemd/system/cups.service
    # EL 9 gives newuidmap a capability instead of the set-id bit.
    chmod 0755 $LAB/usr/bin/newuidmap
    lab setcap cap_setuid=ep /usr/bin/newuidmap
    label passwd_exec_t /usr/bin/gpasswd
    label setfiles_exec_t /usr/bin/newuidmap
    label boot_t /boot/loader/entries/id-5.14.0.conf
    label firewalld_etc_rw_t /etc/firewalld/firewalld.conf
    label bootloader_etc_t /etc/default/grub
    label etc_t /etc/fstab
    chmod 0640 $LAB/etc/firewalld/firewalld.conf
}

lab_down() {
    for at in run dev sys proc; do umount -l $LAB/$at; done
    rm -rf $LAB/var/lib/hardpan $LAB/etc/sysctl.d/99-zz-hardpan.conf $LAB/etc/modprobe.d/hardpan.conf
}

# Content, kind, mode, owner, links and every extended attribute, labels and capabilities among them.
snapshot() {
    (
        cd $LAB
        find etc boot usr/lib/systemd/system -type f -exec sha256sum {} + | sort -k 2
        find etc boot usr/bin usr/sbin usr/lib/systemd/system -exec stat -c '%A %u %g %N' {} + | sort -k 4
    )
    lab getfattr -R -P -h -d -m - etc boot usr/bin usr/sbin 2>&1
    # A file system in memory lists no labels on kernels of today where no security module does; asked by name it tells them.
    lab getfattr -R -P -h -n security.selinux etc boot usr/bin usr/sbin 2> /dev/null || true
}
