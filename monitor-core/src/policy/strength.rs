//! Which of two values protects more. `final` rests on it.

use super::schema::{KeySpec, Kind, Order};
use super::value::{KeyPath, Value};
use std::cmp::Ordering;

/// Values of one sysctl, boot argument or crypto policy from weakest to strongest.
enum Scale {
    /// The larger number is stronger.
    Up,
    /// The smaller number is stronger.
    Down,
    /// These, weakest first; others cannot be compared.
    Steps(&'static [&'static str]),
}

/// Strength of scalars by name. Keys that are not here have no order.
const SCALES: &[(&str, Scale)] = &[
    (
        "crypto.policy",
        Scale::Steps(&["LEGACY", "DEFAULT", "DEFAULT:NO-SHA1", "FUTURE", "FIPS"]),
    ),
    ("boot.audit_backlog_limit", Scale::Up),
    ("boot.init_on_alloc", Scale::Up),
    ("boot.init_on_free", Scale::Up),
    (
        "boot.lockdown",
        Scale::Steps(&["none", "integrity", "confidentiality"]),
    ),
    (
        "boot.vsyscall",
        Scale::Steps(&["native", "emulate", "xonly", "none"]),
    ),
    ("boot.mitigations", Scale::Steps(&["off", "auto", "auto,nosmt"])),
    ("sysctl.dev.tty.ldisc_autoload", Scale::Down),
    ("sysctl.dev.tty.legacy_tiocsti", Scale::Down),
    ("sysctl.fs.protected_fifos", Scale::Up),
    ("sysctl.fs.protected_hardlinks", Scale::Up),
    ("sysctl.fs.protected_regular", Scale::Up),
    ("sysctl.fs.protected_symlinks", Scale::Up),
    // 2 writes dumps of set-id programs where only root reads them, 1 lets anybody have them.
    ("sysctl.fs.suid_dumpable", Scale::Steps(&["1", "2", "0"])),
    ("sysctl.kernel.dmesg_restrict", Scale::Up),
    ("sysctl.kernel.io_uring_disabled", Scale::Up),
    ("sysctl.kernel.kexec_load_disabled", Scale::Up),
    ("sysctl.kernel.kptr_restrict", Scale::Up),
    ("sysctl.kernel.perf_event_paranoid", Scale::Up),
    ("sysctl.kernel.randomize_va_space", Scale::Up),
    ("sysctl.kernel.sysrq", Scale::Steps(&["1", "0"])),
    // 2 is "off, and can be switched on again"; 1 cannot be undone before the next boot.
    (
        "sysctl.kernel.unprivileged_bpf_disabled",
        Scale::Steps(&["0", "2", "1"]),
    ),
    ("sysctl.kernel.yama.ptrace_scope", Scale::Up),
    ("sysctl.net.core.bpf_jit_harden", Scale::Up),
    ("sysctl.net.ipv4.conf.all.accept_redirects", Scale::Down),
    ("sysctl.net.ipv4.conf.all.accept_source_route", Scale::Down),
    ("sysctl.net.ipv4.conf.all.forwarding", Scale::Down),
    ("sysctl.net.ipv4.conf.all.log_martians", Scale::Up),
    // 1 is the strict reverse path check, 2 the loose one.
    (
        "sysctl.net.ipv4.conf.all.rp_filter",
        Scale::Steps(&["0", "2", "1"]),
    ),
    ("sysctl.net.ipv4.conf.all.secure_redirects", Scale::Down),
    ("sysctl.net.ipv4.conf.all.send_redirects", Scale::Down),
    ("sysctl.net.ipv4.conf.default.accept_redirects", Scale::Down),
    ("sysctl.net.ipv4.conf.default.accept_source_route", Scale::Down),
    ("sysctl.net.ipv4.conf.default.forwarding", Scale::Down),
    ("sysctl.net.ipv4.conf.default.log_martians", Scale::Up),
    (
        "sysctl.net.ipv4.conf.default.rp_filter",
        Scale::Steps(&["0", "2", "1"]),
    ),
    ("sysctl.net.ipv4.conf.default.secure_redirects", Scale::Down),
    ("sysctl.net.ipv4.conf.default.send_redirects", Scale::Down),
    ("sysctl.net.ipv4.icmp_echo_ignore_broadcasts", Scale::Up),
    ("sysctl.net.ipv4.icmp_ignore_bogus_error_responses", Scale::Up),
    ("sysctl.net.ipv4.ip_forward", Scale::Down),
    ("sysctl.net.ipv4.tcp_syncookies", Scale::Steps(&["0", "2", "1"])),
    ("sysctl.net.ipv6.conf.all.accept_ra", Scale::Down),
    ("sysctl.net.ipv6.conf.all.accept_redirects", Scale::Down),
    ("sysctl.net.ipv6.conf.all.accept_source_route", Scale::Down),
    ("sysctl.net.ipv6.conf.all.forwarding", Scale::Down),
    ("sysctl.net.ipv6.conf.default.accept_ra", Scale::Down),
    ("sysctl.net.ipv6.conf.default.accept_redirects", Scale::Down),
    ("sysctl.net.ipv6.conf.default.accept_source_route", Scale::Down),
    ("sysctl.net.ipv6.conf.default.forwarding", Scale::Down),
    ("sysctl.user.max_user_namespaces", Scale::Down),
    ("sysctl.vm.mmap_min_addr", Scale::Up),
    ("sysctl.vm.mmap_rnd_bits", Scale::Up),
    ("sysctl.vm.mmap_rnd_compat_bits", Scale::Up),
    ("sysctl.vm.unprivileged_userfaultfd", Scale::Down),
];

