//! What was read from a system, as plain data. Collectors fill it; checks ask it.
//!
//! A check that asks for something nobody has read yet gets [`Stop::Missing`], and the wish is written down as a
//! [`Want`]. The caller reads what is wished for and asks the check again, so each check names its inputs in one
//! place only: where it uses them.

use super::memo::Memo;
use super::sweep::{SweepQuery, SweepResult};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One input a check needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Owner, mode and kind of a path, symbolic links followed inside the root.
    Stat(String),
    /// Content of a small text file.
    Text(String),
    /// Names in a directory.
    Dir(String),
    /// Everything below a directory down to a depth, symbolic links not followed.
    Tree(String, u8),
    /// Where a symbolic link points.
    Link(String),
    /// The installed packages.
    Packages,
    /// State of a systemd unit.
    Unit(String),
    /// Output of a run-time question.
    Output(Tool),
    /// One question to the file-system walk; all of a run share one walk.
    Sweep(SweepQuery),
}

/// Questions only a running system answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// `sshd -T`: the effective server configuration.
    Sshd,
    /// `auditctl -l`: the loaded audit rules.
    AuditRules,
    /// `auditctl -s`: audit status (enabled, backlog).
    AuditStatus,
    /// `nft list ruleset`.
    Nft,
    /// `firewall-cmd --list-all-zones`.
    Firewalld,
    /// `systemctl get-default`.
    DefaultTarget,
    /// Users that the name service knows, as passwd lines (`getent passwd`).
    Users,
    /// Processes with SELinux label and name, one per line.
    Processes,
    /// `openssl list -providers`.
    OpensslProviders,
}

impl Tool {
    /// How the question is named in evidence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sshd => "sshd -T",
            Self::AuditRules => "auditctl -l",
            Self::AuditStatus => "auditctl -s",
            Self::Nft => "nft list ruleset",
            Self::Firewalld => "firewall-cmd --list-all-zones",
            Self::DefaultTarget => "systemctl get-default",
            Self::Users => "getent passwd",
            Self::Processes => "/proc/*/attr/current",
            Self::OpensslProviders => "openssl list -providers",
        }
    }
}

/// Kind of a file-system entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Regular file.
    #[default]
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Link,
    /// Character or block device.
    Device,
    /// Socket, pipe or unknown.
    Other,
}

/// Owner, mode and kind of one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Kind of entry.
    pub kind: FileKind,
    /// Permission bits with set-id and sticky bits (mask 07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
}

/// An entry below a [`Want::Tree`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Full path as seen from the audited root.
    pub path: String,
    /// What it is.
    pub stat: Stat,
    /// Last change of the content, seconds since 1970.
    pub mtime: i64,
}

/// One installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version and release.
    pub evr: String,
    /// Vendor tag, empty if none.
    pub vendor: String,
    /// First 16 digits of the OpenPGP key id a `gpg-pubkey` entry stands for, or empty.
    pub summary: String,
}

/// State of a systemd unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// The unit file, if there is one.
    pub file: Option<String>,
    /// Linked to /dev/null.
    pub masked: bool,
    /// Something wants or requires it at boot, or a socket or timer stands for it.
    pub enabled_by: Vec<String>,
    /// `ActiveState` of the running manager; `None` when there is none to ask.
    pub active: Option<String>,
}

/// The host, as far as it is known before any check runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Machine id, empty if unknown.
    pub machine_id: String,
    /// `ID` of os-release.
    pub os_id: String,
    /// `ID_LIKE` of os-release.
    pub os_like: String,
    /// `VERSION_ID` of os-release.
    pub os_version: String,
    /// `PRETTY_NAME` of os-release.
    pub os_name: String,
    /// Machine architecture (`x86_64`, `aarch64`), empty if unknown.
    pub arch: String,
    /// Running kernel release; empty for an image.
    pub kernel: String,
}

impl Host {
    /// The EL major release, when the host is an Enterprise Linux.
    pub fn el_major(&self) -> Option<u32> {
        let el = ["rhel", "rocky", "almalinux", "centos", "ol"].contains(&self.os_id.as_str())
            || self.os_like.split_whitespace().any(|like| like == "rhel");
        if !el {
            return None;
        }
        self.os_version.split('.').next()?.parse().ok()
    }
}

