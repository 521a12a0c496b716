//! What rpm -V compares, as pure logic: a file as the package wants it, and as it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::caps::FileCaps;
use super::job::Job;
use super::users::Accounts;
use crate::digest::Digest;
use crate::signature::FileState;

const TYPE_MASK: u32 = 0o170_000;
const TYPE_REGULAR: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;
const TYPE_CHAR: u32 = 0o020_000;
const TYPE_BLOCK: u32 = 0o060_000;

/// Properties that differ, or (in FILEVERIFYFLAGS) that are compared: rpm's bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(
    /// rpm's bits (rpmVerifyAttrs).
    pub u32,
);

impl Properties {
    /// Content of a regular file.
    pub const DIGEST: Self = Self(1);
    /// Size of a regular file.
    pub const SIZE: Self = Self(1 << 1);
    /// Target of a symbolic link.
    pub const LINK: Self = Self(1 << 2);
    /// Owner.
    pub const USER: Self = Self(1 << 3);
    /// Group.
    pub const GROUP: Self = Self(1 << 4);
    /// Modification time.
    pub const MTIME: Self = Self(1 << 5);
    /// Type and permissions.
    pub const MODE: Self = Self(1 << 6);
    /// Device number.
    pub const DEVICE: Self = Self(1 << 7);
    /// Capabilities.
    pub const CAPS: Self = Self(1 << 8);
    /// The link's target could not be read.
    pub const READLINK_FAILED: Self = Self(1 << 28);
    /// The content could not be read.
    pub const READ_FAILED: Self = Self(1 << 29);

    /// Whether any of these bits is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no bit is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Whether all bits are among those of `other`.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

impl fmt::Display for Properties {
    /// The nine characters of `rpm -V`: `SM5DLUGTP`, a dot for what agrees, a question mark for what could not be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = if self.has(Self::READ_FAILED) { '?' } else { '5' };
        let link = if self.has(Self::READLINK_FAILED) { '?' } else { 'L' };
        for (property, letter) in [
            (Self::SIZE, 'S'),
            (Self::MODE, 'M'),
            (Self::DIGEST, digest),
            (Self::DEVICE, 'D'),
            (Self::LINK, link),
            (Self::USER, 'U'),
            (Self::GROUP, 'G'),
            (Self::MTIME, 'T'),
            (Self::CAPS, 'P'),
        ] {
            write!(f, "{}", if self.has(property) { letter } else { '.' })?;
        }
        Ok(())
    }
}

/// A file as lstat(2) shows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) mtime: u64,
    pub(super) user: u32,
    pub(super) group: u32,
    /// Device number in rpm's 16-bit form.
    pub(super) rdev: u64,
}

/// What is known of a file's content.
#[derive(Clone, Debug, Default)]
pub(super) enum ContentDigest {
    /// It was not asked for.
    #[default]
    NotRead,
    /// It has another size than the package says, so it was not read.
    OtherSize,
    /// It could not be read, and why.
    Failed(String),
    /// Its digest.
    Found(Digest),
}

/// What reading the file itself gave; only as much as [`wanted`] asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) digest: ContentDigest,
    pub(super) link_to: Option<Vec<u8>>,
    pub(super) caps: FileCaps,
}

/// One property that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// "digest", "size", "mode", "user", "group", "mtime", "device", "link" or "capabilities".
    pub property: &'static str,
    /// As the package wants it.
    pub expected: String,
    /// As it is.
    pub found: String,
}

/// The properties to compare, given what the file is.
pub(super) fn wanted(job: &Job, facts: &Facts) -> Properties {
    let mut wanted = Properties(job.verify_flags);
    if facts.mode & TYPE_MASK == TYPE_LINK {
        wanted.remove(Properties::MODE);
    } else {
        wanted.remove(Properties::LINK);
    }
    let content =
        Properties(Properties::DIGEST.0 | Properties::SIZE.0 | Properties::MTIME.0 | Properties::CAPS.0);
    if facts.mode & TYPE_MASK != TYPE_REGULAR {
        wanted.remove(content);
    }
    if job.flags.is_ghost() {
        wanted.remove(content);
        wanted.remove(Properties::LINK);
        // rpm compares capabilities of %ghost files, too.
        if facts.mode & TYPE_MASK == TYPE_REGULAR && job.verify_flags & Properties::CAPS.0 != 0 {
            wanted.add(Properties::CAPS);
        }
    }
    // rpm knows the states from an unsigned tag, and lets them excuse differences; here they excuse only absence. A
    // file that another package put there is compared with that package.
    wanted.0 &= 0x1ff;
    wanted
}

/// Collects what differs.
#[derive(Debug, Default)]
struct Differing {
    properties: Properties,
    list: Vec<Difference>,
}

impl Differing {
    fn note(&mut self, property: Properties, name: &'static str, expected: String, found: String) {
        self.properties.add(property);
        self.list.push(Difference {
            property: name,
            expected,
            found,
        });
    }

