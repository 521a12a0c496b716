# A server whose threads act as who asks, and its client on the same machine.

nfs() {
    for module in nfsd nfs nfsv3 nfsv4; do /usr/sbin/modprobe $module; done
    # So that the client asks request-key for names, with credentials of its own for that.
    echo N > /sys/module/nfs/parameters/nfs4_disable_idmapping
    inside busybox mkdir -p /srv/squashed /srv/whole /mnt/three /mnt/four /mnt/whole
    inside mount -t nfsd nfsd /proc/fs/nfsd
    for at in squashed whole; do inside mount -t tmpfs -o mode=1777 exported /srv/$at; done
    printf '/srv/squashed *(rw,sync,root_squash,no_subtree_check,fsid=1)\n/srv/whole *(rw,sync,no_root_squash,no_subtree_check,fsid=2)\n' > $TREE/etc/exports
    printf '[General]\nDomain = local\n[Mapping]\nNobody-User = nobody\nNobody-Group = nogroup\n' > $TREE/etc/idmapd.conf
    inside rpcbind
    inside exportfs -ra
    inside rpc.nfsd --grace-time 10 --lease-time 10 2
    inside rpc.mountd
    # Whose numbers are meant by names, at the server.
    inside rpc.idmapd -S
    # Nobody has anything to reclaim.
    echo Y | inside busybox tee /proc/fs/nfsd/v4_end_grace > /dev/null 2>&1 || true
    inside mount -t nfs -o vers=3,nolock,proto=tcp 127.0.0.1:/srv/squashed /mnt/three
    inside mount -t nfs -o vers=4.2,proto=tcp 127.0.0.1:/srv/squashed /mnt/four
    inside mount -t nfs -o vers=4.2,proto=tcp 127.0.0.1:/srv/whole /mnt/whole
    for at in three four; do
        was '65534 1001' sh -c "cd /mnt/$at && touch root-$at && su alice -c 'umask 077; echo hers > alice-$at' &&
            echo \$(stat -c %u root-$at alice-$at)"
        was hers su alice -c "cat /mnt/$at/alice-$at"
        # root is nobody there.
        not inside cat /mnt/$at/alice-$at 2> /dev/null
        not inside chown 0:0 /mnt/$at/alice-$at 2> /dev/null
        was 20 su alice -c "cd /mnt/$at && mkdir many && for i in \$(busybox seq 20); do echo \$i > many/\$i && mv many/\$i many/m\$i && cat many/m\$i > /dev/null; done
            ls many | wc -l && rm -r many"
    done
    was hers su alice -c 'echo hers > /mnt/whole/file && cat /mnt/whole/file'
    was '1002 hers' sh -c 'chown 1002:1002 /mnt/whole/file && chmod 600 /mnt/whole/file && echo $(stat -c %u /mnt/whole/file) $(cat /mnt/whole/file)'
    not inside su alice -c 'cat /mnt/whole/file' 2> /dev/null
    grep -q 'id_resol.*user:1002' /proc/keys || { cat /proc/keys; return 1; }
    # Programs from there, one of them set-user-id.
    was 1001 sh -c 'cp /usr/bin/busybox /usr/bin/setpriv /mnt/whole && su alice -c "/mnt/whole/busybox id -u"'
    was 0 sh -c 'chown 0:0 /mnt/whole/setpriv && chmod 4755 /mnt/whole/setpriv && su alice -c "/mnt/whole/setpriv --reuid 0 id -u"'
    was '' busybox umount /mnt/three /mnt/four /mnt/whole
    was '' rpc.nfsd 0
    was '' exportfs -ua
    servers="$(pidof rpc.mountd) $(pidof rpc.idmapd) $(pidof rpcbind)"
    kill $servers
    # Not before they are gone the next ones start. Nobody buries them here, but the dead have no program.
    for pid in $servers; do while readlink /proc/$pid/exe; do sleep 0.1; done; done
    was '' busybox umount /proc/fs/nfsd /srv/squashed /srv/whole
}
