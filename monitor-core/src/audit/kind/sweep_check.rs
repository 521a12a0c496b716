//! Questions to the file-system walk.

use super::super::facts::{Ctx, FileKind, Stop};
use super::super::outcome::Outcome;
use super::super::sweep::SweepQuery;
use super::file_attr::describe;
use serde::{Deserialize, Serialize};

/// Nothing on local file systems may satisfy these conditions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepCheck {
    /// The conditions.
    pub none: SweepQuery,
    /// What is wanted, in words.
    pub wanted: String,
}

/// World-writable programs, for the question whether start-up files run one.
pub(super) fn world_writable_programs() -> SweepQuery {
    SweepQuery {
        kinds: vec![FileKind::File],
        any_mode: 0o002,
        ..SweepQuery::default()
    }
}

impl SweepCheck {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let result = ctx.sweep(&self.none)?;
        let mut outcome = Outcome::start();
        for hit in &result.hits {
            outcome.expect(false, &hit.path, &self.wanted, describe(hit.stat));
        }
        if result.total > 0 {
            outcome.reason = format!(
                "{} found, the first is {}",
                result.total,
                outcome.evidence.first().map_or("", |e| &e.source)
            );
            outcome.result = super::super::outcome::Verdict::Fail;
        } else if let Some(why) = result.incomplete() {
            return Err(Stop::unreadable("file-system walk", why));
        }
        Ok(outcome.because(format!("{} entries of local file systems looked at", result.seen)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{Facts, Stat};
    use super::super::super::outcome::Verdict::{self, Error, Fail, Pass};
    use super::super::super::sweep::{SweepHit, SweepResult};
    use super::super::super::testkit::outcome_of;
    use super::*;

    fn check(result: Result<SweepResult, String>, expected: Verdict) {
        let mut facts = Facts::default();
        let query = SweepQuery {
            kinds: vec![FileKind::File],
            any_mode: 2,
            ..Default::default()
        };
        facts.sweeps.insert(query, result);
        let toml = "kind = \"sweep\"\nwanted = \"no file others can write\"\nnone = { kinds = [\"file\"], any_mode = 2 }";
        let outcome = outcome_of(toml, &facts);
        assert_eq!(outcome.result, expected, "{outcome:?}");
    }

    #[test]
    fn hits_fail_and_blind_spots_are_errors() {
        check(
            Ok(SweepResult {
                seen: 9,
                ..Default::default()
            }),
            Pass,
        );
        let hit = SweepHit {
            path: "/x".into(),
            stat: Stat {
                mode: 0o666,
                ..Default::default()
            },
        };
        check(
            Ok(SweepResult {
                hits: vec![hit],
                total: 1,
                seen: 9,
                unread: vec![],
            }),
            Fail,
        );
        check(
            Ok(SweepResult {
                unread: vec!["/root: permission denied".into()],
                ..Default::default()
            }),
            Error,
        );
        check(Err("no such root".into()), Error);
    }
}
