# Packages that lie. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-enforce/policy.sh
rpm="/usr/bin/rpm --define '_db_backend sqlite' --define '_pkgverify_level none' --nodeps"
# opened FILE-NAME: waits until the daemon has told of this package, whatever it found.
opened() {
    for i in $(seq 300); do
        grep '"action":"package-opened"' /var/log/hardpan/events.json | grep -q "/$1\"" && return 0
        sleep 0.1
    done
    echo "nobody told of $1" >&2
    return 1
}
# forged FROM TO: the signed header of a package, with another content behind it: one letter of what its program says. The
# payload is gzip without compression: its checksum is put right.
forged() {
    cat > /tmp/forge.py <<PYTHON
data = bytearray(open("$1", "rb").read())
start = data.find(b"\x1f\x8b\x08")
size = int.from_bytes(data[-4:], "little")
# Stored blocks of deflate: a byte, length, its complement.
at, plain, place = start + 10, bytearray(), []
while True:
    last, length = data[at] & 1, int.from_bytes(data[at + 1:at + 3], "little")
    at += 5
    place.extend(range(at, at + length))
    plain += data[at:at + length]
    at += length
    if last:
        break
assert len(plain) == size, (len(plain), size)
hit = plain.find(b"hello from")
assert hit > 0
plain[hit] = data[place[hit]] = ord("J")
table = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0xedb88320 if n & 1 else 0)
    table.append(n)
crc = 0xffffffff
for byte in plain:
    crc = crc >> 8 ^ table[(crc ^ byte) & 255]
data[-8:-4] = (crc ^ 0xffffffff).to_bytes(4, "little")
open("$2", "wb").write(data)
PYTHON
    # Handed over as standard input: nobody signed this script.
    /usr/bin/python3 -S - < /tmp/forge.py
}
