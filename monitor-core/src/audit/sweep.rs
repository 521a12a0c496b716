//! Questions to the one file-system walk of a run.

use super::facts::{FileKind, Stat};
use serde::{Deserialize, Serialize};

/// One question: which entries satisfy all of these conditions?
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SweepQuery {
    /// Only below these directories; empty means every local file system.
    pub under: Vec<String>,
    /// Only these kinds of entry; empty means files, directories, devices and others, but no symbolic links.
    pub kinds: Vec<FileKind>,
    /// At least one of these mode bits is set.
    pub any_mode: u32,
    /// None of these mode bits is set.
    pub no_mode: u32,
    /// The owner is another one.
    pub not_uid: Option<u32>,
    /// The owner's number is at least this.
    pub uid_from: Option<u32>,
    /// The group is another one.
    pub not_gid: Option<u32>,
    /// The group's number is at least this.
    pub gid_from: Option<u32>,
    /// The name is one of these.
    pub names: Vec<String>,
    /// No user of that number exists.
    pub unowned: bool,
    /// No group of that number exists.
    pub ungrouped: bool,
    /// The SELinux label is one of these types.
    pub label_types: Vec<String>,
}

impl SweepQuery {
    /// The kinds of entry it asks for.
    pub fn kinds(&self) -> Vec<FileKind> {
        if self.kinds.is_empty() {
            vec![FileKind::File, FileKind::Dir, FileKind::Device, FileKind::Other]
        } else {
            self.kinds.clone()
        }
    }

    /// Whether an entry satisfies the conditions on kind, mode, owner and group.
    pub fn concerns(&self, stat: Stat) -> bool {
        let kind_ok = if self.kinds.is_empty() {
            stat.kind != FileKind::Link
        } else {
            self.kinds.contains(&stat.kind)
        };
        kind_ok
            && (self.any_mode == 0 || stat.mode & self.any_mode != 0)
            && stat.mode & self.no_mode == 0
            && self.not_uid.is_none_or(|uid| stat.uid != uid)
            && self.uid_from.is_none_or(|uid| stat.uid >= uid)
            && self.not_gid.is_none_or(|gid| stat.gid != gid)
            && self.gid_from.is_none_or(|gid| stat.gid >= gid)
    }

    /// Whether a file name is one of those asked for.
    pub fn named(&self, name: &[u8]) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted.as_bytes() == name)
    }

    /// Whether a path lies below one of the directories asked for.
    pub fn covers(&self, path: &str) -> bool {
        self.under.is_empty() || self.under.iter().any(|dir| below(path, dir))
    }
}

/// Whether `path` is `dir` or lies below it.
pub fn below(path: &str, dir: &str) -> bool {
    let dir = dir.trim_end_matches('/');
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An entry the walk found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepHit {
    /// Path as seen from the audited root.
    pub path: String,
    /// Its metadata.
    pub stat: Stat,
}

/// The answer to one question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepResult {
    /// The first hits, bounded by the collector.
    pub hits: Vec<SweepHit>,
    /// How many there were in all.
    pub total: u64,
    /// Entries looked at.
    pub seen: u64,
    /// Places that could not be looked at, with the reason; the first few.
    pub unread: Vec<String>,
}

impl SweepResult {
    /// Why the hits are not all there are, if they are not.
    pub fn incomplete(&self) -> Option<String> {
        if let Some(place) = self.unread.first() {
            return Some(format!(
                "{} places could not be looked at, the first is {place}",
                self.unread.len()
            ));
        }
        let kept = u64::try_from(self.hits.len()).unwrap_or(u64::MAX);
        (kept < self.total).then(|| format!("{} found, more than are kept", self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_joined_by_and() {
        let query = SweepQuery {
            kinds: vec![FileKind::Dir],
            any_mode: 0o002,
            no_mode: 0o1000,
            ..Default::default()
        };
        let dir = |mode| Stat {
            kind: FileKind::Dir,
            mode,
            ..Default::default()
        };
        assert!(query.concerns(dir(0o777)));
        assert!(!query.concerns(dir(0o1777)));
        assert!(!query.concerns(dir(0o755)));
        assert!(!query.concerns(Stat {
            mode: 0o666,
            ..Default::default()
        }));
        assert_eq!(query.kinds(), [FileKind::Dir]);
        assert!(!SweepQuery::default().kinds().contains(&FileKind::Link));
        let lib = SweepQuery {
            under: vec!["/usr/lib".into()],
            not_uid: Some(0),
            ..Default::default()
        };
        assert!(lib.concerns(Stat {
            uid: 5,
            ..Default::default()
        }));
        assert!(!lib.concerns(Stat::default()));
        assert!(lib.covers("/usr/lib/x") && lib.covers("/usr/lib") && !lib.covers("/usr/lib64/x"));
        let named = SweepQuery {
            names: vec![".shosts".into()],
            ..Default::default()
        };
        assert!(named.named(b".shosts") && !named.named(b"shosts") && lib.named(b"x"));
    }
}
