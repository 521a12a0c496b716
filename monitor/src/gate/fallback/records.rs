//! What a process that refuses tells the daemon, in the form in which the kernel's programs write their records: the daemon
//! reads both alike. Nobody waits for room; what finds none is counted.

use super::channel::{self, Kind};
use super::task::Waiting;
use crate::enrich::clock::boottime_ns;
use hardpan_abi::{
    ABI_VERSION, DigestState, EXEC_PATH_LEN, EventHeader, EventKind, FileInfo, GateEvent, GateHook,
    PackageEvent, TaskInfo, gate_flag,
};
use hardpan_core::gate::{Asked, Content, Verdict};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use zerocopy::FromZeros as _;

/// The way of records to the daemon.
#[derive(Debug)]
pub(super) struct Records {
    socket: OwnedFd,
    /// Records that found no room since the last one that did.
    lost: u64,
}

impl Records {
    pub(super) const fn new(socket: OwnedFd) -> Self {
        Self { socket, lost: 0 }
    }

    /// Another way, which counts for itself.
    pub(super) fn another(&self) -> io::Result<Self> {
        Ok(Self::new(self.socket.try_clone()?))
    }

    /// Whether some are owed.
    pub(super) const fn owes(&self) -> bool {
        self.lost > 0
    }

    pub(super) fn send(&mut self, record: &[u8]) {
        let body = [&self.lost.to_ne_bytes(), record].concat();
        if channel::send(self.socket.as_fd(), Kind::Record, &body, &[]).is_ok() {
            self.lost = 0;
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Tells what is owed as soon as there is room.
    pub(super) fn tell_lost(&mut self) {
        if self.lost > 0
            && channel::send(self.socket.as_fd(), Kind::Record, &self.lost.to_ne_bytes(), &[]).is_ok()
        {
            self.lost = 0;
        }
    }
}

/// What was judged.
pub(super) fn judged(
    asked: &Asked<'_>,
    verdict: &Verdict,
    is_cached: bool,
    waiting: &Waiting<'_>,
) -> GateEvent {
    let mut record = GateEvent::new_zeroed();
    let (task, creds) = waiting.describe();
    record.header = header(EventKind::Gate, size_of::<GateEvent>(), asked.now_ns, task);
    record.creds = creds;
    record.file = *asked.file;
    record.digest_state = match asked.content {
        Content::Sha256(digest) => {
            record.digest = digest;
            DigestState::Sha256 as u32
        }
        Content::NotHashed => DigestState::NotTried as u32,
        Content::Doubt => DigestState::Writers as u32,
    };
    record.kind = asked.kind as u32;
    record.class = verdict.class as u32;
    record.action = verdict.action as u32;
    record.hook = GateHook::OpenExecPerm as u32;
    record.rule = verdict.rule;
    record.flags = verdict.flags;
    if is_cached {
        record.flags |= gate_flag::DIGEST_CACHED;
    }
    record.path_bytes = put_path(&mut record.path, waiting);
    if record.path_bytes > 0 {
        record.flags |= gate_flag::PATH_FROM_KERNEL;
    }
    record
}

/// A package that a package manager, the task, opened.
pub(super) fn opened(file: &FileInfo, by: &Waiting<'_>) -> PackageEvent {
    let mut record = PackageEvent::new_zeroed();
    let (task, creds) = by.describe();
    let now_ns = boottime_ns().unwrap_or_default();
    record.header = header(EventKind::Package, size_of::<PackageEvent>(), now_ns, task);
    record.creds = creds;
    record.file = *file;
    record.path_bytes = put_path(&mut record.path, by);
    record
}

fn header(kind: EventKind, size: usize, boottime_ns: u64, task: TaskInfo) -> EventHeader {
    EventHeader {
        kind: kind as u16,
        abi_version: ABI_VERSION,
        size_bytes: u32::try_from(size).unwrap_or_default(),
        boottime_ns,
        cpu: 0,
        generation: 0,
        task,
    }
}

/// How many bytes of it are used. A path that does not fit is none, as in the kernel.
fn put_path(room: &mut [u8; EXEC_PATH_LEN], waiting: &Waiting<'_>) -> u32 {
    let path = waiting.path().filter(|path| path.len() < EXEC_PATH_LEN);
    if let Some(path) = path
        && let Some(room) = room.get_mut(..path.len())
    {
        room.copy_from_slice(&path);
        return u32::try_from(path.len()).unwrap_or_default();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::super::channel;
    use super::*;
    use crate::enrich::identity::file_info;
    use hardpan_abi::{GateAction, GateClass, GateKind};
    use hardpan_core::event::{Event, decode};
    use nix::sys::stat::fstat;
    use std::fs::File;
    use zerocopy::IntoBytes as _;

    #[test]
    fn a_record_is_one_that_the_daemon_knows() {
        let file = File::open("/proc/self/exe").unwrap();
        let stat = fstat(&file).unwrap();
        let info = file_info(&stat, 0xef53);
        let config = hardpan_abi::GateConfig::new_zeroed();
        let waiting = Waiting::new(std::process::id(), &file, (&config, &[]), (0, 0));
        let asked = Asked {
            kind: GateKind::Script,
            file: &info,
            content: Content::Sha256([7; 32]),
            now_ns: 5,
        };
        let verdict = Verdict {
            action: GateAction::Deny,
            class: GateClass::Untrusted,
            rule: hardpan_abi::GATE_NO_RULE,
            flags: gate_flag::REFUSED,
            refused: true,
            told: true,
        };
        let bytes = judged(&asked, &verdict, true, &waiting);
        let Ok(Event::Gate(event)) = decode(bytes.as_bytes()) else {
            panic!("no record of the gate");
        };
        assert_eq!((event.kind, event.hook.name()), (GateKind::Script, "fanotify"));
        assert!(event.refused && event.digest_cached && !event.doubt);
        assert_eq!(
            (event.digest.sha256(), event.head.boottime_ns),
            (Some(&[7; 32]), 5)
        );
        assert_eq!(event.head.task.process.tgid, std::process::id());
        let exe = std::fs::read_link("/proc/self/exe").unwrap();
        let path = event.path.map(|path| path.as_bytes().to_vec());
        assert!(path.is_none_or(|path| path == exe.as_os_str().as_encoded_bytes()));
        let Ok(Event::Package(event)) = decode(opened(&info, &waiting).as_bytes()) else {
            panic!("no record of a package");
        };
        assert_eq!(event.file.ino, info.ino);
        assert_eq!(event.head.task.process.tgid, std::process::id());
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (here, there) = channel::pair().unwrap();
        let mut records = Records::new(here);
        let mut sent = 0_u64;
        while records.lost == 0 {
            records.send(&[0; 800]);
            sent += 1;
        }
        records.send(&[0; 800]);
        sent += 1;
        records.tell_lost();
        let (mut taken, mut lost) = (0_u64, 0_u64);
        let mut take = |body: Vec<u8>| {
            let (head, rest) = body.split_first_chunk::<8>().unwrap();
            lost += u64::from_ne_bytes(*head);
            taken += u64::from(!rest.is_empty());
        };
        channel::drain(&there, &mut take);
        records.tell_lost();
        channel::drain(&there, &mut take);
        assert_eq!((taken + lost, lost, records.lost), (sent, 2, 0));
    }
}
