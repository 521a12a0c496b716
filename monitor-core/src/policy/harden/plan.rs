//! Items against a host: what holds already, what does not apply, which edits are needed.

use super::Host;
use super::conf;
use super::edit::{Edit, LineEdit, Locator, matches, with_word, without_word, words};
use super::item::{Item, Want};
use crate::policy::resolve::Resolved;
use crate::policy::strength;
use crate::policy::value::{KeyPath, Value};
use serde::Serialize;
use std::cmp::Ordering;

/// Our own drop-in of sysctl.d. Its name sorts behind 99-sysctl.conf, the link to /etc/sysctl.conf.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/99-zz-hardpan.conf";
/// Our own drop-in of modprobe.d.
pub const MODPROBE_FILE: &str = "/etc/modprobe.d/hardpan.conf";
/// Our own drop-in of sshd_config.d: the first value counts, so it sorts first.
pub const SSHD_FILE: &str = "/etc/ssh/sshd_config.d/00-hardpan.conf";

/// How an item stands on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// It holds, or something stronger does.
    Satisfied {
        /// What was found.
        found: String,
    },
    /// Edits are needed.
    Differs {
        /// What was found.
        found: String,
    },
    /// It has no meaning here.
    NotApplicable {
        /// Why.
        why: String,
    },
    /// It cannot be done from here.
    Blocked {
        /// Why, and what to do.
        why: String,
    },
}

/// An item, how it stands, and what would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
    /// The edits, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
    /// What people should know besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A plan: one entry per item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The entries, by item id.
    pub entries: Vec<Entry>,
}

impl Plan {
    /// How many items need edits.
    pub fn changes(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| matches!(entry.state, State::Differs { .. }))
            .count()
    }
}

/// Plans all items.
pub fn plan(host: &dyn Host, resolved: &Resolved, items: &[Item]) -> Plan {
    Plan {
        entries: items.iter().map(|item| entry(host, resolved, item)).collect(),
    }
}

/// Plans one item.
pub fn entry(host: &dyn Host, resolved: &Resolved, item: &Item) -> Entry {
    let mut draft = Draft {
        host,
        resolved,
        edits: Vec::new(),
        notes: Vec::new(),
    };
    let state = match &item.not_applicable {
        Some(why) => State::NotApplicable { why: why.clone() },
        None => draft.state(&item.want),
    };
    if !matches!(state, State::Differs { .. }) {
        draft.edits.clear();
    }
    Entry {
        item: item.clone(),
        state,
        edits: draft.edits,
        notes: draft.notes,
    }
}

struct Draft<'h> {
    host: &'h dyn Host,
    resolved: &'h Resolved,
    edits: Vec<Edit>,
    notes: Vec<String>,
}

fn differs(found: impl Into<String>) -> State {
    State::Differs { found: found.into() }
}

fn satisfied(found: impl Into<String>) -> State {
    State::Satisfied { found: found.into() }
}

fn not_applicable(why: impl Into<String>) -> State {
    State::NotApplicable { why: why.into() }
}

fn blocked(why: impl Into<String>) -> State {
    State::Blocked { why: why.into() }
}

