//! The verdict on what is about to be executed: what the kernel side's `ask` says of the same content, from the same table.

use super::rules::{SubjectFacts, first_rule};
use super::table::Table;
use hardpan_abi::{
    FileInfo, GATE_HASH_ALWAYS_BYTES, GATE_HASH_SIGNED_BYTES, GATE_NO_RULE, GateAction, GateClass, GateKind,
    GateMode, content_can_change_at_will, gate_flag, trusted_mark,
};

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_EXEC: u32 = 0o010;
const MODE_TYPE: u32 = 0o170_000;
const MODE_REGULAR: u32 = 0o100_000;

/// What is known of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Its digest, taken while nobody could write.
    Sha256([u8; 32]),
    /// It is of a kind that is not hashed: nobody vouches for it.
    NotHashed,
    /// It could not be had.
    Doubt,
}

/// Why a file is not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNot {
    /// It is no regular file, or of a file system whose server changes it at will.
    Kind,
    /// No signed file has its size, and it is large; or it is larger than anything that is hashed.
    Size,
}

/// Whether this file is judged by its content; the kernel side asks the same.
pub fn way(table: &Table, file: &FileInfo) -> Result<(), WhyNot> {
    if file.mode & MODE_TYPE != MODE_REGULAR || content_can_change_at_will(file.fs_magic) {
        return Err(WhyNot::Kind);
    }
    let large = file.size_bytes > GATE_HASH_ALWAYS_BYTES && !table.has_size(file.size_bytes);
    if large || file.size_bytes > GATE_HASH_SIGNED_BYTES {
        return Err(WhyNot::Size);
    }
    Ok(())
}

/// What is found out only if it is asked for. `None`: it cannot be told.
pub trait Around {
    /// What rules ask of the task.
    fn subject(&mut self) -> Option<SubjectFacts>;
    /// Whether it is in a PID namespace of its own that somebody with rights in the initial user namespace made.
    fn container(&mut self) -> Option<bool>;
    /// The file's path, if the task's root directory is the host's.
    fn host_path(&mut self) -> Option<Vec<u8>>;
    /// Whether a signed package that is being installed lists this digest, which the table does not know.
    fn is_being_installed(&mut self, sha256: &[u8; 32]) -> bool;
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// [`GateKind::Exec`] or [`GateKind::Script`].
    pub kind: GateKind,
    /// The file.
    pub file: &'a FileInfo,
    /// Its content.
    pub content: Content,
    /// Nanoseconds since boot.
    pub now_ns: u64,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What the policy says.
    pub action: GateAction,
    /// What the file is.
    pub class: GateClass,
    /// Index of the rule that decided, or [`GATE_NO_RULE`].
    pub rule: u32,
    /// [`gate_flag`] bits.
    pub flags: u32,
    /// It is to be refused.
    pub refused: bool,
    /// A record is wanted: it is refused, or lets something happen that the execution's own record cannot know is wrong.
    pub told: bool,
}

/// Judges one file.
pub fn judge(table: &Table, asked: &Asked<'_>, around: &mut impl Around) -> Verdict {
    let config = table.config();
    let (mut class, mut marks, mut flags) = (GateClass::Unknown, 0, 0);
    match asked.content {
        Content::Sha256(digest) => {
            if let Some(entry) = table.find(&digest) {
                class = GateClass::from_u32(entry.class).unwrap_or(GateClass::Unknown);
                marks = entry.marks;
            } else if around.is_being_installed(&digest) {
                // Without marks: it gives no id until the package database lists it.
                class = GateClass::Provisional;
            }
        }
        Content::NotHashed => {}
        Content::Doubt => flags |= gate_flag::DOUBT,
    }
    if class != GateClass::Unknown && asked.kind == GateKind::Exec && setid_not_signed(asked.file, marks) {
        flags |= gate_flag::SETID_NOT_SIGNED;
        class = GateClass::Untrusted;
    }
    if class == GateClass::Unknown {
        class = unvouched(table, asked, around, &mut flags);
    }
    let (kind, number) = (asked.kind as u32, class as u32);
    let mut rule = GATE_NO_RULE;
    let mut action = table.action(asked.kind, class);
    if table.is_ruled(asked.kind, class) {
        if let Some(subject) = around.subject() {
            let found = first_rule(table.rules(), (kind, number, marks), asked.file, &subject);
            let decided = found.and_then(|at| Some((at, table.rules().get(usize::try_from(at).ok()?)?)));
            if let Some((index, decided)) = decided {
                rule = index;
                let raw = u8::try_from(decided.action).ok();
                action = raw.and_then(GateAction::from_u8).unwrap_or(GateAction::Alert);
            }
        } else {
            // Nobody knows which rule fits: as strict as doubt is.
            flags |= gate_flag::DOUBT;
            action = action.max(GateAction::Deny);
        }
    }
    if flags & gate_flag::DOUBT != 0 && config.closed_on_doubt == 0 {
        action = action.min(GateAction::Alert);
    }
    let mut refused = false;
    if config.mode == GateMode::Enforce as u32 && action >= GateAction::Deny {
        if asked.now_ns < config.grace_until_ns {
            flags |= gate_flag::GRACE;
        } else {
            flags |= gate_flag::REFUSED;
            refused = true;
        }
    }
    let untold = gate_flag::SETID_NOT_SIGNED | gate_flag::GRACE;
    Verdict {
        action,
        class,
        rule,
        flags,
        refused,
        told: refused || (action > GateAction::Allow && flags & untold != 0),
    }
}

