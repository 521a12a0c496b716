//! What two generations of programs tell of both.
//!
//! A hardpand that starts beside the programs of one that was killed puts its own at their hooks one after the other. From
//! then on, until it takes the old ones down, both are run for the same events.
//!
//! - *Executions, credentials, modules*: each generation's program writes a record of every event it is run for, whatever
//!   else it knows. What happened before the new program was put there is in the old record only. What happened after that
//!   is the new generation's to tell, or to count as lost. While it was put there, nobody can tell from outside for which
//!   events it was run: an old record goes if the new generation wrote one of the same event.
//! - *The gate's alerts, findings about tasks, opened packages*: what a program tells depends on what its generation knows by
//!   then: the mode, what is trusted, which processes are package managers, what a task was before. An old record goes if
//!   the new generation wrote one of the same event, whenever that was. Refusals have none: where one program refuses, the
//!   others at the hook are not asked.

use hardpan_abi::{
    CredEvent, EventHeader, EventKind, ExecEvent, GateEvent, ModuleEvent, ObjectEvent, PackageEvent,
    TaskFindingEvent, gate_flag,
};
use std::collections::HashMap;
use zerocopy::FromBytes;

/// How far the times can lie apart that two programs at one hook note: the task can be interrupted between them, and a
/// program that was put there a moment ago can have been running before it without the new one.
const CLOSE_NS: u64 = 1_000_000_000;
/// Own records that are remembered. More than this within the seconds that count are not: old ones would be told twice.
const NOTES_MAX: usize = 1 << 16;

/// When a program was put at its hook, in nanoseconds since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Right before the call: it was not run for what happened until then.
    pub(super) before_ns: u64,
    /// Right after it: it is run for all that happens from then on.
    pub(super) after_ns: u64,
}

/// Which event a record is of; its time apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    kind: u16,
    /// Thread that caused it, or that is concerned.
    thread: u32,
    started_ns: u64,
    /// File, or other process.
    object: u64,
    /// What else tells events of a thread apart.
    what: u64,
}

/// Who tells of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Teller {
    Old,
    New,
    /// The new generation if it has a record, else the old one.
    Whoever,
}

/// What the new generation tells itself.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// By kind of event.
    spans: HashMap<u16, Span>,
    /// Times of own records, in the order in which they were taken.
    notes: HashMap<Key, Vec<u64>>,
    noted: usize,
}

impl Own {
    /// `attached` has the programs that are at their hooks, and since when.
    pub(super) fn new(attached: &[(&str, Span)]) -> Self {
        let spans = attached
            .iter()
            .filter_map(|(program, span)| Some((writes_always(program)? as u16, *span)))
            .collect();
        Self {
            spans,
            ..Self::default()
        }
    }

    /// Remembers a record of the new generation where an old one could be of the same event.
    pub(super) fn note(&mut self, record: &[u8]) {
        let Some((key, at_ns)) = read(record) else {
            return;
        };
        let counts = match self.spans.get(&key.kind) {
            Some(span) => at_ns <= span.after_ns.saturating_add(2 * CLOSE_NS),
            None => !is_told_by_all(key.kind),
        };
        if counts && self.noted < NOTES_MAX {
            self.notes.entry(key).or_default().push(at_ns);
            self.noted += 1;
        }
    }

