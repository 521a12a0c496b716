# `script_policy`, `gate_enforces`, `refused`, `inode_of`; `$lib`: a library of a package.
# shellcheck shell=sh
. /hardpan-vm/scenarios/gate-fallback/policy.sh
. /hardpan-vm/scenarios/gate-scripts/policy.sh
lib=$(ls /usr/lib/x86_64-linux-gnu/libz.so* /usr/lib64/libz.so* /lib/x86_64-linux-gnu/liblzma.so.5 2>/dev/null | head -1)
# What the dynamic linker says of a library that it could not map: `says TEXT COMMAND…`.
says() {
    text=$1
    shift
    "$@" > /tmp/said.txt 2>&1 || true
    grep -q -- "$text" /tmp/said.txt || { cat /tmp/said.txt >&2; return 1; }
}
# Some kernels have it built in.
load_fuse() {
    /usr/sbin/modprobe -q fuse || grep -q fuse /proc/filesystems
}
# Tries until it is let, after the policy or the mode changed: `soon COMMAND…`.
soon() {
    for i in $(seq 300); do
        "$@" 2> /tmp/soon.txt && return 0
        sleep 0.1
    done
    cat /tmp/soon.txt >&2
    return 1
}