/// Something that was asked of a system: the value, `None` where it does not exist, or why it could not be read.
pub type Read<T> = Result<Option<T>, String>;

/// Everything that was read from one system.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The host.
    pub host: Host,
    /// False for an image or a mounted disk: nothing is running there.
    pub live: bool,
    /// Days since 1970 when the run began.
    pub today: Option<i64>,
    /// Answers to [`Want::Stat`].
    pub stats: BTreeMap<String, Read<Stat>>,
    /// Answers to [`Want::Text`].
    pub texts: BTreeMap<String, Read<Arc<str>>>,
    /// Answers to [`Want::Dir`], sorted.
    pub dirs: BTreeMap<String, Read<Vec<String>>>,
    /// Answers to [`Want::Tree`].
    pub trees: BTreeMap<(String, u8), Read<Vec<TreeEntry>>>,
    /// Answers to [`Want::Link`].
    pub links: BTreeMap<String, Read<String>>,
    /// Answer to [`Want::Packages`].
    pub packages: Option<Result<Vec<Package>, String>>,
    /// Answers to [`Want::Unit`].
    pub units: BTreeMap<String, Result<UnitState, String>>,
    /// Answers to [`Want::Output`]; `None` where the program is not installed.
    pub outputs: BTreeMap<Tool, Read<Arc<str>>>,
    /// Answers to [`Want::Sweep`].
    pub sweeps: BTreeMap<SweepQuery, Result<SweepResult, String>>,
    /// Parsed forms of what was read.
    pub memo: Memo,
}

impl Facts {
    /// Whether an answer to this wish is there.
    pub fn has(&self, want: &Want) -> bool {
        match want {
            Want::Stat(path) => self.stats.contains_key(path),
            Want::Text(path) => self.texts.contains_key(path),
            Want::Dir(path) => self.dirs.contains_key(path),
            Want::Tree(path, depth) => self.trees.contains_key(&(path.clone(), *depth)),
            Want::Link(path) => self.links.contains_key(path),
            Want::Packages => self.packages.is_some(),
            Want::Unit(name) => self.units.contains_key(name),
            Want::Output(tool) => self.outputs.contains_key(tool),
            Want::Sweep(query) => self.sweeps.contains_key(query),
        }
    }
}

/// Why a check could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It needs inputs that have not been read yet.
    Missing,
    /// An input exists and could not be read or understood.
    Unreadable {
        /// The input.
        what: String,
        /// Why.
        why: String,
    },
    /// It asks a running system, and this is an image.
    Offline,
}

impl Stop {
    /// An input that could not be read or understood.
    pub fn unreadable(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unreadable {
            what: what.into(),
            why: why.into(),
        }
    }
}

/// A check's view of the facts; it writes down what is missing.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// The facts.
    pub facts: &'a Facts,
    wants: RefCell<BTreeSet<Want>>,
}

impl<'a> Ctx<'a> {
    /// A view with nothing wished for yet.
    pub fn new(facts: &'a Facts) -> Self {
        Self {
            facts,
            wants: RefCell::new(BTreeSet::new()),
        }
    }

    /// What has been wished for.
    pub fn into_wants(self) -> BTreeSet<Want> {
        self.wants.into_inner()
    }

    fn missing(&self, want: Want) -> Stop {
        self.wants.borrow_mut().insert(want);
        Stop::Missing
    }

    /// Asks early for inputs that will be used one after the other, so that they are read in one go.
    pub fn prefetch(&self, wants: impl IntoIterator<Item = Want>) {
        let mut missing = self.wants.borrow_mut();
        for want in wants {
            if !self.facts.has(&want) {
                missing.insert(want);
            }
        }
    }

    /// Owner, mode and kind of a path; `None` if it does not exist.
    pub fn stat(&self, path: &str) -> Result<Option<Stat>, Stop> {
        match self.facts.stats.get(path) {
            None => Err(self.missing(Want::Stat(path.to_owned()))),
            Some(Ok(stat)) => Ok(*stat),
            Some(Err(why)) => Err(Stop::unreadable(path, why)),
        }
    }

