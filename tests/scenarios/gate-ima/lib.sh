# An IMA policy, and files that it takes another digest of. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-enforce/policy.sh
# What cannot be hashed is refused.
ima_policy() {
    gate_policy
    sed -i 's/^boot_grace_s = 0/boot_grace_s = 0\non_doubt = "closed"/' /etc/hardpan/policies/50-gate.toml
    # It takes one policy in a boot. Only what this user owns is measured.
    echo 'measure func=BPRM_CHECK mask=MAY_EXEC fowner=4711' > /sys/kernel/security/ima/policy
    mkdir -p /tmp/ima
    cp /usr/bin/hp-hello /tmp/ima/sha1
    chown 4711 /tmp/ima/sha1
    # security.ima: a digest with its algorithm, SHA-1 (2). IMA measures with what the file asks for.
    python3 -S -c 'import posix; posix.setxattr("/tmp/ima/sha1", "security.ima", bytes([4, 2] + [0] * 20))'
    # Before hardpand: from now on the kernel answers with what IMA remembers.
    /tmp/ima/sha1
    grep -q ' sha1:[0-9a-f]* /tmp/ima/sha1 *$' /sys/kernel/security/ima/ascii_runtime_measurements
}
