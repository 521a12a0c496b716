//! Findings: what is wrong with the packages, or with Hardpan's own ability to see.

use super::Draft;
use super::attack::{self, Technique};
use super::ecs::{Event, File};
use super::own::{Own, OwnFinding};
use super::parts::{package_fields, threat};
use super::text::shown;
use crate::event::RawText;
use crate::verdict::{Package, TrustOrigin};

/// How many packages a finding names; the rest is in its count.
const PACKAGES_NAMED: usize = 20;

/// Whether a finding speaks of an attack or of a gap in what can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Somebody may have tampered.
    Security,
    /// Hardpan sees less than it should.
    Operation,
    /// How the host is set up, seen by an audit.
    Configuration,
}

macro_rules! findings {
    ($($(#[$doc:meta])* $name:ident: $word:literal, $kind:ident, $severity:literal, $technique:expr;)+) => {
        /// What a finding is about. The words are stable: alerts are built on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FindingCode { $($(#[$doc])* $name,)+ }

        impl FindingCode {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word in records.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// Attack or gap.
            pub const fn kind(self) -> FindingKind {
                match self { $(Self::$name => FindingKind::$kind,)+ }
            }

            /// 1 informational to 5 critical.
            pub const fn severity(self) -> u8 {
                match self { $(Self::$name => $severity,)+ }
            }

            const fn technique(self) -> Option<&'static Technique> {
                match self { $(Self::$name => $technique,)+ }
            }
        }
    };
}

findings! {
    /// Header data outside the signed region contradicts or repeats what the vendor signed.
    RpmdbTampered: "rpmdb-tampered", Security, 5, Some(&attack::DATA_MANIPULATED);
    /// A package's signature does not match its header.
    SignatureBad: "signature-bad", Security, 5, Some(&attack::DATA_MANIPULATED);
    /// A package is signed by a key that is not pinned.
    KeyUnpinned: "key-unpinned", Security, 3, None;
    /// A package carries no signature.
    PackageUnsigned: "package-unsigned", Security, 3, None;
    /// A manifest of software outside RPM does not count: bad signature, unknown key, expired, replayed.
    ManifestRefused: "manifest-refused", Security, 4, None;
    /// A package could not be checked for another reason.
    PackageUnverified: "package-unverified", Security, 3, None;
    /// The package database could not be read.
    RpmdbUnreadable: "rpmdb-unreadable", Operation, 4, None;
    /// There is no trust: every verdict is "unverified".
    TrustEmpty: "trust-empty", Operation, 4, None;
    /// A hook could not be attached, or its self-test failed.
    SensorMissing: "sensor-missing", Operation, 4, Some(&attack::TOOLS_IMPAIRED);
    /// The kernel allows less than the configuration asks for.
    TierBelow: "tier-below-configured", Operation, 3, None;
    /// Events were lost.
    EventsLost: "events-lost", Operation, 4, Some(&attack::TOOLS_IMPAIRED);
    /// More tasks than can be watched at once.
    TasksUntracked: "tasks-untracked", Operation, 4, Some(&attack::TOOLS_IMPAIRED);
    /// A pinned key, or a file of pins, cannot be used.
    KeyUnusable: "key-unusable", Operation, 3, None;
    /// Records from the kernel could not be understood.
    RecordsUndecodable: "records-undecodable", Operation, 4, Some(&attack::TOOLS_IMPAIRED);
    /// The books do not balance: somebody else reads the ring or writes the counters.
    EventsUnaccounted: "events-unaccounted", Operation, 4, Some(&attack::TOOLS_IMPAIRED);
    /// Records could not be written.
    SinkFailed: "sink-failed", Operation, 4, None;
    /// A sink works again.
    SinkRecovered: "sink-recovered", Operation, 2, None;
    /// Policy files cannot be used: the policy in force stays, or there is none.
    PolicyRejected: "policy-rejected", Operation, 4, Some(&attack::TOOLS_IMPAIRED);
    /// No policy fits this host: verdicts are recorded, nothing is decided.
    PolicyNone: "policy-none", Operation, 3, None;
    /// The policy asks for enforcement, which is not to be had here.
    EnforceUnavailable: "enforce-unavailable", Operation, 4, None;
    /// Something that runs, or must be able to run, would be refused: the gate observes.
    EnforceNotReady: "enforce-not-ready", Operation, 4, None;
    /// Tier B: the process that takes digests for the gate stalled and was killed.
    GateResponderKilled: "gate-responder-killed", Operation, 4, Some(&attack::TOOLS_IMPAIRED);
    /// Tier B: the process that takes digests for the gate ended, or cannot begin.
    GateResponderEnded: "gate-responder-ended", Operation, 4, Some(&attack::TOOLS_IMPAIRED);
    /// Tier B: digests are taken again.
    GateResponderRecovered: "gate-responder-recovered", Operation, 2, None;
    /// A refresh of trust would have taken too many digests away: it is held until confirmed.
    TrustLossHeld: "trust-loss-held", Operation, 4, Some(&attack::DATA_MANIPULATED);
    /// A package was opened to be installed and is not in the database: its files are no longer trusted.
    ProvisionalWithdrawn: "provisional-withdrawn", Security, 2, None;
    /// A process runs a file of such a package.
    WithdrawnRuns: "withdrawn-runs", Security, 4, Some(&attack::UNTRUSTED_PROGRAM);
    /// The kernel side has no room for all digests.
    TrustOverflow: "trust-overflow", Operation, 4, None;
    /// The programs could not be pinned: the gate opens when hardpand ends, though the policy wants it shut then.
    PinFailed: "pin-failed", Operation, 4, None;
    /// hardpand had ended without taking its gate down, which went on by itself.
    GateAlone: "gate-went-on-alone", Operation, 3, Some(&attack::TOOLS_IMPAIRED);
    /// The release gets no security updates any more.
    ReleaseEndOfLife: "release-end-of-life", Operation, 3, None;
    /// Something that `hardpan harden apply` set is no longer so.
    HardeningDrift: "hardening-drift", Security, 3, Some(&attack::TOOLS_IMPAIRED);
    /// Hardening that nobody confirmed in time was taken back.
    HardeningRolledBack: "hardening-rolled-back", Operation, 3, None;
    /// Hardening could not be looked at, or not be taken back.
    HardeningFailed: "hardening-failed", Operation, 4, None;
    /// A control that was fine in the last audit is not any more.
    AuditRegressed: "audit-regressed", Configuration, 3, None;
    /// A control that was not fine in the last audit is now.
    AuditFixed: "audit-fixed", Configuration, 1, None;
    /// A control has another result than in the last audit.
    AuditChanged: "audit-changed", Configuration, 2, None;
    /// A file of a package is not as its vendor signed it.
    FileChanged: "file-changed", Security, 4, Some(&attack::DATA_MANIPULATED);
    /// All packages' files were verified.
    FilesVerified: "files-verified", Configuration, 1, None;
    /// The files could not be verified.
    SweepFailed: "sweep-failed", Operation, 3, None;
    /// An audit has ended.
    AuditDone: "audit-done", Configuration, 1, None;
    /// A regular audit failed, or its result could not be kept.
    AuditFailed: "audit-failed", Operation, 3, None;
}

/// A finding.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What it is about.
    pub code: FindingCode,
    /// One sentence: what was seen, on what.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Packages concerned, as `name-version-release.arch`; the first ones if there are many.
    pub packages: Vec<String>,
    /// File or device concerned.
    pub path: Option<RawText>,
    /// Key concerned.
    pub fingerprint: Option<String>,
    /// How many packages or events, if it is about more than one.
    pub count: Option<u64>,
}

