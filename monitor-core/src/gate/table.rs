//! What the process that answers for executions goes by, as bytes that the daemon hands over and as it is read there.
//!
//! A table is taken whole or not at all: every count, every order and every number is checked first.

use hardpan_abi::{
    GATE_RULES_MAX, GateAction, GateClass, GateConfig, GateKind, GateMode, GateRule, TrustedEntry,
    path_number,
};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most that a table may have: a million digests and their sizes and paths.
pub const MAX_TABLE_BYTES: u64 = 80 << 20;

/// Most that it may say of whose signatures count.
pub const MAX_TRUST_BYTES: usize = 64 << 10;

const MAGIC: [u8; 8] = *b"hpgate\0\x02";

/// The head: which counts follow. Then come the rules, the digests, the sizes, the paths, what is known of files, and whose
/// signatures count.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    size_bytes: u64,
    rules: u32,
    digests: u32,
    sizes: u32,
    packaged: u32,
    known: u32,
    trust_bytes: u32,
    config: GateConfig,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Digest {
    sha256: [u8; 32],
    entry: TrustedEntry,
}

/// A file whose digest was taken in advance: good as long as all of this stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Known {
    /// Device, the kernel's encoding: major << 20 | minor.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Change time, seconds.
    pub ctime_s: i64,
    /// Change time, nanoseconds part.
    pub ctime_ns: u64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// Why bytes are no table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TableError {
    /// Cut off, too long, or of another program.
    #[error("{got} bytes are no table of the gate")]
    Size {
        /// How many there are.
        got: usize,
    },
    /// Another version of hardpan wrote it.
    #[error("the table is of another version")]
    Version,
    /// What it holds cannot be.
    #[error("the table's {what} cannot be")]
    Content {
        /// Which part.
        what: &'static str,
    },
}

/// Settings, rules, and digests that somebody vouches for.
#[derive(Debug, Clone)]
pub struct Table {
    config: GateConfig,
    rules: Vec<GateRule>,
    digests: Vec<Digest>,
    sizes: Vec<u64>,
    packaged: Vec<u64>,
    known: Vec<Known>,
    trust: Vec<u8>,
}

