//! Gathers the answers about single headers. The result does not depend on their order.

use std::collections::{BTreeMap, BTreeSet};

use super::chain;
use super::derive::Derived;
use super::outcome::{ScanOutcome, ScanSummary};
use crate::finding::{Finding, MAX_EXAMPLES};
use crate::header::tag::TagName;
use crate::index::{DecodeError, DigestIndex, IndexBuilder};
use crate::signature::{Refusal, SignatureProblem, VerifiedHeader};

/// Most findings of one kind that are kept.
const MAX_PER_KIND: usize = 1000;

/// How many packages something is true of, and the first few by name.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    examples: BTreeSet<String>,
}

impl Tally {
    fn add(&mut self, package: &str) {
        self.count += 1;
        self.examples.insert(package.to_owned());
        if self.examples.len() > MAX_EXAMPLES {
            self.examples.pop_last();
        }
    }

    fn examples(self) -> Vec<String> {
        self.examples.into_iter().collect()
    }
}

/// A key that does not count: id, fingerprint, user id, reason.
type UnpinnedKey = (String, Option<String>, Option<String>, &'static str);

#[derive(Debug, Default)]
pub(crate) struct Collector {
    builder: IndexBuilder,
    findings: BTreeMap<&'static str, (BTreeSet<Finding>, u64)>,
    unsigned: Tally,
    unpinned: BTreeMap<UnpinnedKey, Tally>,
    out_of_scope: BTreeMap<(String, String), Tally>,
    headers: u64,
    key_headers: u64,
    verified: u64,
    files: u64,
}

impl Collector {
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        let mut collector = Self::default();
        for finding in findings {
            collector.add_finding(finding);
        }
        collector
    }

    /// Headers seen so far, readable or not.
    pub(crate) fn n_headers(&self) -> u64 {
        self.headers
    }

    pub(crate) fn add_finding(&mut self, finding: Finding) {
        let (kept, dropped) = self.findings.entry(finding.kind()).or_default();
        if kept.len() < MAX_PER_KIND {
            kept.insert(finding);
        } else if !kept.contains(&finding) {
            *dropped += 1;
        }
    }

    pub(crate) fn unreadable(&mut self, package: String, header: u32, reason: String) {
        self.headers += 1;
        self.add_finding(Finding::UnreadableHeader {
            package,
            header,
            reason,
        });
    }

    pub(super) fn key_header(&mut self) {
        self.headers += 1;
        self.key_headers += 1;
    }

    /// Notes what is wrong with a package's header.
    pub(crate) fn judge(
        &mut self,
        package: &str,
        number: u32,
        header: &Result<VerifiedHeader, Refusal>,
        problems: &[SignatureProblem],
        repeated: &[u32],
    ) {
        self.headers += 1;
        if !repeated.is_empty() {
            self.add_finding(Finding::RpmdbTampered {
                package: package.to_owned(),
                tags: repeated.iter().map(|tag| TagName(*tag).to_string()).collect(),
                verified: header.is_ok(),
            });
        }
        // Beside a good signature, only one that must be forged or broken is worth a word.
        for problem in problems {
            if header.is_err() || matches!(problem, SignatureProblem::Bad { .. }) {
                self.problem(package, problem);
            }
        }
        match header {
            Ok(_) | Err(Refusal::NoGoodSignature) => {}
            Err(Refusal::Unsigned) => self.unsigned.add(package),
            Err(refusal) => self.add_finding(Finding::UnreadableHeader {
                package: package.to_owned(),
                header: number,
                reason: chain(refusal),
            }),
        }
    }

    /// Puts a verified package into the index.
    pub(super) fn index(&mut self, package: &str, header: &VerifiedHeader, derived: &Derived) {
        self.verified += 1;
        self.files += header.n_files() as u64;
        self.builder.add_derived(header, &derived.sha256);
        if derived.left_out > 0 {
            self.add_finding(Finding::ForeignDigests {
                package: package.to_owned(),
                algorithm: header.digest_algorithm().to_string(),
                count: derived.left_out,
            });
        }
    }

    fn problem(&mut self, package: &str, problem: &SignatureProblem) {
        let package_name = package.to_owned();
        let named = |tag: u32| TagName(tag).to_string();
        match problem.clone() {
            SignatureProblem::Bad { tag, key, reason } => {
                self.add_finding(Finding::BadSignature {
                    package: package_name,
                    tag: named(tag),
                    key,
                    reason,
                });
            }
            SignatureProblem::Weak { tag, key, reason } => {
                self.add_finding(Finding::WeakSignature {
                    package: package_name,
                    tag: named(tag),
                    key,
                    reason,
                });
            }
            SignatureProblem::Unreadable { tag, reason } => {
                self.add_finding(Finding::UnreadableSignature {
                    package: package_name,
                    tag: named(tag),
                    reason,
                });
            }
            SignatureProblem::OutOfScope { fingerprint, pin } => {
                self.out_of_scope
                    .entry((fingerprint, pin))
                    .or_default()
                    .add(package);
            }
            SignatureProblem::Untrusted {
                key_id,
                fingerprint,
                user_id,
                reason,
            } => {
                self.unpinned
                    .entry((key_id, fingerprint, user_id, reason))
                    .or_default()
                    .add(package);
            }
        }
    }

    /// All findings: alarms first, otherwise by kind and package.
    pub(crate) fn findings(&mut self) -> Vec<Finding> {
        for ((key_id, fingerprint, user_id, reason), tally) in std::mem::take(&mut self.unpinned) {
            self.add_finding(Finding::UnpinnedKey {
                key_id,
                fingerprint,
                user_id,
                reason: reason.to_owned(),
                count: tally.count,
                examples: tally.examples(),
            });
        }
        for ((fingerprint, pin), tally) in std::mem::take(&mut self.out_of_scope) {
            let count = tally.count;
            self.add_finding(Finding::OutOfScope {
                fingerprint,
                pin,
                count,
                examples: tally.examples(),
            });
        }
        let unsigned = std::mem::take(&mut self.unsigned);
        if unsigned.count > 0 {
            let count = unsigned.count;
            self.add_finding(Finding::Unsigned {
                count,
                examples: unsigned.examples(),
            });
        }
        let mut findings = Vec::new();
        for (kind, (kept, dropped)) in std::mem::take(&mut self.findings) {
            findings.extend(kept);
            if dropped > 0 {
                findings.push(Finding::Truncated {
                    of: kind.to_owned(),
                    count: dropped,
                });
            }
        }
        findings.sort_by_key(|finding| !finding.is_alarm());
        findings
    }

    pub(super) fn finish(
        mut self,
        summary: ScanSummary,
        note: &str,
        retire: Option<&DigestIndex>,
    ) -> Result<ScanOutcome, DecodeError> {
        let findings = self.findings();
        if let Some(old) = retire {
            self.builder.retire(old);
        }
        self.builder.set_note(note);
        let index = self.builder.finish()?;
        let summary = ScanSummary {
            headers: self.headers,
            key_headers: self.key_headers,
            packages: self.headers - self.key_headers,
            verified: self.verified,
            files: self.files,
            digests: index.n_digests() as u64,
            ..summary
        };
        Ok(ScanOutcome {
            index,
            findings,
            summary,
        })
    }
}