impl Finding {
    /// A finding with a message and nothing else.
    pub fn new(code: FindingCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            packages: Vec::new(),
            path: None,
            fingerprint: None,
            count: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The record, at a time in microseconds since 1970.
    pub fn draft(&self, at_us: i64) -> Draft {
        let mut own = Own::default();
        let (kind, category) = match self.code.kind() {
            FindingKind::Security => ("alert", "intrusion_detection"),
            FindingKind::Operation => ("event", "host"),
            FindingKind::Configuration => ("event", "configuration"),
        };
        let fields = Event {
            kind,
            category: vec![category],
            types: vec!["info"],
            action: self.code.word(),
            outcome: Some("unknown"),
            reason: self.hint.clone(),
            severity: self.code.severity(),
            dataset: "hardpan.finding",
            provider: "hardpand",
            ..Event::default()
        };
        let file = self.path.as_ref().map(|path| File {
            path: Some(shown(&mut own, "file.path", path)),
            ..File::default()
        });
        own.finding = Some(OwnFinding {
            code: self.code.word(),
            hint: self.hint.clone(),
            fingerprint: self.fingerprint.clone(),
            packages: self
                .packages
                .iter()
                .take(PACKAGES_NAMED)
                .map(ToString::to_string)
                .collect(),
            count: self.count,
        });
        let mut draft = Draft::new(at_us, 0, fields, self.message.clone());
        draft.file = file;
        if let [package] = self.packages.as_slice() {
            draft.package = Package::from_nevra(package)
                .as_ref()
                .map(|package| package_fields(package, TrustOrigin::Verified));
        }
        draft.threat = self.code.technique().map(threat);
        draft.own = own;
        draft
    }
}
