//! Files to look at, cut into portions that threads can share. A portion owns its texts, so that the header it came
//! from need not be kept.

use std::sync::Arc;

use crate::digest::Digest;
use crate::files::{FileEntry, FileFlags};
use crate::signature::FileState;

/// Files in one portion.
const FILES_PER_PORTION: usize = 256;

/// A piece of a portion's text.
#[derive(Clone, Copy, Debug, Default)]
struct Text {
    start: u32,
    len: u32,
}

/// One file as the package wants it.
#[derive(Clone, Debug)]
pub(super) struct Job {
    texts: Arc<[u8]>,
    dir: Text,
    name: Text,
    user: Text,
    group: Text,
    link_to: Text,
    caps: Text,
    pub(super) digest: Option<Digest>,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) mtime: u64,
    pub(super) rdev: u64,
    pub(super) flags: FileFlags,
    pub(super) verify_flags: u32,
    /// Classes of the ELF file: 1 is 32-bit, 2 is 64-bit.
    pub(super) color: u32,
    pub(super) state: FileState,
}

impl Job {
    fn text(&self, text: Text) -> &[u8] {
        let start = text.start as usize;
        self.texts
            .get(start..start + text.len as usize)
            .unwrap_or_default()
    }

    /// Directory, with a slash at its end.
    pub(super) fn dir(&self) -> &[u8] {
        self.text(self.dir)
    }

    /// Name in the directory; empty for `/` itself.
    pub(super) fn name(&self) -> &[u8] {
        self.text(self.name)
    }

    pub(super) fn user(&self) -> &[u8] {
        self.text(self.user)
    }

    pub(super) fn group(&self) -> &[u8] {
        self.text(self.group)
    }

    pub(super) fn link_to(&self) -> &[u8] {
        self.text(self.link_to)
    }

    pub(super) fn caps(&self) -> &[u8] {
        self.text(self.caps)
    }

    pub(super) fn path(&self) -> Vec<u8> {
        [self.dir(), self.name()].concat()
    }

    /// rpm's letter for the kind of file, or a space.
    pub(super) fn letter(&self) -> char {
        let flags = self.flags;
        [
            (flags.is_doc(), 'd'),
            (flags.is_config(), 'c'),
            (flags.is_missing_ok(), 'm'),
            (flags.is_noreplace(), 'n'),
            (flags.is_ghost(), 'g'),
            (flags.is_license(), 'l'),
            (flags.is_readme(), 'r'),
            (flags.is_artifact(), 'a'),
        ]
        .into_iter()
        .find_map(|(set, letter)| set.then_some(letter))
        .unwrap_or(' ')
    }
}

/// Collects texts, each that repeats the last one in its place stored once.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    last: [Text; 6],
}

impl Texts {
    fn put(&mut self, place: usize, text: &[u8]) -> Text {
        let Some(last) = self.last.get_mut(place) else {
            return Text::default();
        };
        let start = last.start as usize;
        if self.bytes.get(start..start + last.len as usize) == Some(text) {
            return *last;
        }
        *last = Text {
            start: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            len: u32::try_from(text.len()).unwrap_or(u32::MAX),
        };
        self.bytes.extend_from_slice(text);
        *last
    }
}

/// A job without its texts.
type Pending = Job;

/// Cuts a package's files into portions.
pub(super) fn portions<'a>(files: impl Iterator<Item = (FileEntry<'a>, FileState)>) -> Vec<Vec<Job>> {
    let mut portions = Vec::new();
    let mut texts = Texts::default();
    let mut pending: Vec<Pending> = Vec::new();
    let none: Arc<[u8]> = Arc::from(Vec::new());
    let mut close = |texts: &mut Texts, pending: &mut Vec<Pending>| {
        let bytes: Arc<[u8]> = Arc::from(std::mem::take(texts).bytes);
        let mut jobs = std::mem::take(pending);
        for job in &mut jobs {
            job.texts = Arc::clone(&bytes);
        }
        if !jobs.is_empty() {
            portions.push(jobs);
        }
    };
    for (file, state) in files {
        pending.push(Job {
            texts: Arc::clone(&none),
            dir: texts.put(0, file.dir),
            name: texts.put(1, file.name),
            user: texts.put(2, file.user),
            group: texts.put(3, file.group),
            link_to: texts.put(4, file.link_to),
            caps: texts.put(5, file.caps.unwrap_or_default()),
            digest: file.digest,
            size: file.size,
            mode: file.mode,
            mtime: file.mtime,
            rdev: file.rdev,
            flags: file.flags,
            verify_flags: file.verify_flags,
            color: file.color,
            state,
        });
        if pending.len() == FILES_PER_PORTION {
            close(&mut texts, &mut pending);
        }
    }
    close(&mut texts, &mut pending);
    portions
}
