//! What rules and records ask of the task that waits, from `/proc`. It cannot go away but by being killed, and none of these
//! files makes the reader wait for anybody.

use super::transaction::Transactions;
use hardpan_abi::{CredIds, FileId, GateConfig, GateRule, TASK_COMM_LEN, TaskInfo, gate_test};
use hardpan_core::gate::{Around, SubjectFacts};
use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Most that is read of one of these files.
const MAX_BYTES: u64 = 16 << 10;
/// A tick of the clock that start times are counted in (USER_HZ is 100 on all architectures that EL has).
const TICK_NS: u64 = 10_000_000;

/// The task that waits, and the file that it is about to execute.
#[derive(Debug)]
pub(super) struct Waiting<'t> {
    tid: u32,
    file: &'t File,
    config: &'t GateConfig,
    rules: &'t [GateRule],
    /// Device and inode of the host's root directory, as `stat` tells them.
    root: (u64, u64),
    /// What is being installed, and until when that may be looked up.
    installed: Option<(&'t Transactions, Instant)>,
    status: OnceCell<Option<Status>>,
}

/// Of `/proc/TID/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    /// Process id.
    pub tgid: u32,
    parent: u32,
    /// Process id of who traces it; 0: nobody.
    tracer: u32,
    /// Credentials, but for the user namespace.
    creds: CredIds,
}

impl Status {
    /// Nobody traces it, and its ids are root's.
    pub(super) const fn is_free_root(&self) -> bool {
        self.tracer == 0 && self.creds.uid == 0 && self.creds.euid == 0
    }
}

/// Of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    comm: [u8; TASK_COMM_LEN],
    /// When it began, in nanoseconds since boot.
    pub start_ns: u64,
    /// Where its stack begins: another place after each execution.
    pub stack: u64,
}

impl<'t> Waiting<'t> {
    pub(super) const fn new(
        tid: u32,
        file: &'t File,
        (config, rules): (&'t GateConfig, &'t [GateRule]),
        root: (u64, u64),
    ) -> Self {
        Self {
            tid,
            file,
            config,
            rules,
            root,
            installed: None,
            status: OnceCell::new(),
        }
    }

    /// What packages that are being installed list is trusted, too.
    pub(super) const fn during(mut self, installed: (&'t Transactions, Instant)) -> Self {
        self.installed = Some(installed);
        self
    }

    pub(super) const fn file(&self) -> &'t File {
        self.file
    }

    /// Whether it is real root in the user namespace that hardpand is in, and nobody traces it.
    pub(super) fn is_free_root(&self) -> bool {
        self.status().is_some_and(|status| status.is_free_root())
            && self.namespace("user") == Some(self.config.init_user_ns)
    }

    fn place(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.tid))
    }

    /// Read once.
    pub(super) fn status(&self) -> Option<Status> {
        let read = || read(&self.place("status")).as_deref().and_then(parse_status);
        *self.status.get_or_init(read)
    }

    /// Path of the file as this process sees it.
    pub(super) fn path(&self) -> Option<Vec<u8>> {
        let link = fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()?;
        let path = link.into_os_string().into_vec();
        path.starts_with(b"/").then_some(path)
    }

    fn namespace(&self, name: &str) -> Option<u32> {
        namespace_number(fs::read_link(self.place(&format!("ns/{name}"))).ok()?.to_str()?)
    }

    /// Id of its cgroup in the unified hierarchy.
    fn cgroup(&self) -> Option<u64> {
        let text = read(&self.place("cgroup"))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let meta = fs::metadata(PathBuf::from("/sys/fs/cgroup").join(path)).ok()?;
        Some(meta.ino())
    }

    fn number(&self, what: &str) -> Option<u32> {
        read(&self.place(what))?.trim().parse().ok()
    }

    /// Who it is, for the record; what cannot be told is left out.
    pub(super) fn describe(&self) -> (TaskInfo, CredIds) {
        let status = self.status();
        let tgid = status.map_or(self.tid, |status| status.tgid);
        let parent_tgid = status.map_or(0, |status| status.parent);
        let (comm, start_boottime_ns) = name_and_start(tgid);
        let (parent_comm, parent_start_boottime_ns) = name_and_start(parent_tgid);
        let task = TaskInfo {
            start_boottime_ns,
            cgroup_id: self.cgroup().unwrap_or_default(),
            pid: self.tid,
            tgid,
            parent_tgid,
            loginuid: self.number("loginuid").unwrap_or(u32::MAX),
            sessionid: self.number("sessionid").unwrap_or(u32::MAX),
            pid_ns: self.namespace("pid").unwrap_or_default(),
            mnt_ns: self.namespace("mnt").unwrap_or_default(),
            reserved: 0,
            comm,
            parent_comm,
            parent_start_boottime_ns,
            // Its path is read from /proc while the task waits for its answer.
            exe: FileId::UNKNOWN,
            parent_exe: FileId::UNKNOWN,
        };
        let creds = CredIds {
            user_ns: self.namespace("user").unwrap_or_default(),
            ..status.map_or(CredIds::EMPTY, |status| status.creds)
        };
        (task, creds)
    }
}