/// The class of what nobody vouches for.
fn unvouched(table: &Table, asked: &Asked<'_>, around: &mut impl Around, flags: &mut u32) -> GateClass {
    if asked.file.nlink == 0 {
        return GateClass::Fileless;
    }
    match around.container() {
        Some(true) => return GateClass::Container,
        Some(false) => {}
        None => *flags |= gate_flag::DOUBT,
    }
    // Sure to be another content than what any package lists: its digest says so, or its size.
    let settled = match asked.content {
        Content::Sha256(_) => true,
        Content::NotHashed => way(table, asked.file) == Err(WhyNot::Size),
        Content::Doubt => false,
    };
    if settled && around.host_path().is_some_and(|path| table.is_packaged(&path)) {
        return GateClass::Mismatch;
    }
    GateClass::Untrusted
}

/// The mode gives an id that no signed file with this content gives.
const fn setid_not_signed(file: &FileInfo, marks: u32) -> bool {
    let user = file.mode & SETUID != 0 && marks & trusted_mark::SETUID == 0;
    let group = file.mode & (SETGID | GROUP_EXEC) == SETGID | GROUP_EXEC && marks & trusted_mark::SETGID == 0;
    user || group
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::sample;
    use super::*;
    use hardpan_abi::{GateRule, gate_test};

    #[derive(Default)]
    struct Seen {
        subject: Option<SubjectFacts>,
        container: Option<bool>,
        path: Option<Vec<u8>>,
        installed: Option<[u8; 32]>,
    }

    impl Around for Seen {
        fn subject(&mut self) -> Option<SubjectFacts> {
            self.subject
        }
        fn container(&mut self) -> Option<bool> {
            self.container
        }
        fn host_path(&mut self) -> Option<Vec<u8>> {
            self.path.clone()
        }
        fn is_being_installed(&mut self, sha256: &[u8; 32]) -> bool {
            self.installed == Some(*sha256)
        }
    }

    fn host() -> Seen {
        Seen {
            subject: Some(SubjectFacts::default()),
            container: Some(false),
            path: Some(b"/tmp/x".to_vec()),
            installed: None,
        }
    }

    fn program() -> FileInfo {
        FileInfo {
            mode: 0o100_755,
            nlink: 1,
            size_bytes: 10,
            ino: 7,
            ..FileInfo::EMPTY
        }
    }

    fn verdict(table: &Table, file: &FileInfo, content: Content, mut seen: Seen) -> Verdict {
        let asked = Asked {
            kind: GateKind::Exec,
            file,
            content,
            now_ns: 100,
        };
        judge(table, &asked, &mut seen)
    }

    #[track_caller]
    fn check(file: FileInfo, content: Content, seen: Seen, class: GateClass, refused: bool) -> Verdict {
        let found = verdict(&sample(|_, _| {}), &file, content, seen);
        assert_eq!((found.class, found.refused), (class, refused), "{found:?}");
        found
    }

    #[test]
    fn classes_and_what_becomes_of_them() {
        let (signed, unknown) = (Content::Sha256([1; 32]), Content::Sha256([9; 32]));
        check(program(), signed, host(), GateClass::Trusted, false);
        check(program(), unknown, host(), GateClass::Untrusted, true);
        let gone = FileInfo {
            nlink: 0,
            ..program()
        };
        check(gone, unknown, host(), GateClass::Fileless, true);
        check(gone, signed, host(), GateClass::Trusted, false);
        let packaged = || Seen {
            path: Some(b"/usr/bin/ls".to_vec()),
            ..host()
        };
        check(program(), unknown, packaged(), GateClass::Mismatch, true);
        check(program(), Content::Doubt, packaged(), GateClass::Untrusted, true);
        let inside = Seen {
            container: Some(true),
            ..packaged()
        };
        check(program(), unknown, inside, GateClass::Container, false);
        let large = FileInfo {
            size_bytes: 8 << 40,
            ..program()
        };
        check(large, Content::NotHashed, packaged(), GateClass::Mismatch, true);
    }

    #[test]
    fn a_copy_that_somebody_made_set_id_is_nobodys() {
        for (mode, digest, expected) in [
            (0o104_755, 1, GateClass::Untrusted),
            (0o102_755, 1, GateClass::Untrusted),
            // Without the group's execute bit it is mandatory locking.
            (0o102_745, 1, GateClass::Trusted),
            (0o104_755, 2, GateClass::Trusted),
            (0o106_755, 2, GateClass::Untrusted),
        ] {
            let file = FileInfo { mode, ..program() };
            let found = verdict(&sample(|_, _| {}), &file, Content::Sha256([digest; 32]), host());
            assert_eq!(found.class, expected, "{mode:o} {digest}");
            let flagged = found.flags & gate_flag::SETID_NOT_SIGNED != 0;
            assert_eq!(flagged, expected == GateClass::Untrusted);
        }
        let script = FileInfo {
            mode: 0o104_755,
            ..program()
        };
        let asked = Asked {
            kind: GateKind::Script,
            file: &script,
            content: Content::Sha256([1; 32]),
            now_ns: 100,
        };
        let found = judge(&sample(|_, _| {}), &asked, &mut host());
        assert_eq!(found.class, GateClass::Trusted, "kernels ignore it there");
    }

    #[test]
    fn what_is_being_installed_runs_and_gives_no_id() {
        let installing = |digest: u8| Seen {
            installed: Some([digest; 32]),
            ..host()
        };
        let new = Content::Sha256([9; 32]);
        check(program(), new, installing(9), GateClass::Provisional, false);
        check(program(), new, installing(8), GateClass::Untrusted, true);
        // Nobody asks about what the table knows, or what has no digest.
        let known = Content::Sha256([1; 32]);
        check(program(), known, installing(1), GateClass::Trusted, false);
        for content in [Content::Doubt, Content::NotHashed] {
            check(program(), content, installing(0), GateClass::Untrusted, true);
        }
        let setid = FileInfo {
            mode: 0o104_755,
            ..program()
        };
        let found = check(setid, new, installing(9), GateClass::Untrusted, true);
        assert!(found.flags & gate_flag::SETID_NOT_SIGNED != 0);
        // The policy may refuse even so.
        let strict = sample(|config, _| {
            config.actions[GateKind::Exec as usize][GateClass::Provisional as usize] = GateAction::Deny as u8;
        });
        assert!(verdict(&strict, &program(), new, installing(9)).refused);
    }

    #[test]
    fn doubt_is_what_the_policy_says() {
        let open = sample(|config, _| config.closed_on_doubt = 0);
        let found = verdict(&open, &program(), Content::Doubt, host());
        assert_eq!((found.action, found.refused), (GateAction::Alert, false));
        let closed = sample(|_, _| {});
        assert!(verdict(&closed, &program(), Content::Doubt, host()).refused);
        // What cannot be told of the task matters only where some rule asks.
        let blind = || Seen {
            container: Some(false),
            ..Seen::default()
        };
        let trusted = Content::Sha256([1; 32]);
        assert!(!verdict(&closed, &program(), trusted, blind()).refused);
        let asks = |config: &mut hardpan_abi::GateConfig, rules: &mut Vec<GateRule>| {
            config.ruled[GateKind::Exec as usize] = 1 << GateClass::Trusted as u32;
            rules.push(GateRule {
                kinds: 1 << GateKind::Exec as u32,
                classes: 1 << GateClass::Trusted as u32,
                action: GateAction::Deny as u32,
                tests: gate_test::UID,
                ids: [[1001, 1001]; 4],
                ..GateRule::default()
            });
        };
        let ruled = sample(asks);
        let by = |euid| Seen {
            subject: Some(SubjectFacts {
                euid,
                ..SubjectFacts::default()
            }),
            ..host()
        };
        assert!(verdict(&ruled, &program(), trusted, blind()).refused);
        assert!(verdict(&ruled, &program(), trusted, by(1001)).refused);
        assert_eq!(verdict(&ruled, &program(), trusted, by(1001)).rule, 0);
        assert!(!verdict(&ruled, &program(), trusted, by(0)).refused);
        let ruled_open = sample(|config, rules| {
            asks(config, rules);
            config.closed_on_doubt = 0;
        });
        assert!(!verdict(&ruled_open, &program(), trusted, blind()).refused);
    }

    #[test]
    fn nothing_is_refused_in_observe_nor_within_the_grace() {
        let observe = sample(|config, _| config.mode = GateMode::Observe as u32);
        let unknown = Content::Sha256([9; 32]);
        let found = verdict(&observe, &program(), unknown, host());
        assert_eq!(
            (found.action, found.refused, found.told),
            (GateAction::Deny, false, false)
        );
        let grace = sample(|config, _| config.grace_until_ns = 101);
        let found = verdict(&grace, &program(), unknown, host());
        assert!(found.flags & gate_flag::GRACE != 0 && found.told && !found.refused);
        let over = sample(|config, _| config.grace_until_ns = 100);
        assert!(verdict(&over, &program(), unknown, host()).refused);
    }

    #[test]
    fn what_is_hashed() {
        let table = sample(|_, _| {});
        let with = |change: fn(&mut FileInfo)| {
            let mut file = program();
            change(&mut file);
            way(&table, &file)
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|file| file.mode = 0o020_755), Err(WhyNot::Kind));
        assert_eq!(with(|file| file.fs_magic = 0x6573_5546), Err(WhyNot::Kind));
        assert_eq!(with(|file| file.size_bytes = 20 << 20), Ok(()), "signed size");
        assert_eq!(with(|file| file.size_bytes = (20 << 20) + 1), Err(WhyNot::Size));
        assert_eq!(with(|file| file.size_bytes = 2 << 30), Err(WhyNot::Size));
    }
}