    /// Takes out of an old generation's records what the new one tells. All that the new one wrote has been
    /// [noted](Self::note).
    pub(super) fn sort_out(&self, left: &mut Vec<Vec<u8>>) {
        let mut is_told: Vec<bool> = Vec::with_capacity(left.len());
        let mut asked: HashMap<Key, Vec<(u64, usize)>> = HashMap::new();
        for (index, record) in left.iter().enumerate() {
            // What cannot be read, the decoder counts.
            let told = read(record).is_some_and(|(key, at_ns)| match self.teller(key.kind, at_ns) {
                Teller::Old => false,
                Teller::New => true,
                Teller::Whoever => {
                    if self.notes.contains_key(&key) {
                        asked.entry(key).or_default().push((at_ns, index));
                    }
                    false
                }
            });
            is_told.push(told);
        }
        for (key, mut olds) in asked {
            let mut news = self.notes.get(&key).cloned().unwrap_or_default();
            olds.sort_unstable();
            news.sort_unstable();
            for index in with_partner(&olds, &news) {
                if let Some(told) = is_told.get_mut(index) {
                    *told = true;
                }
            }
        }
        let mut told = is_told.into_iter();
        left.retain(|_| !told.next().unwrap_or(false));
    }

    fn teller(&self, kind: u16, at_ns: u64) -> Teller {
        match self.spans.get(&kind) {
            Some(span) if at_ns < span.before_ns => Teller::Old,
            Some(span) if at_ns > span.after_ns.saturating_add(CLOSE_NS) => Teller::New,
            // The new generation's program is at no hook.
            None if is_told_by_all(kind) => Teller::Old,
            _ => Teller::Whoever,
        }
    }
}

/// Which old records have a new one of their own, both in the order of time. From the last backwards: a program that is at
/// its hook is run for all that follows, so the ones without are the first.
fn with_partner(olds: &[(u64, usize)], news: &[u64]) -> Vec<usize> {
    let mut news = news.iter().rev().peekable();
    let mut found = Vec::new();
    for (old, index) in olds.iter().rev() {
        // Of which the old generation has no record.
        while news.next_if(|new| **new > old.saturating_add(CLOSE_NS)).is_some() {}
        if news.next_if(|new| new.saturating_add(CLOSE_NS) >= *old).is_some() {
            found.push(*index);
        }
    }
    found
}

/// Which records a program writes, if it writes one each time it is run, or by nothing but the event itself.
fn writes_always(program: &str) -> Option<EventKind> {
    Some(match program {
        "exec_done" | "exec_done_raw" => EventKind::Exec,
        "cred_commit" => EventKind::Cred,
        "module_load" | "module_load_raw" => EventKind::ModuleLoad,
        "module_free" | "module_free_raw" => EventKind::ModuleFree,
        _ => return None,
    })
}

const fn is_told_by_all(kind: u16) -> bool {
    matches!(
        EventKind::from_u16(kind),
        Some(EventKind::Exec | EventKind::Cred | EventKind::ModuleLoad | EventKind::ModuleFree)
    )
}

/// Which event a record is of, and its time. `None`: it cannot be told, or only one generation has it.
fn read(record: &[u8]) -> Option<(Key, u64)> {
    let (header, _) = EventHeader::read_from_prefix(record).ok()?;
    let key = Key {
        kind: header.kind,
        thread: header.task.pid,
        started_ns: header.task.start_boottime_ns,
        object: 0,
        what: 0,
    };
    let key = match EventKind::from_u16(header.kind)? {
        EventKind::Exec => Key {
            object: part::<ExecEvent>(record)?.file.ino,
            ..key
        },
        EventKind::Cred => {
            let event = part::<CredEvent>(record)?;
            Key {
                object: u64::from(event.new.euid) << 32 | u64::from(event.new.egid),
                what: event.new.cap_effective,
                ..key
            }
        }
        EventKind::ModuleLoad | EventKind::ModuleFree => Key {
            object: part::<ModuleEvent>(record)?.file.ino,
            ..key
        },
        EventKind::Package => Key {
            object: part::<PackageEvent>(record)?.file.ino,
            ..key
        },
        EventKind::Gate => {
            let event = part::<GateEvent>(record)?;
            if event.flags & gate_flag::REFUSED != 0 {
                return None;
            }
            Key {
                object: event.file.ino,
                what: u64::from(event.kind) << 32 | u64::from(event.hook),
                ..key
            }
        }
        EventKind::Object => {
            let event = part::<ObjectEvent>(record)?;
            if event.flags & gate_flag::REFUSED != 0 {
                return None;
            }
            Key {
                object: u64::from(event.target),
                what: u64::from(event.kind) << 32 | u64::from(event.hook),
                ..key
            }
        }
        EventKind::TaskFinding => {
            let event = part::<TaskFindingEvent>(record)?;
            Key {
                thread: event.task.pid,
                started_ns: event.task.start_boottime_ns,
                what: u64::from(event.kind),
                ..key
            }
        }
    };
    Some((key, header.boottime_ns))
}