    /// Content of a file; `None` if it does not exist. Paths below /proc and /sys need a running system.
    pub fn text(&self, path: &str) -> Result<Option<&'a str>, Stop> {
        if !self.facts.live && (path.starts_with("/proc/") || path.starts_with("/sys/")) {
            return Err(Stop::Offline);
        }
        match self.facts.texts.get(path) {
            None => Err(self.missing(Want::Text(path.to_owned()))),
            Some(Ok(text)) => Ok(text.as_deref()),
            Some(Err(why)) => Err(Stop::unreadable(path, why)),
        }
    }

    /// Contents of several files, all wished for at once; those that do not exist are left out.
    pub fn texts(&self, paths: &[String]) -> Result<Vec<(String, &'a str)>, Stop> {
        self.prefetch(paths.iter().map(|path| Want::Text(path.clone())));
        let mut found = Vec::new();
        for path in paths {
            if let Some(text) = self.text(path)? {
                found.push((path.clone(), text));
            }
        }
        Ok(found)
    }

    /// Names in a directory; `None` if it does not exist.
    pub fn dir(&self, path: &str) -> Result<Option<&'a [String]>, Stop> {
        match self.facts.dirs.get(path) {
            None => Err(self.missing(Want::Dir(path.to_owned()))),
            Some(Ok(names)) => Ok(names.as_deref()),
            Some(Err(why)) => Err(Stop::unreadable(path, why)),
        }
    }

    /// Everything below a directory, down to `depth` levels; `None` if it does not exist.
    pub fn tree(&self, path: &str, depth: u8) -> Result<Option<&'a [TreeEntry]>, Stop> {
        match self.facts.trees.get(&(path.to_owned(), depth)) {
            None => Err(self.missing(Want::Tree(path.to_owned(), depth))),
            Some(Ok(entries)) => Ok(entries.as_deref()),
            Some(Err(why)) => Err(Stop::unreadable(path, why)),
        }
    }

    /// Where a symbolic link points; `None` if there is no link.
    pub fn link(&self, path: &str) -> Result<Option<&'a str>, Stop> {
        match self.facts.links.get(path) {
            None => Err(self.missing(Want::Link(path.to_owned()))),
            Some(Ok(target)) => Ok(target.as_deref()),
            Some(Err(why)) => Err(Stop::unreadable(path, why)),
        }
    }

    /// The installed packages.
    pub fn packages(&self) -> Result<&'a [Package], Stop> {
        match &self.facts.packages {
            None => Err(self.missing(Want::Packages)),
            Some(Ok(packages)) => Ok(packages),
            Some(Err(why)) => Err(Stop::unreadable("rpm database", why)),
        }
    }

    /// The installed package of that name.
    pub fn package(&self, name: &str) -> Result<Option<&'a Package>, Stop> {
        Ok(self.packages()?.iter().find(|package| package.name == name))
    }

    /// State of a unit.
    pub fn unit(&self, name: &str) -> Result<&'a UnitState, Stop> {
        match self.facts.units.get(name) {
            None => Err(self.missing(Want::Unit(name.to_owned()))),
            Some(Ok(state)) => Ok(state),
            Some(Err(why)) => Err(Stop::unreadable(name, why)),
        }
    }

    /// Answer of a running system; `None` if the program that gives it is not installed.
    pub fn output(&self, tool: Tool) -> Result<Option<&'a str>, Stop> {
        if !self.facts.live {
            return Err(Stop::Offline);
        }
        match self.facts.outputs.get(&tool) {
            None => Err(self.missing(Want::Output(tool))),
            Some(Ok(text)) => Ok(text.as_deref()),
            Some(Err(why)) => Err(Stop::unreadable(tool.name(), why)),
        }
    }

    /// Answer of the file-system walk.
    pub fn sweep(&self, query: &SweepQuery) -> Result<&'a SweepResult, Stop> {
        match self.facts.sweeps.get(query) {
            None => Err(self.missing(Want::Sweep(query.clone()))),
            Some(Ok(result)) => Ok(result),
            Some(Err(why)) => Err(Stop::unreadable("file-system walk", why)),
        }
    }

    /// Expands `*` and `?` in any component of an absolute path; plain paths come back as they are.
    pub fn glob(&self, pattern: &str) -> Result<Vec<String>, Stop> {
        let mut paths = vec![String::new()];
        for component in pattern.split('/').filter(|component| !component.is_empty()) {
            let wild = component.contains(['*', '?', '[']);
            let mut next = Vec::new();
            let mut missing = false;
            for path in &paths {
                if !wild {
                    next.push(format!("{path}/{component}"));
                    continue;
                }
                let dir = if path.is_empty() { "/" } else { path.as_str() };
                match self.dir(dir) {
                    Ok(Some(names)) => {
                        for name in names.iter().filter(|name| wildcard(component, name)) {
                            next.push(format!("{path}/{name}"));
                        }
                    }
                    Ok(None) => {}
                    Err(Stop::Missing) => missing = true,
                    Err(stop) => return Err(stop),
                }
            }
            if missing {
                return Err(Stop::Missing);
            }
            paths = next;
        }
        Ok(paths)
    }

    /// Drop-in files as systemd orders them: by name, a directory later in `dirs` replacing a file of the same name
    /// in an earlier one.
    pub fn dropins(&self, dirs: &[&str], suffix: &str) -> Result<Vec<(String, &'a str)>, Stop> {
        self.prefetch(dirs.iter().map(|dir| Want::Dir((*dir).to_owned())));
        let mut by_name: BTreeMap<&str, String> = BTreeMap::new();
        for dir in dirs {
            for name in self.dir(dir)?.unwrap_or_default() {
                if name.ends_with(suffix) && !name.starts_with('.') {
                    by_name.insert(name, format!("{dir}/{name}"));
                }
            }
        }
        let paths: Vec<String> = by_name.into_values().collect();
        self.texts(&paths)
    }
}

