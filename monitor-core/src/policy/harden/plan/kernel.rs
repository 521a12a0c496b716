//! Kernel settings: sysctl, modules, command line.

use super::super::conf;
use super::super::edit::{Edit, LineEdit, Locator, matches, with_word, without_word, words};
use super::{Draft, MODPROBE_FILE, SYSCTL_FILE, State, blocked, differs, not_applicable, satisfied};
use crate::policy::value::KeyPath;

impl Draft<'_> {
    pub(super) fn sysctl(&mut self, name: &str, value: &str) -> State {
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

    pub(super) fn module(&mut self, name: &str) -> State {
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

    pub(super) fn boot(&mut self, name: &str, value: Option<&str>) -> State {
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
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