impl Table {
    /// The bytes of a table. Digests, sizes and paths are ascending; what `trust` says is between who hands it over and who
    /// takes it.
    pub fn bytes<'d>(
        config: &GateConfig,
        rules: &[GateRule],
        digests: impl ExactSizeIterator<Item = (&'d [u8; 32], &'d TrustedEntry)>,
        (sizes, packaged): (&[u64], &[u64]),
        known: &[Known],
        trust: &[u8],
    ) -> Vec<u8> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut head = Head {
            magic: MAGIC,
            size_bytes: 0,
            rules: count(rules.len()),
            digests: count(digests.len()),
            sizes: count(sizes.len()),
            packaged: count(packaged.len()),
            known: count(known.len()),
            trust_bytes: count(trust.len()),
            config: *config,
        };
        head.size_bytes = expected_bytes(&head).unwrap_or(u64::MAX);
        let mut bytes = Vec::with_capacity(usize::try_from(head.size_bytes).unwrap_or_default());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(rules.as_bytes());
        for (sha256, entry) in digests {
            let digest = Digest {
                sha256: *sha256,
                entry: *entry,
            };
            bytes.extend_from_slice(digest.as_bytes());
        }
        bytes.extend_from_slice(sizes.as_bytes());
        bytes.extend_from_slice(packaged.as_bytes());
        bytes.extend_from_slice(known.as_bytes());
        bytes.extend_from_slice(trust);
        bytes
    }

    /// A table from its bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let size = || TableError::Size { got: bytes.len() };
        let (head, rest) = Head::read_from_prefix(bytes).map_err(|_short| size())?;
        if head.magic != MAGIC {
            return Err(TableError::Version);
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > MAX_TABLE_BYTES || head.size_bytes != length || expected_bytes(&head) != Some(length) {
            return Err(size());
        }
        let (rules, rest) = many::<GateRule>(rest, head.rules).ok_or_else(size)?;
        let (digests, rest) = many::<Digest>(rest, head.digests).ok_or_else(size)?;
        let (sizes, rest) = many::<u64>(rest, head.sizes).ok_or_else(size)?;
        let (packaged, rest) = many::<u64>(rest, head.packaged).ok_or_else(size)?;
        let (known, rest) = many::<Known>(rest, head.known).ok_or_else(size)?;
        let (trust, _) = many::<u8>(rest, head.trust_bytes).ok_or_else(size)?;
        let table = Self {
            config: head.config,
            rules,
            digests,
            sizes,
            packaged,
            known,
            trust,
        };
        table.check()?;
        Ok(table)
    }

    fn check(&self) -> Result<(), TableError> {
        let wrong = |what| Err(TableError::Content { what });
        let config = &self.config;
        if ![GateMode::Observe as u32, GateMode::Enforce as u32].contains(&config.mode) {
            return wrong("mode");
        }
        let mut actions = config.actions.iter().flatten();
        if !actions.all(|raw| GateAction::from_u8(*raw).is_some()) {
            return wrong("actions");
        }
        let is_action = |raw: u32| u8::try_from(raw).ok().and_then(GateAction::from_u8).is_some();
        if self.rules.len() > GATE_RULES_MAX as usize || !self.rules.iter().all(|rule| is_action(rule.action))
        {
            return wrong("rules");
        }
        let known_class = |digest: &Digest| GateClass::from_u32(digest.entry.class).is_some();
        if !self.digests.is_sorted_by(|a, b| a.sha256 < b.sha256) || !self.digests.iter().all(known_class) {
            return wrong("digests");
        }
        if !self.sizes.is_sorted() || !self.packaged.is_sorted() {
            return wrong("sizes or paths");
        }
        if self.trust.len() > MAX_TRUST_BYTES {
            return wrong("trust");
        }
        Ok(())
    }

    /// The settings.
    pub const fn config(&self) -> &GateConfig {
        &self.config
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[GateRule] {
        &self.rules
    }

    /// Files whose digest was taken in advance.
    pub fn known(&self) -> &[Known] {
        &self.known
    }

    /// Whose signatures on packages count; empty: nobody's.
    pub fn trust(&self) -> &[u8] {
        &self.trust
    }

    /// What somebody says of a digest.
    pub fn find(&self, sha256: &[u8; 32]) -> Option<TrustedEntry> {
        let at = self.digests.binary_search_by(|digest| digest.sha256.cmp(sha256));
        at.ok()
            .and_then(|at| self.digests.get(at))
            .map(|digest| digest.entry)
    }

    /// Whether a signed file has this size.
    pub fn has_size(&self, bytes: u64) -> bool {
        self.sizes.binary_search(&bytes).is_ok()
    }

    /// Whether a package lists a content for this path that may execute.
    pub fn is_packaged(&self, path: &[u8]) -> bool {
        self.packaged.binary_search(&path_number(path)).is_ok()
    }

    /// What is done with this kind and class where no rule fits.
    pub fn action(&self, kind: GateKind, class: GateClass) -> GateAction {
        let row = self.config.actions.get(kind as usize);
        row.and_then(|row| row.get(class as usize))
            .and_then(|raw| GateAction::from_u8(*raw))
            .unwrap_or(GateAction::Allow)
    }

    /// Whether some rule may fit this kind and class.
    pub fn is_ruled(&self, kind: GateKind, class: GateClass) -> bool {
        let mask = self.config.ruled.get(kind as usize).copied().unwrap_or_default();
        mask >> (class as u32) & 1 != 0
    }
}

/// The length that the counts make.
fn expected_bytes(head: &Head) -> Option<u64> {
    let parts = [
        (head.rules, size_of::<GateRule>()),
        (head.digests, size_of::<Digest>()),
        (head.sizes, size_of::<u64>()),
        (head.packaged, size_of::<u64>()),
        (head.known, size_of::<Known>()),
        (head.trust_bytes, 1),
    ];
    let begin = u64::try_from(size_of::<Head>()).ok()?;
    parts.into_iter().try_fold(begin, |sum, (count, one)| {
        sum.checked_add(u64::from(count).checked_mul(u64::try_from(one).ok()?)?)
    })
}