impl Around for Waiting<'_> {
    fn subject(&mut self) -> Option<SubjectFacts> {
        let creds = self.status()?.creds;
        let asks = |test: u32| self.rules.iter().any(|rule| rule.tests & test != 0);
        // What no rule asks for is not looked up.
        let cgroup = if asks(gate_test::CGROUP) {
            self.cgroup()?
        } else {
            0
        };
        let loginuid = if asks(gate_test::LOGINUID) {
            // A kernel without audit has none, and nobody is logged in.
            self.number("loginuid").unwrap_or(u32::MAX)
        } else {
            u32::MAX
        };
        let container = if asks(gate_test::CONTAINER) {
            self.container()?
        } else {
            false
        };
        Some(SubjectFacts {
            euid: creds.euid,
            egid: creds.egid,
            loginuid,
            capabilities: creds.cap_effective,
            cgroup,
            container,
        })
    }

    fn container(&mut self) -> Option<bool> {
        // The one that its children are in: the kernel side asks for the same.
        let pid_ns = self
            .namespace("pid_for_children")
            .or_else(|| self.namespace("pid"))?;
        let user_ns = self.namespace("user")?;
        Some(pid_ns != self.config.init_pid_ns && user_ns == self.config.init_user_ns)
    }

    fn host_path(&mut self) -> Option<Vec<u8>> {
        let root = fs::metadata(self.place("root")).ok()?;
        ((root.dev(), root.ino()) == self.root)
            .then(|| self.path())
            .flatten()
    }

    fn is_being_installed(&mut self, sha256: &[u8; 32]) -> bool {
        self.installed
            .is_some_and(|(packages, until)| packages.list(sha256, until))
    }
}

fn read(path: &Path) -> Option<String> {
    read_most(path, MAX_BYTES)
}

