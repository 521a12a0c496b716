//! Which setting counts: sysctl.d, modprobe.d, sshd_config and boot entries as their own programs read them.

use super::Host;

/// A setting found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// The value.
    pub value: String,
}

/// Directories of drop-ins, the most important first: a file hides one of the same name in a later directory.
const PREFIXES: [&str; 4] = ["/etc", "/run", "/usr/local/lib", "/usr/lib"];

/// The drop-ins of `NAME.d` in the order in which they are read: by base name.
pub fn drop_ins(host: &dyn Host, name: &str) -> Vec<String> {
    let mut files: Vec<(String, String)> = Vec::new();
    for prefix in PREFIXES {
        let directory = format!("{prefix}/{name}");
        for base in host.list(&directory) {
            if base.strip_suffix(".conf").is_some() && !files.iter().any(|(other, _)| *other == base) {
                let path = format!("{directory}/{base}");
                files.push((base, path));
            }
        }
    }
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

/// What `systemd-sysctl` sets a key to: the last line that names it.
pub fn sysctl(host: &dyn Host, key: &str) -> Option<Found> {
    let mut found = None;
    for file in drop_ins(host, "sysctl.d") {
        for (n, line) in host.read(&file).unwrap_or_default().lines().enumerate() {
            if let Some((name, value)) = sysctl_line(line)
                && name == key
            {
                found = Some(Found {
                    file: file.clone(),
                    line: n + 1,
                    value,
                });
            }
        }
    }
    found
}

/// `key = value`, also `-key=value` and keys with slashes.
fn sysctl_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let key = key.trim().trim_start_matches('-');
    // With a slash first, dots are dots: net/ipv4/conf/eth0.1/rp_filter.
    let dotted = match (key.find('/'), key.find('.')) {
        (Some(slash), dot) if dot.is_none_or(|dot| slash < dot) => key.replace('/', "."),
        _ => key.to_owned(),
    };
    Some((dotted, value.trim().to_owned()))
}

/// How modprobe is kept from a module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleRule {
    /// `install NAME /bin/false` and its kin.
    pub install: Option<Found>,
    /// `blacklist NAME`.
    pub blacklist: Option<Found>,
}

/// modprobe.d's word on a module; `-` and `_` are the same.
pub fn module(host: &dyn Host, name: &str) -> ModuleRule {
    let same = |other: &str| other.replace('-', "_") == name.replace('-', "_");
    let mut rule = ModuleRule::default();
    for file in drop_ins(host, "modprobe.d") {
        for (n, line) in host.read(&file).unwrap_or_default().lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let found = |value: &str| {
                Some(Found {
                    file: file.clone(),
                    line: n + 1,
                    value: value.to_owned(),
                })
            };
            match words.as_slice() {
                ["install", module, command, ..] if same(module) && is_nothing(command) => {
                    rule.install = found(command);
                }
                ["blacklist", module] if same(module) => rule.blacklist = found(module),
                _ => {}
            }
        }
    }
    rule
}

fn is_nothing(command: &str) -> bool {
    ["/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true"].contains(&command)
}

/// Files of sshd_config in reading order: the main file's Includes come where they stand; the first value counts.
pub fn sshd(host: &dyn Host, keyword: &str) -> Option<Found> {
    sshd_in(host, "/etc/ssh/sshd_config", keyword, 0)
}

fn sshd_in(host: &dyn Host, file: &str, keyword: &str, depth: usize) -> Option<Found> {
    if depth > 4 {
        return None;
    }
    let text = host.read(file)?;
    for (n, line) in text.lines().enumerate() {
        let (name, value) = sshd_line(line);
        if name.eq_ignore_ascii_case("Match") {
            // What follows holds for some connections only.
            return None;
        }
        if name.eq_ignore_ascii_case("Include") {
            let found = included(host, value)
                .into_iter()
                .find_map(|file| sshd_in(host, &file, keyword, depth + 1));
            if found.is_some() {
                return found;
            }
        }
        if name.eq_ignore_ascii_case(keyword) {
            return Some(Found {
                file: file.to_owned(),
                line: n + 1,
                value: value.to_owned(),
            });
        }
    }
    None
}

fn sshd_line(line: &str) -> (&str, &str) {
    let line = line.trim();
    if line.starts_with('#') {
        return ("", "");
    }
    let (name, value) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
    (name, value.trim())
}

/// `/etc/ssh/sshd_config.d/*.conf`, sorted; other patterns than a directory's `*SUFFIX` name one file.
fn included(host: &dyn Host, pattern: &str) -> Vec<String> {
    let pattern = if pattern.starts_with('/') {
        pattern.to_owned()
    } else {
        format!("/etc/ssh/{pattern}")
    };
    match pattern.rsplit_once("/*") {
        Some((directory, suffix)) => host
            .list(directory)
            .into_iter()
            .filter(|name| name.ends_with(suffix) && !name.starts_with('.'))
            .map(|name| format!("{directory}/{name}"))
            .collect(),
        None => vec![pattern],
    }
}

/// Whether sshd_config reads sshd_config.d (EL 9 and 10 do, EL 8 does not).
pub fn sshd_has_drop_ins(host: &dyn Host) -> bool {
    host.read("/etc/ssh/sshd_config")
        .unwrap_or_default()
        .lines()
        .any(|line| {
            let (name, value) = sshd_line(line);
            name.eq_ignore_ascii_case("Include") && value.contains("sshd_config.d/")
        })
}

/// The group id of a name in /etc/group.
pub fn group_id(host: &dyn Host, name: &str) -> Option<u32> {
    host.read("/etc/group")?.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}
