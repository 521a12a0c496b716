//! What was done, so that it can be undone: one JSON object per line, appended and synced before and after each edit.

use super::edit::Edit;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the journal's lines.
pub const JOURNAL_VERSION: u32 = 1;
/// Longest journal that is read.
pub const MAX_JOURNAL_BYTES: u64 = 64 << 20;

/// How far an edit got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It is about to be made, or about to be taken back. Without a later line it may or may not have been, or half.
    Intended,
    /// It was made.
    Done,
    /// It was taken back, or found gone or changed by somebody else.
    Undone,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// [`JOURNAL_VERSION`].
    pub version: u32,
    /// Transaction: one run of `apply`.
    pub transaction: u64,
    /// Number of the edit within the transaction.
    pub number: u64,
    /// How far it got.
    pub stage: Stage,
    /// The item it was made for.
    pub item: String,
    /// The edit.
    pub change: Edit,
    /// The edit created the file.
    #[serde(default)]
    pub created: bool,
    /// The file ended without a newline before.
    #[serde(default)]
    pub joined: bool,
    /// Directories that were made for the file, outermost first.
    #[serde(default)]
    pub directories: Vec<String>,
    /// The file's `security.capability` in hexadecimal digits, where mode and owner are changed: a change of owner
    /// clears it, and a crash may come before it is put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The text of the file that a tool of the system writes anew, before: the tool forgets what people wrote into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The journal, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// Edits that may be in place, by transaction and number.
    pub in_place: BTreeMap<(u64, u64), Line>,
    /// The highest transaction seen.
    pub last_transaction: u64,
    /// Numbers of lines that are no JSON: torn by a crash, before the edit that they announce was made.
    pub unreadable: Vec<usize>,
    /// Numbers of lines that another version of the program wrote: what they did is not known here.
    pub foreign: Vec<usize>,
}

/// What every version's lines have.
#[derive(Deserialize)]
struct Taken {
    transaction: u64,
}

/// Reads a journal. Total: what cannot be read is named.
pub fn read(text: &str) -> Journal {
    let mut journal = Journal::default();
    for (n, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let line = match serde_json::from_str::<Line>(line) {
            Ok(line) if line.version == JOURNAL_VERSION => line,
            Err(_torn) if serde_json::from_str::<IgnoredAny>(line).is_err() => {
                journal.unreadable.push(n + 1);
                continue;
            }
            Ok(_) | Err(_) => {
                journal.foreign.push(n + 1);
                // Its number is taken all the same.
                let taken = serde_json::from_str::<Taken>(line).map_or(0, |line| line.transaction);
                journal.last_transaction = journal.last_transaction.max(taken);
                continue;
            }
        };
        journal.last_transaction = journal.last_transaction.max(line.transaction);
        let key = (line.transaction, line.number);
        match line.stage {
            Stage::Intended | Stage::Done => {
                journal.in_place.insert(key, line);
            }
            Stage::Undone => {
                journal.in_place.remove(&key);
            }
        }
    }
    journal
}

/// A line as it is appended.
pub fn write(line: &Line) -> Result<String, serde_json::Error> {
    serde_json::to_string(line).map(|mut text| {
        text.push('\n');
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, stage: Stage) -> Line {
        Line {
            version: JOURNAL_VERSION,
            transaction: 3,
            number,
            stage,
            item: "sysctl:kernel.kptr_restrict".to_owned(),
            change: Edit::Runtime {
                name: "kernel.kptr_restrict".to_owned(),
                before: "0".to_owned(),
                after: "1".to_owned(),
            },
            created: false,
            joined: false,
            directories: Vec::new(),
            capability: None,
            text: None,
        }
    }

    #[test]
    fn what_is_in_place_survives_a_torn_line() {
        let text: String = [
            line(0, Stage::Intended),
            line(0, Stage::Done),
            line(1, Stage::Intended),
            line(0, Stage::Undone),
        ]
        .iter()
        .map(|line| write(line).expect("written"))
        .collect();
        let torn = format!("{text}{{\"version\":1,\"tran");
        let journal = read(&torn);
        assert_eq!(journal.in_place.keys().collect::<Vec<_>>(), [&(3, 1)]);
        assert_eq!((journal.last_transaction, journal.unreadable), (3, vec![5]));
        assert!(journal.foreign.is_empty());
    }

    #[test]
    fn lines_of_another_version_are_told_apart_and_keep_their_numbers() {
        let ours = write(&line(0, Stage::Done)).expect("written");
        let newer = "{\"version\":2,\"transaction\":9,\"what\":\"unknown\"}\n";
        let older = ours.replace("\"version\":1", "\"version\":0");
        let journal = read(&format!("{ours}{newer}{older}[]\n"));
        assert_eq!(journal.in_place.len(), 1);
        assert_eq!((journal.last_transaction, journal.foreign), (9, vec![2, 3, 4]));
        assert!(journal.unreadable.is_empty());
    }
}