    fn digest(&mut self, job: &Job, content: &ContentDigest) {
        let expected = || {
            job.digest
                .map_or_else(|| "none".to_owned(), |digest| format!("{digest:?}"))
        };
        let (property, found) = match content {
            ContentDigest::Found(found) if job.digest == Some(*found) => return,
            ContentDigest::Found(found) => (Properties::DIGEST, format!("{found:?}")),
            ContentDigest::OtherSize => (Properties::DIGEST, "not read, the size differs".to_owned()),
            ContentDigest::Failed(error) => {
                let failed = Properties(Properties::DIGEST.0 | Properties::READ_FAILED.0);
                (failed, format!("unreadable: {error}"))
            }
            // The package wants no regular file here, and there is one: the mode tells which.
            ContentDigest::NotRead => (Properties::DIGEST, "a regular file".to_owned()),
        };
        self.note(property, "digest", expected(), found);
    }

    fn link(&mut self, job: &Job, link_to: Option<&[u8]>) {
        let expected = || String::from_utf8_lossy(job.link_to()).into_owned();
        match link_to {
            Some(found) if found == job.link_to() => {}
            Some(found) => {
                let found = String::from_utf8_lossy(found).into_owned();
                self.note(Properties::LINK, "link", expected(), found);
            }
            None => {
                let failed = Properties(Properties::LINK.0 | Properties::READLINK_FAILED.0);
                self.note(failed, "link", expected(), "unreadable".to_owned());
            }
        }
    }

    fn mode(&mut self, job: &Job, facts: &Facts) {
        // The type of a %ghost means nothing, its permissions do.
        let mask = if job.flags.is_ghost() { !TYPE_MASK } else { !0 };
        if (job.mode ^ facts.mode) & mask != 0 {
            self.note(
                Properties::MODE,
                "mode",
                show_mode(job.mode),
                show_mode(facts.mode),
            );
        }
    }

    fn owners(&mut self, job: &Job, facts: &Facts, wanted: Properties, accounts: &Accounts) {
        for (property, what, names, expected, found) in [
            (Properties::USER, "user", &accounts.users, job.user(), facts.user),
            (
                Properties::GROUP,
                "group",
                &accounts.groups,
                job.group(),
                facts.group,
            ),
        ] {
            if wanted.has(property) && !names.agrees(expected, found) {
                let expected = String::from_utf8_lossy(expected).into_owned();
                self.note(property, what, expected, names.show(found));
            }
        }
    }
}

/// Compares; both answers say the same.
pub(super) fn compare(
    job: &Job,
    facts: &Facts,
    content: &Content,
    wanted: Properties,
    accounts: &Accounts,
) -> (Properties, Vec<Difference>) {
    let mut differing = Differing::default();
    if wanted.has(Properties::DIGEST) {
        differing.digest(job, &content.digest);
    }
    if wanted.has(Properties::LINK) {
        differing.link(job, content.link_to.as_deref());
    }
    if wanted.has(Properties::SIZE) && facts.size != job.size {
        differing.note(
            Properties::SIZE,
            "size",
            job.size.to_string(),
            facts.size.to_string(),
        );
    }
    if wanted.has(Properties::MODE) {
        differing.mode(job, facts);
    }
    if wanted.has(Properties::DEVICE) && devices_differ(job, facts) {
        let (expected, found) = (
            show_device(job.mode, job.rdev),
            show_device(facts.mode, facts.rdev),
        );
        differing.note(Properties::DEVICE, "device", expected, found);
    }
    if wanted.has(Properties::CAPS) {
        let expected = FileCaps::from_text(job.caps()).unwrap_or_default();
        if expected != content.caps {
            differing.note(
                Properties::CAPS,
                "capabilities",
                expected.to_string(),
                content.caps.to_string(),
            );
        }
    }
    if wanted.has(Properties::MTIME) && facts.mtime != job.mtime {
        differing.note(
            Properties::MTIME,
            "mtime",
            job.mtime.to_string(),
            facts.mtime.to_string(),
        );
    }
    differing.owners(job, facts, wanted, accounts);
    (differing.properties, differing.list)
}

fn devices_differ(job: &Job, facts: &Facts) -> bool {
    let device = |mode: u32| matches!(mode & TYPE_MASK, TYPE_CHAR | TYPE_BLOCK);
    match (device(job.mode), device(facts.mode)) {
        (false, false) => false,
        (true, true) => (job.mode ^ facts.mode) & TYPE_MASK != 0 || (job.rdev ^ facts.rdev) & 0xffff != 0,
        _ => true,
    }
}

fn show_mode(mode: u32) -> String {
    let kind = match mode & TYPE_MASK {
        TYPE_REGULAR => "file",
        TYPE_DIRECTORY => "directory",
        TYPE_LINK => "link",
        TYPE_CHAR => "character device",
        TYPE_BLOCK => "block device",
        _ => "other",
    };
    format!("{:04o} {kind}", mode & 0o7777)
}

fn show_device(mode: u32, rdev: u64) -> String {
    match mode & TYPE_MASK {
        TYPE_CHAR => format!("character {rdev:#06x}"),
        TYPE_BLOCK => format!("block {rdev:#06x}"),
        _ => "no device".to_owned(),
    }
}

/// Whether the state excuses that a file is absent. Where another package's file was installed in its place, there has
/// to be one.
pub(super) fn excuses_absence(state: FileState) -> bool {
    matches!(state, FileState::NotInstalled | FileState::NetShared)
}