/// The beginning of a file.
pub(in crate::gate) fn read_most(path: &Path, most_bytes: u64) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(most_bytes)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `pid:[4026531836]`
fn namespace_number(link: &str) -> Option<u32> {
    link.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

fn parse_status(text: &str) -> Option<Status> {
    // The first line holds the command's name, in which the kernel escapes the end of a line.
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let ids = |name: &str| -> Option<[u32; 4]> {
        let ids: Vec<u32> = value(name)?
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        ids.try_into().ok()
    };
    let mask = |name: &str| u64::from_str_radix(value(name)?, 16).ok();
    let (user, group) = (ids("Uid")?, ids("Gid")?);
    Some(Status {
        tgid: value("Tgid")?.parse().ok()?,
        parent: value("PPid")?.parse().ok()?,
        tracer: value("TracerPid")?.parse().ok()?,
        creds: CredIds {
            uid: user[0],
            euid: user[1],
            suid: user[2],
            fsuid: user[3],
            gid: group[0],
            egid: group[1],
            sgid: group[2],
            fsgid: group[3],
            cap_inheritable: mask("CapInh")?,
            cap_permitted: mask("CapPrm")?,
            cap_effective: mask("CapEff")?,
            cap_bset: mask("CapBnd")?,
            cap_ambient: mask("CapAmb").unwrap_or_default(),
            ..CredIds::EMPTY
        },
    })
}

/// Command name and start of a process; zero if they cannot be told.
fn name_and_start(tgid: u32) -> ([u8; TASK_COMM_LEN], u64) {
    stat(tgid).map_or(([0; TASK_COMM_LEN], 0), |stat| (stat.comm, stat.start_ns))
}

/// `None`: there is no such process.
pub(super) fn stat(tgid: u32) -> Option<Stat> {
    parse_stat(&read(&PathBuf::from(format!("/proc/{tgid}/stat")))?)
}

/// The command's name may hold anything, but what follows it holds no parenthesis.
fn parse_stat(text: &str) -> Option<Stat> {
    let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
    let mut comm = [0; TASK_COMM_LEN];
    // The last byte stays NUL.
    for (to, from) in comm.iter_mut().take(TASK_COMM_LEN - 1).zip(name.bytes()) {
        *to = from;
    }
    let mut fields = rest.split_whitespace();
    let ticks: u64 = fields.nth(19)?.parse().ok()?;
    let stack = fields.nth(5)?.parse().ok()?;
    Some(Stat {
        comm,
        start_ns: ticks.saturating_mul(TICK_NS),
        stack,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros as _;

    #[test]
    fn this_process_is_told() {
        let file = File::open("/proc/self/exe").unwrap();
        let link = |name: &str| {
            let link = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            namespace_number(link.to_str().unwrap()).unwrap()
        };
        let mut config = GateConfig::new_zeroed();
        (config.init_pid_ns, config.init_user_ns) = (link("pid"), link("user"));
        let root = fs::metadata("/").unwrap();
        let rules = [GateRule {
            tests: gate_test::CONTAINER | gate_test::LOGINUID,
            ..GateRule::default()
        }];
        let at = (root.dev(), root.ino());
        let mut waiting = Waiting::new(std::process::id(), &file, (&config, &rules), at);
        assert_eq!(waiting.container(), Some(false));
        let subject = waiting.subject().unwrap();
        assert_eq!(subject.euid, nix::unistd::geteuid().as_raw());
        let exe = fs::read_link("/proc/self/exe").unwrap();
        assert_eq!(waiting.host_path(), Some(exe.into_os_string().into_vec()));
        let (task, creds) = waiting.describe();
        assert_eq!(
            (task.tgid, creds.user_ns),
            (std::process::id(), config.init_user_ns)
        );
        assert!(task.start_boottime_ns > 0 && task.parent_tgid > 0 && task.comm[0] != 0);
        config.init_pid_ns += 1;
        let mut inside = Waiting::new(std::process::id(), &file, (&config, &rules), (0, 0));
        assert_eq!((inside.container(), inside.host_path()), (Some(true), None));
        let mut gone = Waiting::new(u32::MAX, &file, (&config, &rules), at);
        assert_eq!((gone.subject(), gone.container()), (None, None));
    }

    #[test]
    fn a_name_forges_nothing_of_what_stands_behind_it() {
        let stat = parse_stat(
            "1 (a) S 9 9) S 3 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2 18446744073709551615 10 11 12 13",
        );
        let stat = stat.unwrap();
        assert_eq!((stat.start_ns, stat.stack), (7_770_000_000, 12));
        assert_eq!(&stat.comm[..8], b"a) S 9 9");
        for text in [
            "",
            "1 (x",
            "1 (x) S",
            "1 (x) S 3 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 y 1 2 3 4 5 6",
        ] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
        let own = super::stat(std::process::id()).unwrap();
        assert!(own.stack > 0 && own.start_ns > 0);
    }

    #[test]
    fn a_status_that_is_none() {
        assert_eq!(parse_status(""), None);
        let text = fs::read_to_string("/proc/self/status").unwrap();
        assert!(parse_status(&text).is_some());
        for line in ["Uid", "Gid", "CapEff", "Tgid", "TracerPid"] {
            let lines: Vec<&str> = text.lines().filter(|one| !one.starts_with(line)).collect();
            let without = lines.join("\n");
            assert_eq!(parse_status(&without), None, "{line}");
            let broken = text.replace(&format!("{line}:\t"), &format!("{line}:\tx"));
            assert_eq!(parse_status(&broken), None, "{line}");
        }
    }
}
