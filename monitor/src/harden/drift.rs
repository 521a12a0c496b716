//! What changed since `apply`.

use super::root::Root;
use super::run::HardenError;
use super::store::Store;
use hardpan_core::policy::harden::Host as _;
use hardpan_core::policy::harden::edit::{self, Edit};
use hardpan_core::policy::harden::journal::JOURNAL_VERSION;
use serde::Serialize;

/// Something that is no longer as `apply` left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The item.
    pub item: String,
    /// File or setting.
    pub subject: String,
    /// What `apply` wrote.
    pub wanted: String,
    /// What is there.
    pub found: String,
}

/// What changed since `apply`, by whomever.
pub fn drift(root: &Root) -> Result<Vec<Drift>, HardenError> {
    let store = Store::open(root)?;
    // Two items may have edited one line: the later edit's text holds both.
    let foreign = store.foreign().map(|subject| Drift {
        item: "journal".to_owned(),
        subject,
        wanted: format!("a line of version {JOURNAL_VERSION}"),
        found: "one of another version: what it did is neither watched nor taken back".to_owned(),
    });
    let mut found: Vec<Drift> = foreign.collect();
    for line in store.journal.in_place.values() {
        let (wanted, present) = match &line.change {
            Edit::Line { path, line: change } => {
                let text = root.read(path).unwrap_or_default();
                let wanted = change.after.clone().unwrap_or_default();
                let holds = if change.added.is_empty() && change.removed.is_empty() {
                    text.lines().any(|line| line == wanted)
                } else {
                    text.lines()
                        .filter(|line| edit::matches(&change.locator, line))
                        .any(|line| {
                            change.added.iter().all(|word| {
                                edit::words(line, change.separator, &change.locator)
                                    .any(|other| other == word)
                            })
                        })
                };
                (
                    wanted.clone(),
                    if holds { wanted } else { "not there".to_owned() },
                )
            }
            Edit::Link { path, after, .. } => (
                after.clone(),
                root.link(path).unwrap_or_else(|| "no link".to_owned()),
            ),
            Edit::Mode {
                path,
                after: (mode, uid, gid),
                ..
            } => {
                let show = |mode: u32, uid: u32, gid: u32| format!("mode {mode:04o}, {uid}:{gid}");
                let present = root
                    .stat(path)
                    .map_or_else(|| "gone".to_owned(), |stat| show(stat.mode, stat.uid, stat.gid));
                (show(*mode, *uid, *gid), present)
            }
            Edit::Runtime { name, after, .. } => {
                let path = format!("/proc/sys/{}", name.replace('.', "/"));
                (
                    after.clone(),
                    root.read(&path)
                        .map_or_else(|| "gone".to_owned(), |text| text.trim().to_owned()),
                )
            }
            Edit::Tool { tool, after, .. } => (after.clone(), tool.current(root).unwrap_or_default()),
        };
        if wanted != present {
            let subject = line.change.subject().to_owned();
            found.push(Drift {
                item: line.item.clone(),
                subject,
                wanted,
                found: present,
            });
        }
    }
    Ok(found)
}
