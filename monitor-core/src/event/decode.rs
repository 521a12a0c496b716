//! The way in: from a ring record to an [`Event`].

use super::{
    CredChange, Event, Exec, GateEvent, Head, ModuleAction, ModuleChange, ObjectEvent, PackageOpened, Task,
    TaskFinding,
};
use hardpan_abi::{ABI_VERSION, EventHeader, EventKind};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Why a record could not be understood. Each is counted by its [`word`](DecodeError::word).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The record ends before its head or its fixed part does.
    #[error("record of {got} bytes is shorter than the {needed} bytes its kind needs")]
    Short {
        /// Bytes needed.
        needed: usize,
        /// Bytes there are.
        got: usize,
    },
    /// The record was written by programs of another build.
    #[error("record of ABI version {version}, this build reads version {ABI_VERSION}")]
    AbiVersion {
        /// The record's version.
        version: u16,
    },
    /// No such kind.
    #[error("unknown record kind {kind}")]
    UnknownKind {
        /// The record's kind.
        kind: u16,
    },
    /// The record claims another size than it has.
    #[error("record claims {claimed} bytes and has {got}")]
    Size {
        /// Claimed size.
        claimed: u32,
        /// Bytes there are.
        got: usize,
    },
    /// A part claims to be longer than the room it has.
    #[error("{field} claims {claimed} bytes where {available} are")]
    Length {
        /// Which part.
        field: &'static str,
        /// Claimed length.
        claimed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// A number that this build gives no meaning to.
    #[error("{field} has the unknown number {number}")]
    UnknownNumber {
        /// Which field.
        field: &'static str,
        /// Its value.
        number: u64,
    },
}

impl DecodeError {
    /// All words, for counters.
    pub const WORDS: [&'static str; 6] = [
        "short",
        "abi-version",
        "unknown-kind",
        "size",
        "length",
        "unknown-number",
    ];

    /// A word per kind of error, one of [`WORDS`](Self::WORDS).
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Short { .. } => "short",
            Self::AbiVersion { .. } => "abi-version",
            Self::UnknownKind { .. } => "unknown-kind",
            Self::Size { .. } => "size",
            Self::Length { .. } => "length",
            Self::UnknownNumber { .. } => "unknown-number",
        }
    }
}

/// Decodes one ring record. Bytes behind the record's own size (the ring reserves fixed sizes) are ignored.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let (header, _) = part::<EventHeader>(bytes)?;
    // The version comes first: in another version everything behind it may mean something else.
    if header.abi_version != ABI_VERSION {
        return Err(DecodeError::AbiVersion {
            version: header.abi_version,
        });
    }
    let kind = EventKind::from_u16(header.kind).ok_or(DecodeError::UnknownKind { kind: header.kind })?;
    let record = usize::try_from(header.size_bytes)
        .ok()
        .and_then(|size| bytes.get(..size))
        .ok_or(DecodeError::Size {
            claimed: header.size_bytes,
            got: bytes.len(),
        })?;
    Ok(match kind {
        EventKind::Exec => Event::Exec(Box::new(Exec::decode(record)?)),
        EventKind::Cred => Event::Cred(Box::new(CredChange::decode(record)?)),
        EventKind::ModuleLoad => Event::Module(Box::new(ModuleChange::decode(record, ModuleAction::Load)?)),
        EventKind::ModuleFree => Event::Module(Box::new(ModuleChange::decode(record, ModuleAction::Free)?)),
        EventKind::TaskFinding => Event::Task(Box::new(TaskFinding::decode(record)?)),
        EventKind::Gate => Event::Gate(Box::new(GateEvent::decode(record)?)),
        EventKind::Object => Event::Object(Box::new(ObjectEvent::decode(record)?)),
        EventKind::Package => Event::Package(Box::new(PackageOpened::decode(record)?)),
    })
}

/// Copies the struct out of the record's beginning (records need not be aligned) and hands back the rest.
pub(super) fn part<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_short| DecodeError::Short {
        needed: size_of::<T>(),
        got: bytes.len(),
    })
}