impl Draft<'_> {
    fn state(&mut self, want: &Want) -> State {
        match want {
            Want::Sysctl { name, value } => self.sysctl(name, value),
            Want::ModuleDenied { name } => self.module(name),
            Want::BootArgument { name, value } => self.boot(name, value.as_deref()),
            Want::ServiceMasked { unit } => self.service(unit),
            Want::SetIdReduced { path, wheel } => self.set_id(path, *wheel),
            Want::MountOptions { target, options } => self.mount(target, options),
            Want::Sshd { keyword, value } => self.sshd(keyword, value),
            Want::CryptoPolicy { policy } => self.crypto(policy),
        }
    }

    /// Whether what was found is what is wanted, or stronger and within the policy's requirements.
    fn good_enough(&self, key: &KeyPath, wanted: &str, found: &str) -> bool {
        let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
        if found == wanted {
            return true;
        }
        let value = |text: &str| {
            text.parse()
                .map_or_else(|_| Value::Text(text.to_owned()), Value::Integer)
        };
        let (wanted, found) = (value(wanted), value(&found));
        let stronger = strength::scalar_order(key, &found, &wanted) == Some(Ordering::Greater);
        stronger && self.resolved.accepts(key, &found)
    }

    fn line(&mut self, path: &str, line: LineEdit) {
        self.edits.push(Edit::Line {
            path: path.to_owned(),
            line,
        });
    }

    /// A line of one of our own files: added, or replaced where an earlier policy wrote another value.
    fn own_line(&mut self, path: &str, prefix: &str, after: &str) {
        let locator = Locator::Prefix {
            prefix: prefix.to_owned(),
        };
        let text = self.host.read(path).unwrap_or_default();
        let before = text
            .lines()
            .find(|line| matches(&locator, line))
            .map(str::to_owned);
        if before.as_deref() == Some(after) {
            return;
        }
        let after = Some(after.to_owned());
        self.line(
            path,
            LineEdit {
                locator,
                before,
                after,
                added: Vec::new(),
                removed: Vec::new(),
                separator: ' ',
            },
        );
    }

    fn sysctl(&mut self, name: &str, value: &str) -> State {
        let key = KeyPath::new(&["sysctl", name, "value"]);
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let running = if self.host.is_live() {
            let Some(text) = self.host.read(&path) else {
                return not_applicable("this kernel has no such sysctl");
            };
            Some(text.trim().to_owned())
        } else {
            None
        };
        let configured = conf::sysctl(self.host, name);
        let configured_good = configured
            .as_ref()
            .is_some_and(|found| self.good_enough(&key, value, &found.value));
        let running_good = running
            .as_ref()
            .is_none_or(|found| self.good_enough(&key, value, found));
        let mut found = Vec::new();
        if let Some(running) = &running {
            found.push(format!("running {running}"));
        }
        match &configured {
            Some(place) => found.push(format!("{} in {}:{}", place.value, place.file, place.line)),
            None => found.push("not configured".to_owned()),
        }
        let found = found.join(", ");
        if configured_good && running_good {
            return satisfied(found);
        }
        if !configured_good {
            if let Some(place) = configured.filter(|place| base_name(&place.file) > base_name(SYSCTL_FILE)) {
                return blocked(format!(
                    "{}:{} is read after {SYSCTL_FILE} and sets it to {}: change it there",
                    place.file, place.line, place.value
                ));
            }
            self.own_line(SYSCTL_FILE, &format!("{name} ="), &format!("{name} = {value}"));
        }
        if let (false, Some(before)) = (running_good, running) {
            self.edits.push(Edit::Runtime {
                name: name.to_owned(),
                before,
                after: value.to_owned(),
            });
        }
        differs(found)
    }

    fn module(&mut self, name: &str) -> State {
        let rule = conf::module(self.host, name);
        if rule.install.is_none() {
            self.own_line(
                MODPROBE_FILE,
                &format!("install {name} "),
                &format!("install {name} /bin/false"),
            );
        }
        if rule.blacklist.is_none() {
            // A prefix would also fit `blacklist usb-storage-x`; the line as a whole is looked for first.
            self.own_line(
                MODPROBE_FILE,
                &format!("blacklist {name}"),
                &format!("blacklist {name}"),
            );
        }
        let loaded = self.host.read("/proc/modules").unwrap_or_default();
        let underscored = name.replace('-', "_");
        if self.host.is_live()
            && loaded
                .lines()
                .any(|line| line.split(' ').next() == Some(&underscored))
        {
            self.notes.push(format!(
                "{name} is loaded now and stays so until the next boot or `rmmod {name}`"
            ));
        }
        match (rule.install, rule.blacklist) {
            (Some(install), Some(_)) => satisfied(format!("denied in {}:{}", install.file, install.line)),
            (Some(install), None) => differs(format!(
                "install line in {}:{}, no blacklist line",
                install.file, install.line
            )),
            (None, Some(list)) => differs(format!(
                "blacklist line in {}:{} only: modprobe {name} still works",
                list.file, list.line
            )),
            (None, None) => differs("not denied"),
        }
    }

    fn boot(&mut self, name: &str, value: Option<&str>) -> State {
        if self.host.stat("/usr/lib/bootc").is_some() || self.host.stat("/ostree").is_some() {
            return self.boot_of_image(name, value);
        }
        let word = match value {
            Some("") => Some(name.to_owned()),
            Some(value) => Some(format!("{name}={value}")),
            None => None,
        };
        let mut places = 0;
        let mut wrong = Vec::new();
        for (path, prefix) in self.boot_files() {
            let locator = Locator::Prefix { prefix };
            let text = self.host.read(&path).unwrap_or_default();
            let Some(line) = text.lines().find(|line| matches(&locator, line)) else {
                continue;
            };
            // EL 8's entries say $kernelopts, which stands in grubenv.
            if words(line, ' ', &locator).any(|word| word == "$kernelopts") {
                continue;
            }
            places += 1;
            let present: Vec<String> = words(line, ' ', &locator)
                .filter(|word| word.split('=').next() == Some(name))
                .map(str::to_owned)
                .collect();
            let last = present
                .last()
                .and_then(|word| word.split_once('=').map(|(_, value)| value.to_owned()));
            let good = match (&word, value) {
                (None, _) | (_, None) => present.is_empty(),
                (Some(word), Some(value)) => {
                    let key = KeyPath::new(&["boot", name, "value"]);
                    present.contains(word) || last.is_some_and(|found| self.good_enough(&key, value, &found))
                }
            };
            if good {
                continue;
            }
            let mut after = line.to_owned();
            for old in &present {
                after = without_word(&after, old, ' ', &locator);
            }
            if let Some(word) = &word {
                after = with_word(&after, word, ' ', &locator);
            }
            wrong.push(path.clone());
            let edit = LineEdit {
                locator,
                before: Some(line.to_owned()),
                after: Some(after),
                added: word.iter().cloned().collect(),
                removed: present,
                separator: ' ',
            };
            self.line(&path, edit);
        }
        if self.host.is_live() {
            let running = self.host.read("/proc/cmdline").unwrap_or_default();
            let here = running.split_whitespace().any(|other| match &word {
                Some(word) => other == word,
                None => other.split('=').next() == Some(name),
            });
            if here != word.is_some() {
                self.notes.push(
                    "the running kernel was booted otherwise: takes effect at the next boot".to_owned(),
                );
            }
        }
        match (places, wrong.is_empty()) {
            (0, _) => not_applicable("no boot entries below /boot/loader/entries"),
            (_, true) => satisfied(format!("{places} boot configurations")),
            (_, false) => differs(format!("missing or different in {}", wrong.join(", "))),
        }
    }

    /// Files that hold kernel arguments, and what their line starts with.
    fn boot_files(&self) -> Vec<(String, String)> {
        let mut files: Vec<(String, String)> = self
            .host
            .list("/boot/loader/entries")
            .into_iter()
            .filter(|name| name.strip_suffix(".conf").is_some())
            .map(|name| (format!("/boot/loader/entries/{name}"), "options ".to_owned()))
            .collect();
        if files.is_empty() {
            return files;
        }
        files.push(("/boot/grub2/grubenv".to_owned(), "kernelopts=".to_owned()));
        files.push(("/etc/default/grub".to_owned(), "GRUB_CMDLINE_LINUX=".to_owned()));
        files.push(("/etc/kernel/cmdline".to_owned(), String::new()));
        files
    }

    /// Image mode: arguments belong to the image, one drop-in each.
    fn boot_of_image(&mut self, name: &str, value: Option<&str>) -> State {
        let Some(value) = value else {
            return not_applicable("image mode: remove the argument where the image sets it");
        };
        let word = if value.is_empty() {
            name.to_owned()
        } else {
            format!("{name}={value}")
        };
        let directory = "/usr/lib/bootc/kargs.d";
        let quoted = format!("\"{word}\"");
        let there = self.host.list(directory).into_iter().find(|file| {
            self.host
                .read(&format!("{directory}/{file}"))
                .is_some_and(|text| text.contains(&quoted))
        });
        if let Some(file) = there {
            return satisfied(format!("in {directory}/{file}"));
        }
        if self.host.is_live() {
            return blocked("image mode: put it into the image (hardpan harden apply --root in the build)");
        }
        let path = format!("{directory}/50-hardpan-{name}.toml");
        self.own_line(&path, "kargs =", &format!("kargs = [{quoted}]"));
        differs("not in the image's kargs.d")
    }

    fn service(&mut self, unit: &str) -> State {
        let own = format!("/etc/systemd/system/{unit}");
        let link = self.host.link(&own);
        if link.as_deref() == Some("/dev/null") {
            return satisfied("masked");
        }
        let shipped = self
            .host
            .stat(&format!("/usr/lib/systemd/system/{unit}"))
            .is_some();
        if link.is_none() && self.host.stat(&own).is_some() {
            return blocked(format!(
                "{own} is a unit file of this host's own: remove or rename it first"
            ));
        }
        if !shipped && link.is_none() {
            return not_applicable("not installed");
        }
        self.edits.push(Edit::Link {
            path: own,
            before: link,
            after: "/dev/null".to_owned(),
        });
        if self.host.is_live() {
            self.notes.push(format!("if it runs now: systemctl stop {unit}"));
        }
        differs("not masked")
    }

    fn set_id(&mut self, path: &str, wheel: bool) -> State {
        let Some(stat) = self.host.stat(path).filter(|stat| stat.is_file) else {
            return not_applicable("not installed");
        };
        let special = stat.mode & 0o6000 != 0 || stat.has_capabilities;
        let shown = format!("mode {:04o}, {}:{}", stat.mode, stat.uid, stat.gid);
        if !special || stat.mode & 0o011 == 0 {
            return satisfied(shown);
        }
        let after = if wheel {
            let Some(group) = conf::group_id(self.host, "wheel") else {
                return blocked("there is no group wheel in /etc/group");
            };
            if (stat.mode & 0o7777, stat.gid) == (0o4710, group) {
                return satisfied(shown);
            }
            (0o4710, 0, group)
        } else {
            // Root still may; capabilities stay in place for that, nobody else can execute the file.
            (0o700, stat.uid, stat.gid)
        };
        let before = (stat.mode, stat.uid, stat.gid);
        self.edits.push(Edit::Mode {
            path: path.to_owned(),
            before,
            after,
        });
        self.notes.push(
            "an update of the package sets its own mode again; the daemon reports that as drift".to_owned(),
        );
        differs(shown)
    }

    fn mount(&mut self, target: &str, options: &[String]) -> State {
        let locator = Locator::Mount {
            target: target.to_owned(),
        };
        let text = self.host.read("/etc/fstab").unwrap_or_default();
        let Some(line) = text.lines().find(|line| matches(&locator, line)) else {
            return not_applicable("no entry in /etc/fstab");
        };
        let present: Vec<&str> = words(line, ',', &locator).collect();
        let missing: Vec<String> = options
            .iter()
            .filter(|option| !present.contains(&option.as_str()))
            .cloned()
            .collect();
        if missing.is_empty() {
            return satisfied(present.join(","));
        }
        let found = present.join(",");
        let mut after = line.to_owned();
        let mut removed = Vec::new();
        for option in &missing {
            // noexec and exec exclude each other.
            let opposite = option.strip_prefix("no").unwrap_or_default();
            if present.contains(&opposite) && !opposite.is_empty() {
                after = without_word(&after, opposite, ',', &locator);
                removed.push(opposite.to_owned());
            }
            after = with_word(&after, option, ',', &locator);
        }
        let before = Some(line.to_owned());
        self.line(
            "/etc/fstab",
            LineEdit {
                locator,
                before,
                after: Some(after),
                added: missing,
                removed,
                separator: ',',
            },
        );
        if self.host.is_live() {
            self.notes.push(format!(
                "takes effect at the next boot, or: mount -o remount {target}"
            ));
        }
        differs(found)
    }

    fn sshd(&mut self, keyword: &str, value: &str) -> State {
        if self.host.read("/etc/ssh/sshd_config").is_none() {
            return not_applicable("sshd is not installed");
        }
        let found = conf::sshd(self.host, keyword);
        if let Some(found) = found
            .as_ref()
            .filter(|found| found.value.eq_ignore_ascii_case(value))
        {
            return satisfied(format!("{} in {}:{}", found.value, found.file, found.line));
        }
        let line = format!("{keyword} {value}");
        if conf::sshd_has_drop_ins(self.host) {
            self.own_line(SSHD_FILE, &format!("{keyword} "), &line);
        } else {
            let edit = LineEdit {
                locator: Locator::Start,
                before: None,
                after: Some(line),
                added: Vec::new(),
                removed: Vec::new(),
                separator: ' ',
            };
            self.line("/etc/ssh/sshd_config", edit);
        }
        differs(found.map_or_else(
            || "not set: sshd's default".to_owned(),
            |found| format!("{} in {}:{}", found.value, found.file, found.line),
        ))
    }

    fn crypto(&mut self, policy: &str) -> State {
        let config = "/etc/crypto-policies/config";
        let Some(text) = self.host.read(config) else {
            return not_applicable("crypto-policies is not installed");
        };
        let current = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        let current = current.unwrap_or_default().to_owned();
        if self.good_enough(&KeyPath::new(&["crypto", "policy"]), policy, &current) {
            return satisfied(current);
        }
        let base = policy.split(':').next().unwrap_or(policy);
        if self
            .host
            .stat(&format!("/usr/share/crypto-policies/policies/{base}.pol"))
            .is_none()
        {
            return blocked(format!("this release has no crypto policy {base}"));
        }
        if self.host.is_live() {
            self.edits.push(Edit::CryptoTool {
                before: current.clone(),
                after: policy.to_owned(),
            });
            return differs(current);
        }
        if policy.contains(':') || current.contains(':') {
            return blocked("sub-policies are built by update-crypto-policies: run it in the image");
        }
        // In an image: what update-crypto-policies does for a policy without sub-policies.
        for file in [config, "/etc/crypto-policies/state/current"] {
            if self
                .host
                .read(file)
                .is_some_and(|text| text.lines().any(|line| line == current))
            {
                let edit = LineEdit {
                    locator: Locator::Prefix {
                        prefix: current.clone(),
                    },
                    before: Some(current.clone()),
                    after: Some(policy.to_owned()),
                    added: Vec::new(),
                    removed: Vec::new(),
                    separator: ' ',
                };
                self.line(file, edit);
            }
        }
        for name in self.host.list("/etc/crypto-policies/back-ends") {
            let path = format!("/etc/crypto-policies/back-ends/{name}");
            let Some(stem) = name.strip_suffix(".config") else {
                continue;
            };
            let target = format!("/usr/share/crypto-policies/{policy}/{stem}.txt");
            let before = self.host.link(&path);
            if before.is_some() && before.as_deref() != Some(&target) && self.host.stat(&target).is_some() {
                self.edits.push(Edit::Link {
                    path,
                    before,
                    after: target,
                });
            }
        }
        differs(current)
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
