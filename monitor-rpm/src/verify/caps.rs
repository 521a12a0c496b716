//! File capabilities: the text in package headers (cap_from_text(3)) and the extended attribute
//! `security.capability` (linux/capability.h, vfs_cap_data).

use std::fmt;

/// Names in the order of their numbers (linux/capability.h).
// tidy: table
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// Capabilities of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCaps {
    /// Permitted set.
    pub permitted: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Effective set as text has it; a file only has one effective bit for all.
    pub effective: u64,
}

impl FileCaps {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the text form: clauses such as `cap_net_raw,cap_net_admin=ep`, `= cap_net_raw+p`, `all=p`.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut caps = Self::default();
        for clause in text.split_ascii_whitespace() {
            let operators = clause.find(['=', '+', '-'])?;
            let (names, mut rest) = clause.split_at_checked(operators)?;
            let mask = mask(names)?;
            while let Some(operator) = rest.chars().next() {
                let flags_end = rest
                    .get(1..)?
                    .find(['=', '+', '-'])
                    .map_or(rest.len(), |at| at + 1);
                let flags = rest.get(1..flags_end)?;
                caps.apply(operator, mask, flags)?;
                rest = rest.get(flags_end..)?;
            }
        }
        Some(caps)
    }

    fn apply(&mut self, operator: char, mask: u64, flags: &str) -> Option<()> {
        if operator == '=' {
            for set in [&mut self.permitted, &mut self.inheritable, &mut self.effective] {
                *set &= !mask;
            }
        }
        for flag in flags.chars() {
            let set = match flag {
                'p' => &mut self.permitted,
                'i' => &mut self.inheritable,
                'e' => &mut self.effective,
                _ => return None,
            };
            match operator {
                '-' => *set &= !mask,
                _ => *set |= mask,
            }
        }
        Some(())
    }

    /// Reads the extended attribute, versions 1 to 3.
    pub fn from_xattr(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| -> Option<u32> {
            bytes
                .get(at * 4..at * 4 + 4)?
                .try_into()
                .ok()
                .map(u32::from_le_bytes)
        };
        let magic = word(0)?;
        let n_words = match magic >> 24 {
            1 => 1,
            2 | 3 => 2,
            _ => return None,
        };
        let mut caps = Self::default();
        for number in 0..n_words {
            caps.permitted |= u64::from(word(1 + 2 * number)?) << (32 * number);
            caps.inheritable |= u64::from(word(2 + 2 * number)?) << (32 * number);
        }
        if magic & 1 != 0 {
            caps.effective = caps.permitted | caps.inheritable;
        }
        Some(caps)
    }
}

fn mask(names: &str) -> Option<u64> {
    let all = (1_u64 << NAMES.len()) - 1;
    if names.is_empty() || names.eq_ignore_ascii_case("all") {
        return Some(all);
    }
    names.split(',').try_fold(0, |mask, name| {
        let number = match name.parse::<u32>() {
            Ok(number) if number < 64 => number,
            Ok(_) => return None,
            Err(_not_a_number) => {
                let known = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
                u32::try_from(known).ok()?
            }
        };
        Some(mask | 1_u64 << number)
    })
}

impl fmt::Display for FileCaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut first = true;
        for number in 0..64_u32 {
            let bit = 1_u64 << number;
            let flags: String = [
                (self.effective, 'e'),
                (self.inheritable, 'i'),
                (self.permitted, 'p'),
            ]
            .iter()
            .filter(|(set, _)| set & bit != 0)
            .map(|(_, flag)| *flag)
            .collect();
            if flags.is_empty() {
                continue;
            }
            let separator = if first { "" } else { " " };
            first = false;
            match NAMES.get(number as usize) {
                Some(name) => write!(f, "{separator}{name}={flags}")?,
                None => write!(f, "{separator}{number}={flags}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let check = |text: &str, expected: Option<&str>| {
            let found = FileCaps::from_text(text.as_bytes()).map(|caps| caps.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("", Some("none"));
        check("=", Some("none"));
        check(
            "= cap_net_admin,cap_net_raw+p",
            Some("cap_net_admin=p cap_net_raw=p"),
        );
        check("cap_net_raw=ep", Some("cap_net_raw=ep"));
        check("cap_net_raw+ep-e", Some("cap_net_raw=p"));
        check("CAP_SETUID,7=ei cap_setuid=p", Some("cap_setuid=p"));
        check("all=p =", Some("none"));
        check("cap_net_raw", None);
        check("cap_nonsense=p", None);
        check("cap_net_raw=x", None);
        check("64=p", None);
        check("é", None);
    }

    #[test]
    fn extended_attributes() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            let found = FileCaps::from_xattr(bytes).map(|caps| caps.to_string());
            assert_eq!(found.as_deref(), expected);
        };
        let v2 = |effective: u8, permitted: u32, inheritable: u32| {
            let mut bytes = vec![effective, 0, 0, 2];
            for word in [permitted, inheritable, 0, 0] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            bytes
        };
        check(&v2(1, 1 << 13, 0), Some("cap_net_raw=ep"));
        check(&v2(0, 1 << 13, 1 << 12), Some("cap_net_admin=i cap_net_raw=p"));
        check(
            &[&v2(1, 1 << 13, 0)[..3], &[3], &v2(1, 1 << 13, 0)[4..], &[0; 4]].concat(),
            Some("cap_net_raw=ep"),
        );
        check(&[1, 0, 0, 1, 0, 32, 0, 0, 0, 0, 0, 0], Some("cap_net_raw=ep"));
        check(&[1, 0, 0, 2, 0, 32, 0, 0], None);
        check(&[1, 0, 0, 9], None);
        check(&[], None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String, bytes: Vec<u8>) {
            FileCaps::from_text(text.as_bytes());
            FileCaps::from_xattr(&bytes);
        }
    }
}
