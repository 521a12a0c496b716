# Attacks on processes that real programs made somebody: an alias of the victim goes to the facts as NAME_pid.

# marked(NAME): waits until a victim has told its pid, and tells it to the facts.
marked() {
    for i in $(seq 200); do [ -s $TREE/tmp/victim ] && break; sleep 0.1; done
    victim=$(cat $TREE/tmp/victim)
    rm $TREE/tmp/victim
    echo "$1_pid=$victim" >> $HP_FACTS
}

# What idles and is gone a second later was noticed within it, or never.
gone() {
    sleep 1
    kill -9 $victim 2> /dev/null || true
    wait $! || true
}

victims() {
    /usr/sbin/insmod $HP_STUFF/modules/$(uname -r)/hp_attack.ko
    echo hidden > $TREE/root/hidden
    chmod 600 $TREE/root/hidden
    rm -f $TREE/tmp/stolen
    inside busybox mkfifo /tmp/go
    chmod 666 $TREE/tmp/go
    # Who sudo made a user reads what only root may.
    inside sudo -u alice sh -c 'echo $$ > /tmp/victim; read go < /tmp/go; cat /root/hidden > /tmp/stolen' &
    marked sudo
    hp-task order ids $victim
    echo go > $TREE/tmp/go
    wait $! || true
    # A program with one capability has all.
    inside setcap cap_net_raw+ep /usr/bin/ping
    inside su alice -c 'echo $$ > /tmp/victim; exec ping -n -i 0.5 127.0.0.1' > /dev/null &
    marked ping
    # It gives its capability up once it has a socket: what is done to it before goes with that.
    for i in $(seq 100); do
        ls -l /proc/$victim/fd | grep -q socket: && grep -q 'CapPrm:.0000000000000000' /proc/$victim/status && break
        sleep 0.1
    done
    hp-task order caps $victim
    gone
    # A session over the network gets the credentials of process 0.
    sshd_up
    inside ssh $SSH -T alice@127.0.0.1 'echo $$ > /tmp/victim; exec sleep 60' &
    marked ssh
    hp-task order swap $victim
    gone
    sshd_down
    # Root of a namespace becomes root of the host.
    inside su alice -c 'unshare -Ur sh -c "echo \$\$ > /tmp/victim; exec sleep 60"' &
    marked unshare
    hp-task order user-ns $victim
    gone
    # Containers: out of their namespaces, their root, their filter.
    CONTAINED='"/bin/busybox","sleep","60"'
    bundle false ''
    for what in ns root seccomp; do
        inside crun --cgroup-manager=disabled --root /run/crun run -b /tmp/bundle --pid-file /tmp/pid $what &
        for i in $(seq 200); do [ -s $TREE/tmp/pid ] && [ "$(cat /proc/$(cat $TREE/tmp/pid)/comm)" = busybox ] && break; sleep 0.1; done
        mv $TREE/tmp/pid $TREE/tmp/victim
        marked $what
        hp-task order $what $victim
        gone
    done
    rm $TREE/tmp/go
    cat $HP_FACTS
    /usr/sbin/rmmod hp_attack
}
