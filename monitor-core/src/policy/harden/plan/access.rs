//! Who may do what: services, set-id programs, mounts, sshd.

use super::super::conf;
use super::super::edit::{Edit, LineEdit, Locator, matches, with_word, without_word, words};
use super::{Draft, SSHD_FILE, State, blocked, differs, not_applicable, satisfied};

impl Draft<'_> {
    pub(super) fn service(&mut self, unit: &str) -> State {
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

    pub(super) fn set_id(&mut self, path: &str, wheel: bool) -> State {
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

    pub(super) fn mount(&mut self, target: &str, options: &[String]) -> State {
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

    pub(super) fn sshd(&mut self, keyword: &str, value: &str) -> State {
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
}