pub(super) fn head(wire: &EventHeader) -> Head {
    Head {
        boottime_ns: wire.boottime_ns,
        cpu: wire.cpu,
        generation: wire.generation,
        task: Task::from_wire(&wire.task),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KernelDigest, SignatureState};
    use super::*;
    use crate::event::sample;
    use hardpan_abi::{CredWitness, ModuleOrigin};
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    #[track_caller]
    fn check_error(bytes: &[u8], expected: &DecodeError) {
        assert_eq!(decode(bytes).as_ref(), Err(expected));
        assert!(DecodeError::WORDS.contains(&expected.word()));
    }

    #[test]
    fn an_exec() {
        let Ok(Event::Exec(exec)) = decode(&sample::exec_bytes()) else {
            panic!("no exec")
        };
        assert_eq!(exec.path.text(), "/usr/bin/ls");
        assert_eq!(exec.argv.args.len(), 2);
        assert!(exec.path_from_kernel && exec.seen_by_lsm && !exec.no_link && !exec.argv.cut);
        assert_eq!(exec.digest, KernelDigest::Sha256([0xab; 32]));
        assert_eq!(exec.script, None);
        assert_eq!(exec.head.task.comm.text(), "ls");
        assert_eq!(exec.head.task.loginuid, Some(1000));
        assert_eq!(exec.head.task.parent.tgid, 4200);
    }

    #[test]
    fn a_credential_change() {
        let Ok(Event::Cred(cred)) = decode(&sample::cred_bytes()) else {
            panic!("no cred")
        };
        assert_eq!(
            (cred.old.euid, cred.new.euid, cred.witness),
            (1000, 0, CredWitness::SetUid)
        );
    }

    #[test]
    fn modules() {
        let Ok(Event::Module(module)) = decode(&sample::module_bytes()) else {
            panic!("no module")
        };
        assert_eq!(module.name.text(), "nf_tables");
        assert_eq!(
            (module.signature, module.origin),
            (SignatureState::Good, ModuleOrigin::Memory)
        );
        assert_eq!(module.file, None);
    }

    #[test]
    fn a_finding_about_a_task() {
        let Ok(Event::Task(finding)) = decode(sample::task_wire().as_bytes()) else {
            panic!("no finding")
        };
        assert_eq!(finding.kind, hardpan_abi::TaskFindingKind::CredEdited);
        assert_eq!(
            (finding.hook, finding.task.comm.text().as_ref()),
            ("file_open", "victim")
        );
        let check = |change: fn(&mut hardpan_abi::TaskFindingEvent), field| {
            let mut wire = sample::task_wire();
            change(&mut wire);
            check_error(wire.as_bytes(), &DecodeError::UnknownNumber { field, number: 99 });
        };
        check(|w| w.kind = 99, "kind");
        check(|w| w.hook = 99, "hook");
        check(|w| w.witness = 99, "witness");
        check(|w| w.response = 99, "response");
    }

    #[test]
    fn what_the_gate_tells() {
        let Ok(Event::Gate(event)) = decode(sample::gate_wire().as_bytes()) else {
            panic!("no event of the gate")
        };
        assert_eq!(
            event.path.map(|path| path.text().into_owned()).as_deref(),
            Some("/tmp/evil!")
        );
        assert!(event.refused && !event.doubt && event.rule.is_none());
        let check = |change: fn(&mut hardpan_abi::GateEvent), field| {
            let mut wire = sample::gate_wire();
            change(&mut wire);
            check_error(
                wire.as_bytes(),
                &DecodeError::UnknownNumber { field, number: 999 },
            );
        };
        check(|w| w.kind = 999, "kind");
        check(|w| w.class = 999, "class");
        check(|w| w.action = 999, "action");
        check(|w| w.hook = 999, "hook");
        check(|w| w.digest_state = 999, "digest_state");
        let written = |class| {
            let mut wire = sample::gate_wire();
            (wire.kind, wire.class) = (hardpan_abi::GateKind::Write as u32, class);
            decode(wire.as_bytes())
        };
        for class in hardpan_abi::WriteClass::ALL {
            let Ok(Event::Gate(event)) = written(class as u32) else {
                panic!("no write")
            };
            assert_eq!(event.written, Some(class));
        }
        // A class of files is none of writes.
        assert_eq!(
            written(hardpan_abi::GateClass::Untrusted as u32).unwrap_err(),
            DecodeError::UnknownNumber {
                field: "class",
                number: 7
            }
        );
        let Ok(Event::Object(event)) = decode(sample::object_wire().as_bytes()) else {
            panic!("no event about a module")
        };
        assert_eq!(
            (event.name.text().as_ref(), event.rule, event.refused),
            ("dccp", Some(3), true)
        );
        let check = |change: fn(&mut hardpan_abi::ObjectEvent), field, number| {
            let mut wire = sample::object_wire();
            change(&mut wire);
            check_error(wire.as_bytes(), &DecodeError::UnknownNumber { field, number });
        };
        // Files have a record of their own.
        check(|w| w.kind = 0, "kind", 0);
        check(|w| w.kind = 999, "kind", 999);
        check(|w| w.class = 0, "class", 0);
        check(|w| w.action = 999, "action", 999);
        check(|w| w.hook = 999, "hook", 999);
        check(|w| w.subject = 999, "subject", 999);
        let mut wire = sample::package_wire();
        let Ok(Event::Package(event)) = decode(wire.as_bytes()) else {
            panic!("no package")
        };
        assert_eq!(event.path.text(), "/tmp/a-1-1.rpm");
        wire.path_bytes = 257;
        let error = DecodeError::Length {
            field: "path",
            claimed: 257,
            available: 256,
        };
        check_error(wire.as_bytes(), &error);
    }

    #[test]
    fn broken_heads() {
        let good = sample::exec_bytes();
        check_error(&[], &DecodeError::Short { needed: 144, got: 0 });
        check_error(
            &good[..143],
            &DecodeError::Short {
                needed: 144,
                got: 143,
            },
        );
        let mut bytes = good.clone();
        bytes[0] = 99;
        check_error(&bytes, &DecodeError::UnknownKind { kind: 99 });
        bytes[2] = 7;
        check_error(&bytes, &DecodeError::AbiVersion { version: 7 });
        let mut bytes = good.clone();
        bytes[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        check_error(
            &bytes,
            &DecodeError::Size {
                claimed: u32::MAX,
                got: good.len(),
            },
        );
        check_error(
            &good[..good.len() - 1],
            &DecodeError::Size {
                claimed: 959,
                got: 958,
            },
        );
        let mut bytes = good;
        bytes[4..8].copy_from_slice(&200u32.to_ne_bytes());
        check_error(
            &bytes,
            &DecodeError::Short {
                needed: size_of::<hardpan_abi::ExecEvent>(),
                got: 200,
            },
        );
    }

    #[test]
    fn broken_lengths() {
        let check = |change: fn(&mut hardpan_abi::ExecEvent), expected: DecodeError| {
            let mut wire = sample::exec_wire();
            change(&mut wire);
            check_error(&sample::exec_record(wire, b"ls\0-l\0\0"), &expected);
        };
        check(
            |w| w.path_bytes = 257,
            DecodeError::Length {
                field: "path",
                claimed: 257,
                available: 256,
            },
        );
        check(
            |w| w.argv_bytes = 8,
            DecodeError::Length {
                field: "argv",
                claimed: 8,
                available: 7,
            },
        );
        check(
            |w| w.argv_bytes = u32::MAX,
            DecodeError::Length {
                field: "argv",
                claimed: u32::MAX as usize,
                available: 7,
            },
        );
        check(
            |w| w.digest_state = 9,
            DecodeError::UnknownNumber {
                field: "digest_state",
                number: 9,
            },
        );
    }

    #[test]
    fn a_cut_argument_area_keeps_its_true_length() {
        let mut wire = sample::exec_wire();
        wire.argv_bytes = 4;
        wire.argv_total_bytes = 100_000;
        let Ok(Event::Exec(exec)) = decode(&sample::exec_record(wire, b"ls\0-")) else {
            panic!("no exec")
        };
        assert!(exec.argv.cut);
        assert_eq!((exec.argv.total_bytes, exec.argv.args.len()), (100_000, 2));
    }

    #[test]
    fn a_digest_of_zeros_is_no_digest() {
        let mut wire = sample::exec_wire();
        wire.digest = [0; 32];
        let Ok(Event::Exec(exec)) = decode(&sample::exec_record(wire, b"")) else {
            panic!("no exec")
        };
        assert_eq!(exec.digest.sha256(), None);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
            // Whatever comes, an answer comes back.
            let answered = match decode(&bytes) { Ok(event) => event.head().cpu.to_string(), Err(e) => e.to_string() };
            prop_assert!(!answered.is_empty());
        }

        #[test]
        fn any_change_of_a_good_record(
            which in 0..6usize,
            changes in prop::collection::vec((0..700usize, any::<u8>()), 0..8),
            cut in 0..700usize,
        ) {
            let mut bytes = [
                sample::exec_bytes(),
                sample::cred_bytes(),
                sample::module_bytes(),
                sample::task_wire().as_bytes().to_vec(),
                sample::gate_wire().as_bytes().to_vec(),
                sample::package_wire().as_bytes().to_vec(),
            ][which]
                .clone();
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            bytes.truncate(bytes.len().saturating_sub(cut % 16));
            if let Ok(Event::Exec(exec)) = decode(&bytes) {
                let carried: usize = exec.argv.args.iter().map(|a| a.as_bytes().len() + 1).sum();
                prop_assert!(carried <= bytes.len());
            }
        }
    }
}