/// So many values from the beginning, and the rest.
fn many<T: FromBytes + Immutable + KnownLayout>(bytes: &[u8], count: u32) -> Option<(Vec<T>, &[u8])> {
    let length = usize::try_from(count).ok()?.checked_mul(size_of::<T>())?;
    let (part, rest) = bytes.split_at_checked(length)?;
    let values = part.chunks_exact(size_of::<T>());
    let values = values.map(T::read_from_bytes).collect::<Result<_, _>>();
    Some((values.ok()?, rest))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hardpan_abi::trusted_mark;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn config() -> GateConfig {
        let mut config = GateConfig::new_zeroed();
        config.mode = GateMode::Enforce as u32;
        config.closed_on_doubt = 1;
        for kind in [GateKind::Exec, GateKind::Script] {
            for class in [GateClass::Untrusted, GateClass::Fileless, GateClass::Mismatch] {
                config.actions[kind as usize][class as usize] = GateAction::Deny as u8;
            }
        }
        config
    }

    use zerocopy::FromZeros as _;

    fn digests() -> BTreeMap<[u8; 32], TrustedEntry> {
        let entry = |marks| TrustedEntry {
            class: GateClass::Trusted as u32,
            marks,
            capabilities: 0,
        };
        [([1; 32], entry(0)), ([2; 32], entry(trusted_mark::SETUID))].into()
    }

    fn sample_bytes(change: impl FnOnce(&mut GateConfig, &mut Vec<GateRule>)) -> Vec<u8> {
        let (mut config, mut rules) = (config(), Vec::new());
        change(&mut config, &mut rules);
        let known = Known {
            dev: 1,
            ino: 2,
            size_bytes: 3,
            ctime_s: 4,
            ctime_ns: 5,
            sha256: [1; 32],
        };
        let packaged = [path_number(b"/usr/bin/ls")];
        Table::bytes(
            &config,
            &rules,
            digests().iter(),
            (&[10, 20 << 20], &packaged),
            &[known],
            b"{}",
        )
    }

    /// Two trusted digests, one of them set-user-id; what nobody vouches for is refused.
    pub(in crate::gate) fn sample(change: impl FnOnce(&mut GateConfig, &mut Vec<GateRule>)) -> Table {
        Table::parse(&sample_bytes(change)).unwrap()
    }

    #[test]
    fn a_table_comes_back() {
        let table = sample(|_, rules| rules.push(GateRule::default()));
        assert_eq!(*table.config(), config());
        assert_eq!((table.rules().len(), table.known().len()), (1, 1));
        assert_eq!(table.trust(), b"{}");
        assert_eq!(
            table.find(&[2; 32]).map(|entry| entry.marks),
            Some(trusted_mark::SETUID)
        );
        assert_eq!(table.find(&[3; 32]), None);
        assert!(table.has_size(10) && !table.has_size(11));
        assert!(table.is_packaged(b"/usr/bin/ls") && !table.is_packaged(b"/usr/bin/l"));
        assert_eq!(
            table.action(GateKind::Exec, GateClass::Mismatch),
            GateAction::Deny
        );
        assert_eq!(
            table.action(GateKind::Exec, GateClass::Trusted),
            GateAction::Allow
        );
    }

    #[track_caller]
    fn check_wrong(bytes: &[u8], expected: &TableError) {
        assert_eq!(&Table::parse(bytes).unwrap_err(), expected);
    }

    #[test]
    fn torn_and_wrong_tables_are_refused() {
        let good = sample_bytes(|_, _| {});
        for length in [0, 7, size_of::<Head>(), good.len() - 1] {
            check_wrong(&good[..length], &TableError::Size { got: length });
        }
        let longer = [good.as_slice(), &[0]].concat();
        check_wrong(&longer, &TableError::Size { got: longer.len() });
        let mut other = good.clone();
        other[7] = 1;
        check_wrong(&other, &TableError::Version);
        // Counts whose sum overflows.
        let mut huge = good.clone();
        huge[16..40].fill(0xff);
        check_wrong(&huge, &TableError::Size { got: huge.len() });
        let content = |what| TableError::Content { what };
        let off = sample_bytes(|config, _| config.mode = GateMode::Off as u32);
        check_wrong(&off, &content("mode"));
        let action = sample_bytes(|config, _| config.actions[0][1] = 9);
        check_wrong(&action, &content("actions"));
        let rule = sample_bytes(|_, rules| {
            rules.push(GateRule {
                action: 300,
                ..GateRule::default()
            });
        });
        check_wrong(&rule, &content("rules"));
        let rules = sample_bytes(|_, rules| rules.resize(33, GateRule::default()));
        check_wrong(&rules, &content("rules"));
        let too_much = Table::bytes(
            &config(),
            &[],
            digests().iter(),
            (&[], &[]),
            &[],
            &vec![b' '; MAX_TRUST_BYTES + 1],
        );
        check_wrong(&too_much, &content("trust"));
        // Two digests that have changed places.
        let mut order = good;
        let at = size_of::<Head>();
        order[at..at + 32].fill(3);
        check_wrong(&order, &content("digests"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_no_trouble(mut at in prop::collection::vec((0usize..4096, any::<u8>()), 1..8)) {
            let mut bytes = sample_bytes(|_, rules| rules.push(GateRule::default()));
            for (place, byte) in at.drain(..) {
                let length = bytes.len();
                bytes[place % length] = byte;
            }
            let _either_way = Table::parse(&bytes);
        }
    }
}
