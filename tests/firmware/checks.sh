# What both machines' scenarios ask with; sourced by them.
os() { printf 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="%s"\nPLATFORM_ID="platform:el%s"\nPRETTY_NAME="Rocky Linux %s"\n' $1 ${1%%.*} $1 > /etc/os-release; }
# EFI variables, as systemd mounts them.
efi() { grep -q efivarfs /proc/filesystems || /usr/sbin/modprobe efivarfs; mount -t efivarfs efivarfs /sys/firmware/efi/efivars; }
doctor() {
    code=0
    hardpan doctor --no-load --json > /tmp/doctor || code=$?
    [ $code -le 1 ]
}
# A field of the last doctor's report.
says() { grep -q "\"$1\": *$2" /tmp/doctor || { grep "\"$1\"" /tmp/doctor; return 1; }; }
audit() {
    code=0
    hardpan audit --profile $1 -o jsonl=/tmp/report > /tmp/audit.out 2>&1 || code=$?
    # Fine, failures, errors: a report in each case.
    case $code in 0 | 1 | 3) ;; *) cat /tmp/audit.out; return 1 ;; esac
}
# Whether a control of the last report has this result, with this text in its line.
found() {
    grep "\"control\":\"$1\"" /tmp/report > /tmp/line
    if grep -q "\"result\":\"$2\"" /tmp/line && grep -qF -- "$3" /tmp/line; then return 0; fi
    echo "$1 is not $2 with $3:"; cut -c 1-1500 /tmp/line; return 1
}