/// Matches one path component against a pattern of `*`, `?` and literal characters. A leading dot needs a literal dot.
pub fn wildcard(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((star_p, star_n)) => {
                    star = Some((star_p, star_n + 1));
                    p = star_p + 1;
                    n = star_n + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".a.conf", false),
            ("*.conf", "a.conf.bak", false),
            ("ssh_host_*_key", "ssh_host_rsa_key", true),
            ("ssh_host_*_key", "ssh_host_rsa_key.pub", false),
            ("a?c", "abc", true),
            ("*", "x", true),
            ("a*b*c", "aXbXbYc", true),
        ] {
            assert_eq!(wildcard(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_wish_is_written_down_once_and_answered_later() {
        let mut facts = Facts::default();
        let ctx = Ctx::new(&facts);
        assert_eq!(ctx.text("/etc/x"), Err(Stop::Missing));
        let wants = ctx.into_wants();
        assert_eq!(
            wants.into_iter().collect::<Vec<_>>(),
            [Want::Text("/etc/x".into())]
        );
        facts.texts.insert("/etc/x".into(), Ok(Some("1".into())));
        assert_eq!(Ctx::new(&facts).text("/etc/x"), Ok(Some("1")));
    }

    #[test]
    fn an_image_has_no_run_time() {
        let facts = Facts::default();
        assert_eq!(Ctx::new(&facts).text("/proc/modules"), Err(Stop::Offline));
        assert_eq!(Ctx::new(&facts).output(Tool::Sshd), Err(Stop::Offline));
    }

    #[test]
    fn later_directories_replace_files_of_the_same_name() {
        let mut facts = Facts::default();
        facts.dirs.insert(
            "/usr/lib/x.d".into(),
            Ok(Some(vec!["10-a.conf".into(), "50-b.conf".into()])),
        );
        facts.dirs.insert(
            "/etc/x.d".into(),
            Ok(Some(vec!["10-a.conf".into(), "README".into()])),
        );
        facts
            .texts
            .insert("/etc/x.d/10-a.conf".into(), Ok(Some("etc".into())));
        facts
            .texts
            .insert("/usr/lib/x.d/50-b.conf".into(), Ok(Some("usr".into())));
        let found = Ctx::new(&facts)
            .dropins(&["/usr/lib/x.d", "/etc/x.d"], ".conf")
            .unwrap();
        let texts: Vec<&str> = found.iter().map(|(_, text)| *text).collect();
        assert_eq!(texts, ["etc", "usr"]);
    }
}