/// How `new` compares with `old` in strength; `None` if they cannot be compared.
pub fn compare(spec: &KeySpec, key: &KeyPath, new: &Value, old: &Value) -> Option<Ordering> {
    if new == old {
        return Some(Ordering::Equal);
    }
    match spec.order {
        Order::None => None,
        Order::Up => plain_order(new, old),
        Order::Down => plain_order(new, old).map(Ordering::reverse),
        Order::Listed => {
            let Kind::Word(words) = spec.kind else { return None };
            let rank = |value: &Value| words.iter().position(|word| value.as_text() == Some(word));
            Some(rank(new)?.cmp(&rank(old)?))
        }
        Order::Grow => {
            let (new, old) = (new.as_list()?, old.as_list()?);
            let more = old.iter().all(|item| new.contains(item));
            let less = new.iter().all(|item| old.contains(item));
            match (more, less) {
                (true, true) => Some(Ordering::Equal),
                (true, false) => Some(Ordering::Greater),
                (false, true) => Some(Ordering::Less),
                (false, false) => None,
            }
        }
        Order::ByName => scalar_order(key, new, old),
    }
}

/// The order of a sysctl, boot argument or crypto policy.
pub fn scalar_order(key: &KeyPath, new: &Value, old: &Value) -> Option<Ordering> {
    let name = format!("{}.{}", key.segment(0)?, key.segment(1)?);
    let (_, scale) = SCALES.iter().find(|(known, _)| *known == name)?;
    match scale {
        Scale::Up => plain_order(new, old),
        Scale::Down => plain_order(new, old).map(Ordering::reverse),
        Scale::Steps(steps) => {
            let rank = |value: &Value| steps.iter().position(|step| value.to_plain() == *step);
            Some(rank(new)?.cmp(&rank(old)?))
        }
    }
}

/// Numbers by size (also when written as text), `true` over `false`.
fn plain_order(new: &Value, old: &Value) -> Option<Ordering> {
    if let (Value::Bool(new), Value::Bool(old)) = (new, old) {
        return Some(new.cmp(old));
    }
    let number = |value: &Value| value.to_plain().parse::<i64>().ok();
    Some(number(new)?.cmp(&number(old)?))
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    fn check(key: &str, new: impl Into<Value>, old: impl Into<Value>, expected: Option<Ordering>) {
        let key = KeyPath::parse(key).expect("path");
        let spec = schema::find(key.segments()).expect("known key");
        let (new, old) = (new.into(), old.into());
        assert_eq!(
            compare(spec, &key, &new, &old),
            expected,
            "{key}: {new} against {old}"
        );
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn strength_follows_the_key() {
        let int = Value::Integer;
        check(
            "gate.mode",
            text("enforce"),
            text("observe"),
            Some(Ordering::Greater),
        );
        check(
            "sweep.tasks_interval_ms",
            int(500),
            int(1000),
            Some(Ordering::Greater),
        );
        check(
            "sysctl.\"kernel.kptr_restrict\".value",
            int(1),
            int(2),
            Some(Ordering::Less),
        );
        check(
            "sysctl.\"net.ipv4.conf.all.rp_filter\".value",
            int(1),
            int(2),
            Some(Ordering::Greater),
        );
        check(
            "sysctl.\"kernel.unprivileged_bpf_disabled\".value",
            int(1),
            int(2),
            Some(Ordering::Greater),
        );
        check(
            "sysctl.\"kernel.core_pattern\".value",
            text("|/bin/false"),
            text("core"),
            None,
        );
        check(
            "module.cramfs.deny",
            Value::Bool(false),
            Value::Bool(true),
            Some(Ordering::Less),
        );
        check(
            "default.exec.untrusted",
            text("kill"),
            text("deny"),
            Some(Ordering::Greater),
        );
        check("gate.max_hash_bytes", int(2 << 20), int(1 << 20), None);
        let list = |items: &[&str]| Value::List(items.iter().map(|item| text(item)).collect());
        check(
            "mount.\"/tmp\".options",
            list(&["nodev", "nosuid"]),
            list(&["nodev"]),
            Some(Ordering::Greater),
        );
        check(
            "mount.\"/tmp\".options",
            list(&["noexec"]),
            list(&["nodev"]),
            None,
        );
        check(
            "crypto.policy",
            text("FUTURE"),
            text("DEFAULT"),
            Some(Ordering::Greater),
        );
        check("crypto.policy", text("SITE"), text("DEFAULT"), None);
    }

    #[test]
    fn scales_are_sorted_into_known_sections() {
        for (name, _) in SCALES {
            let (section, rest) = name.split_once('.').expect("dotted");
            let path = match section {
                "crypto" => vec!["crypto".to_owned(), rest.to_owned()],
                _ => vec![section.to_owned(), rest.to_owned(), "value".to_owned()],
            };
            let spec = schema::find(&path).expect("known key");
            assert_eq!(spec.order, Order::ByName, "{name}");
        }
    }
}
