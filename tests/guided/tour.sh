# The guided tour of `cargo xtask run`, carried out in the guest while hardpand watches.
# Lines that start with "# " in the output are captions.
caption() { sleep 1; echo "# $*"; sleep 1; }
run() { echo "\$ $*"; "$@"; sleep 1; }

caption "What hardpan can do on this kernel, and why"
hardpan doctor || true

caption "A program of a signed package: trusted by its digest, so it is counted and not recorded by itself"
run hp-hello

caption "The same program with one byte changed: the digest is not the one that the vendor signed"
cp -p /usr/bin/hp-hello /tmp/hp-hello.vendor
printf J | dd of=/usr/bin/hp-hello bs=1 seek="$HP_HELLO_OFFSET" conv=notrunc 2>/dev/null
run hp-hello
cat /tmp/hp-hello.vendor > /usr/bin/hp-hello

caption "A program that no package brought, run by the user alice"
cp "$HP_STUFF/dropped" /tmp/dropped
run su alice -c /tmp/dropped

caption "The same program from anonymous memory, without any file"
run hp-memfd /tmp/dropped

caption "A set-user-id program makes alice root"
run su alice -c '/usr/bin/hp-setuid 0 /usr/bin/id'

release=$(uname -r)
if [ -d "/lib/modules/$release" ]; then
    caption "A kernel module from the vendor's package, and one whose signature was cut off"
    run /usr/sbin/modprobe dummy
    run /usr/sbin/rmmod dummy
    run /usr/sbin/insmod "$HP_STUFF/modules/$release/dummy-unsigned.ko"
    run /usr/sbin/rmmod dummy
fi

caption "hardpand is asked to stop and closes its books"
