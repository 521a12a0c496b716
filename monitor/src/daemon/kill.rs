//! Ends a process that the policy says must not run, where the kernel could not refuse it: rules that need user space,
//! and tier C.

use crate::enrich::Proc;
use hardpan_core::event::ProcessKey;
use hardpan_core::record::Killed;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// Kills the process if it is still the one that was judged. Never init, never this daemon.
pub(super) fn kill(proc: &Proc, process: ProcessKey) -> Killed {
    if process.tgid <= 1 {
        return Killed::Refused("init is never killed");
    }
    if process.tgid == std::process::id() {
        return Killed::Refused("hardpand does not kill itself");
    }
    if process.start_boottime_ns.is_none() {
        return Killed::Refused("its start time is not known: its process id could be another's by now");
    }
    let Some(pid) = i32::try_from(process.tgid).ok().and_then(Pid::from_raw) else {
        return Killed::Gone;
    };
    // The descriptor first: what is compared afterwards is what it stands for.
    let held = pidfd_open(pid, PidfdFlags::empty());
    if !proc.is_same(process) {
        return Killed::Gone;
    }
    let sent = match held {
        Ok(held) => pidfd_send_signal(held, Signal::KILL),
        // Kernels of EL 8 have no such descriptors. Between the comparison and this the process could end and its id be
        // used again, which takes a whole round of process ids.
        Err(Errno::NOSYS) => kill_process(pid, Signal::KILL),
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) => Killed::Done,
        Err(Errno::SRCH) => Killed::Gone,
        Err(error) => Killed::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;
    use std::process::Command;

    fn start_of(pid: u32) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks: u64 = rest.split_whitespace().nth(19).unwrap().parse().unwrap();
        ticks * 10_000_000
    }

    #[test]
    fn only_the_process_that_was_meant_is_killed() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let proc = Proc::below(Path::new("/"));
        let key = ProcessKey {
            tgid: child.id(),
            start_boottime_ns: Some(start_of(child.id())),
        };
        let another = ProcessKey {
            start_boottime_ns: Some(1),
            ..key
        };
        assert_eq!(kill(&proc, another), Killed::Gone);
        assert!(child.try_wait().unwrap().is_none(), "another process of that id");
        assert_eq!(kill(&proc, key), Killed::Done);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(kill(&proc, key), Killed::Gone);
        let init = ProcessKey {
            tgid: 1,
            start_boottime_ns: None,
        };
        assert_eq!(kill(&proc, init), Killed::Refused("init is never killed"));
    }
}
