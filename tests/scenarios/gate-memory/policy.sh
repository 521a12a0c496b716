. /hardpan-vm/scenarios/gate-enforce/policy.sh
# shellcheck shell=sh
# A manifest of so many digests: programs that are all the same but for a line at the end, and as many random ones as are missing.
many() {
    mkdir -p /tmp/known
    for n in $(seq 50); do
        cp /usr/bin/hp-hello /tmp/known/$n
        echo $n >> /tmp/known/$n
    done
    hardpan trust add /tmp/known --name many
    file=/var/lib/hardpan/manifests/many.json
    od -An -v -tx1 -w32 -N $((($1 - 50) * 32)) /dev/urandom | tr -d ' ' > /tmp/random
    awk 'FNR == NR { digests[FNR] = $1; all = FNR; next }
        { print }
        /"files": *\[/ { for (n = 1; n <= all; n++) printf "{\"sha256\":\"%s\",\"size\":%d,\"path\":\"/opt/many/%d\"},\n", digests[n], n, n }' \
        /tmp/random $file > /tmp/many.json
    cp /tmp/many.json $file
    rm /tmp/random /tmp/many.json
}