fn part<T: FromBytes>(record: &[u8]) -> Option<T> {
    T::read_from_prefix(record).ok().map(|(event, _)| event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromZeros as _, Immutable, IntoBytes};

    const SPAN: Span = Span {
        before_ns: 100 * CLOSE_NS,
        after_ns: 101 * CLOSE_NS,
    };

    fn own() -> Own {
        Own::new(&[("exec_done", SPAN), ("gate_file_open", SPAN)])
    }

    fn bytes(event: &(impl IntoBytes + Immutable)) -> Vec<u8> {
        event.as_bytes().to_vec()
    }

    fn header(kind: EventKind, thread: u32, at_ns: u64) -> EventHeader {
        let mut header = EventHeader::new_zeroed();
        header.kind = kind as u16;
        header.boottime_ns = at_ns;
        header.task.pid = thread;
        header.task.start_boottime_ns = 7;
        header
    }

    fn exec(thread: u32, ino: u64, at_ns: u64) -> Vec<u8> {
        let mut event = ExecEvent::new_zeroed();
        event.header = header(EventKind::Exec, thread, at_ns);
        event.file.ino = ino;
        bytes(&event)
    }

    fn gate(flags: u32, at_ns: u64) -> Vec<u8> {
        let mut event = GateEvent::new_zeroed();
        event.header = header(EventKind::Gate, 1, at_ns);
        event.flags = flags;
        bytes(&event)
    }

    /// What is left of old records.
    fn left(own: &Own, olds: &[&Vec<u8>]) -> Vec<Vec<u8>> {
        let mut left: Vec<Vec<u8>> = olds.iter().map(|old| (*old).clone()).collect();
        own.sort_out(&mut left);
        left
    }

    #[test]
    fn before_it_is_the_old_ones_and_after_it_the_new_ones() {
        let before = exec(1, 1, SPAN.before_ns - 1);
        let after = exec(1, 1, SPAN.after_ns + CLOSE_NS + 1);
        assert_eq!(left(&own(), &[&before, &after]), [before]);
    }

    #[test]
    fn meanwhile_it_is_whose_record_there_is() {
        let mut own = own();
        let at = SPAN.before_ns + 500;
        let (told, other_thread, other_file) = (exec(1, 1, at), exec(2, 1, at), exec(1, 2, at));
        own.note(&exec(1, 1, at + 20));
        assert_eq!(
            left(&own, &[&told, &other_thread, &other_file]),
            [other_thread, other_file]
        );
    }

    /// The program's task was interrupted before it noted the time, or the other one's.
    #[test]
    fn times_of_one_event_are_close_and_no_more() {
        let mut own = own();
        let at = SPAN.before_ns + CLOSE_NS / 2;
        own.note(&exec(1, 1, at));
        assert!(left(&own, &[&exec(1, 1, at + CLOSE_NS)]).is_empty());
        assert!(left(&own, &[&exec(1, 1, SPAN.before_ns + 1)]).is_empty());
        assert_eq!(left(&own, &[&exec(1, 1, at + CLOSE_NS + 1)]).len(), 1);
    }

    /// A shell that executes itself over and over.
    #[test]
    fn one_record_is_the_partner_of_one() {
        let mut own = own();
        let at = |n: u64| SPAN.before_ns + n * 1000;
        let olds: Vec<_> = (0..5).map(|n| exec(1, 1, at(n))).collect();
        own.note(&exec(1, 1, at(3) + 10));
        own.note(&exec(1, 1, at(4) + 10));
        let kept = left(&own, &olds.iter().collect::<Vec<_>>());
        assert_eq!(kept, olds[..3], "the program was there from the fourth on");
    }

    #[test]
    fn what_only_the_new_one_has_is_nobodys_partner() {
        let at = SPAN.after_ns;
        let olds = [(at, 0), (at + 10, 1)];
        assert_eq!(
            with_partner(&olds, &[at + 2 * CLOSE_NS, at + 3 * CLOSE_NS]),
            [0; 0]
        );
        assert_eq!(with_partner(&olds, &[at, at + 2 * CLOSE_NS]), [1]);
        assert_eq!(with_partner(&olds, &[at, at + 11]), [1, 0]);
        assert_eq!(with_partner(&[], &[at]), [0; 0]);
    }

    /// The new generation could not put its program there.
    #[test]
    fn who_sees_nothing_tells_nothing() {
        let own = Own::new(&[("exec_done_raw", SPAN)]);
        let late = SPAN.after_ns + 10 * CLOSE_NS;
        let cred = {
            let mut event = CredEvent::new_zeroed();
            event.header = header(EventKind::Cred, 1, late);
            bytes(&event)
        };
        assert_eq!(left(&own, &[&cred, &exec(1, 1, late)]), [cred]);
    }

    #[test]
    fn alerts_are_told_by_both_and_refusals_by_one() {
        let mut own = own();
        let late = SPAN.after_ns + 10 * CLOSE_NS;
        for flags in [0, gate_flag::REFUSED] {
            own.note(&gate(flags, late));
        }
        let (alert, refusal) = (gate(0, late + 5), gate(gate_flag::REFUSED, late + 5));
        let unknown_to_the_new = gate(0, late - 3 * CLOSE_NS);
        assert_eq!(
            left(&own, &[&alert, &refusal, &unknown_to_the_new]),
            [refusal, unknown_to_the_new]
        );
    }

    /// A package manager that was started before the new generation knew what one is.
    #[test]
    fn a_package_that_the_new_one_did_not_see_opened_is_told() {
        let mut own = own();
        let package = |ino, at_ns| {
            let mut event = PackageEvent::new_zeroed();
            event.header = header(EventKind::Package, 1, at_ns);
            event.file.ino = ino;
            bytes(&event)
        };
        let late = SPAN.after_ns + 10 * CLOSE_NS;
        own.note(&package(2, late));
        assert_eq!(
            left(&own, &[&package(1, late), &package(2, late)]),
            [package(1, late)]
        );
    }

    /// The sweep of one, a hook of the other: the task is the one concerned.
    #[test]
    fn findings_are_about_the_task_concerned() {
        let mut own = own();
        let finding = |finder, kind| {
            let mut event = TaskFindingEvent::new_zeroed();
            event.header = header(EventKind::TaskFinding, finder, SPAN.after_ns);
            event.task.pid = 5;
            event.kind = kind;
            bytes(&event)
        };
        own.note(&finding(9, 3));
        assert_eq!(left(&own, &[&finding(5, 3), &finding(5, 4)]), [finding(5, 4)]);
    }

    #[test]
    fn what_cannot_be_read_is_kept() {
        let mut own = own();
        let cut = exec(1, 1, SPAN.after_ns)[..200].to_vec();
        own.note(&cut);
        assert_eq!(left(&own, &[&cut, &b"short".to_vec()]).len(), 2);
    }

    #[test]
    fn notes_are_bounded() {
        let mut own = own();
        for at in 0..=NOTES_MAX {
            own.note(&exec(1, 1, at as u64));
        }
        own.note(&exec(1, 1, SPAN.after_ns + 2 * CLOSE_NS + 1));
        assert_eq!((own.noted, own.notes.len()), (NOTES_MAX, 1));
    }
}
