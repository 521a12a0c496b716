//! What rules and records ask of the task that waits, from `/proc`. It cannot go away but by being killed, and none of these
//! files makes the reader wait for anybody.

use hardpan_abi::{CredIds, GateConfig, GateRule, TASK_COMM_LEN, TaskInfo, gate_test};
use hardpan_core::gate::{Around, SubjectFacts};
use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

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
    status: OnceCell<Option<Status>>,
}

/// Of `/proc/TID/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    /// Process id.
    pub tgid: u32,
    parent: u32,
    /// Credentials, but for the user namespace.
    creds: CredIds,
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
            status: OnceCell::new(),
        }
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
        let (comm, start_boottime_ns) = stat(tgid);
        let (parent_comm, parent_start_boottime_ns) = stat(parent_tgid);
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
}

fn read(path: &std::path::Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_BYTES)
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
fn stat(tgid: u32) -> ([u8; TASK_COMM_LEN], u64) {
    let mut comm = [0; TASK_COMM_LEN];
    let text = read(&PathBuf::from(format!("/proc/{tgid}/stat")));
    let Some((name, rest)) = text
        .as_deref()
        .and_then(|text| text.split_once('(')?.1.rsplit_once(')'))
    else {
        return (comm, 0);
    };
    // The last byte stays NUL.
    for (to, from) in comm.iter_mut().take(TASK_COMM_LEN - 1).zip(name.bytes()) {
        *to = from;
    }
    let start = rest
        .split_whitespace()
        .nth(19)
        .and_then(|ticks| ticks.parse().ok());
    (comm, start.unwrap_or(0_u64).saturating_mul(TICK_NS))
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
    fn a_status_that_is_none() {
        assert_eq!(parse_status(""), None);
        let text = fs::read_to_string("/proc/self/status").unwrap();
        assert!(parse_status(&text).is_some());
        for line in ["Uid", "Gid", "CapEff", "Tgid"] {
            let lines: Vec<&str> = text.lines().filter(|one| !one.starts_with(line)).collect();
            let without = lines.join("\n");
            assert_eq!(parse_status(&without), None, "{line}");
            let broken = text.replace(&format!("{line}:\t"), &format!("{line}:\tx"));
            assert_eq!(parse_status(&broken), None, "{line}");
        }
    }
}
