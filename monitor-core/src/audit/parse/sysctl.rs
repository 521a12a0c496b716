//! sysctl.d files: what systemd-sysctl sets at boot.

use super::super::facts::wildcard;

/// The value that wins for a key, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Value as written.
    pub value: String,
    /// `path:line`.
    pub place: String,
}

/// Directories in the order of their weight: a file in a later one replaces one of the same name in an earlier one.
pub const DIRS: [&str; 4] = [
    "/usr/lib/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/run/sysctl.d",
    "/etc/sysctl.d",
];

/// Finds the value of a key in files already in boot order.
///
/// A plain key beats a pattern wherever it stands, and a key excluded by `-key` without a value is left alone by
/// patterns (systemd-sysctl's rules).
pub fn configured(files: &[(String, &str)], key: &str) -> Option<Configured> {
    let wanted = normalise(key);
    let mut plain = None;
    let mut pattern = None;
    let mut excluded = false;
    for (path, text) in files {
        for (index, raw) in text.lines().enumerate() {
            let line = raw.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                if let Some(name) = line.strip_prefix('-') {
                    excluded |= normalise(name.trim()) == wanted;
                }
                continue;
            };
            let name = normalise(name.trim().trim_start_matches('-').trim());
            let found = Configured {
                value: value.trim().to_owned(),
                place: format!("{path}:{}", index + 1),
            };
            if name == wanted {
                plain = Some(found);
            } else if name.contains(['*', '?']) && matches_pattern(&name, &wanted) {
                pattern = Some(found);
            }
        }
    }
    plain.or(if excluded { None } else { pattern })
}

/// Slashes for dots, unless the first separator is a slash already (sysctl.d(5)).
fn normalise(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.get(at..).is_some_and(|rest| rest.starts_with('/')) => key.to_owned(),
        _ => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
    }
}

fn matches_pattern(pattern: &str, key: &str) -> bool {
    let (pattern, key): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), key.split('/').collect());
    pattern.len() == key.len() && pattern.iter().zip(key).all(|(p, k)| wildcard(p, k))
}

/// The file below /proc/sys that holds a key.
pub fn proc_path(key: &str) -> String {
    format!("/proc/sys/{}", normalise(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], key: &str, expected: Option<(&str, &str)>) {
        let files: Vec<(String, &str)> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), *text))
            .collect();
        let found = configured(&files, key);
        let found = found.as_ref().map(|c| (c.value.as_str(), c.place.as_str()));
        assert_eq!(found, expected, "{key}");
    }

    #[test]
    fn last_file_wins_and_plain_keys_beat_patterns() {
        let files = [
            ("10", "kernel.dmesg_restrict = 0\nnet.ipv4.conf.all.rp_filter=1"),
            (
                "50",
                "net.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.promote_secondaries\nnet/ipv4/conf/*/promote_secondaries=1",
            ),
            ("99", "-kernel/dmesg_restrict=1"),
        ];
        check(&files, "kernel.dmesg_restrict", Some(("1", "99:1")));
        check(&files, "net.ipv4.conf.all.rp_filter", Some(("1", "10:2")));
        check(&files, "net.ipv4.conf.default.rp_filter", Some(("2", "50:1")));
        check(&files, "net.ipv4.conf.all.promote_secondaries", None);
        check(
            &files,
            "net.ipv4.conf.default.promote_secondaries",
            Some(("1", "50:3")),
        );
        check(&files, "kernel.sysrq", None);
    }

    #[test]
    fn interface_names_may_hold_dots() {
        assert_eq!(
            proc_path("net/ipv4/conf/eth0.100/rp_filter"),
            "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"
        );
        assert_eq!(proc_path("kernel.sysrq"), "/proc/sys/kernel/sysrq");
    }
}
