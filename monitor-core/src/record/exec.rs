//! Records of executions.

use super::attack::{self, Technique};
use super::ecs::{Event, File, Hash, Process, Related};
use super::own::{Own, OwnAggregate, OwnFile, OwnSigner};
use super::parts::{code_signature, file_fields, package_fields, threat};
use super::text::{arguments, shown};
use super::{Draft, Scene, rfc3339};
use crate::aggregate::Aggregate;
use crate::event::{Exec, KernelDigest, RawText};
use crate::verdict::{ExecVerdict, NoDigest, TrustOrigin, TrustedFile, Unverified, Verdict};
use hardpan_abi::FileInfo;

/// Who hashed a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestSource {
    /// The kernel, while it was about to run the file.
    Kernel,
    /// The kernel, earlier; the inode has not changed since.
    KernelCache,
    /// The daemon, afterwards, through a descriptor of the same inode.
    UserSpace,
}

impl DigestSource {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::KernelCache => "kernel-cache",
            Self::UserSpace => "user-space",
        }
    }
}

/// A digest and who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigest {
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// Who made it.
    pub source: DigestSource,
}

/// Where a path came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathSource {
    /// The kernel resolved the file object to a path.
    Kernel,
    /// The caller of exec passed it; it may be relative, or a link.
    Caller,
    /// Read from `/proc` afterwards.
    Proc,
    /// The daemon knew it: the policy protects the file.
    Policy,
}

impl PathSource {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Caller => "caller",
            Self::Proc => "proc",
            Self::Policy => "policy",
        }
    }
}

/// What enrichment found out about one file of an exec.
#[derive(Debug, Clone)]
pub struct FileFacts {
    /// Best known path; `None` if none is.
    pub path: Option<(RawText, PathSource)>,
    /// Digest, or why there is none.
    pub digest: Result<FileDigest, NoDigest>,
    /// What became of the kernel's own attempt to hash it.
    pub kernel: KernelDigest,
    /// Inode, where somebody saw it.
    pub info: Option<FileInfo>,
}

/// The files of an exec.
#[derive(Debug, Clone)]
pub struct ExecFacts {
    /// The file whose code runs.
    pub file: FileFacts,
    /// The script.
    pub script: Option<FileFacts>,
}

/// A record of one exec.
pub fn exec(event: &Exec, facts: &ExecFacts, verdict: &ExecVerdict, scene: &Scene<'_>) -> Draft {
    let mut own = Own {
        verdict: Some(verdict.overall().word()),
        ..Own::default()
    };
    let mut process = scene.process(&mut own, &event.head.task, &event.creds);
    let (args, command_line) = arguments(&mut own, &event.argv);
    if !event.argv.unreadable {
        // Of a cut area only the length in bytes is known.
        process.args_count = own.args.is_none().then_some(args.len());
        process.args = Some(args);
        process.command_line = Some(command_line);
    }

    let own_file = own_file(&mut own, "process.executable", &facts.file, &verdict.file);
    process.executable.clone_from(&own_file.path);
    if let Some((path, _)) = &facts.file.path {
        process.name = Some(path.file_name().text().into_owned());
    }
    process.hash = own_file.sha256.clone().map(|sha256| Hash { sha256 });
    process.code_signature = Some(code_signature(&verdict.file));
    own.file = Some(own_file);
    if let (Some(facts), Some(verdict)) = (&facts.script, &verdict.script) {
        own.script = Some(self::own_file(&mut own, "script.path", facts, verdict));
    }

    let subject = Subject::of(facts, verdict, &own, &process);
    let message = format!(
        "exec of {}: {}",
        subject.name,
        explain(verdict.overall(), subject.own)
    );
    let mut draft = Draft::new(scene.at_us, 1, event_fields(verdict), message);
    draft.file = Some(File {
        path: subject.own.path.clone(),
        name: subject
            .path
            .as_ref()
            .map(|path| path.file_name().text().into_owned()),
        hash: subject.own.sha256.clone().map(|sha256| Hash { sha256 }),
        code_signature: Some(code_signature(subject.verdict)),
        ..subject.info.map(file_fields).unwrap_or_default()
    });
    draft.package = verdict
        .overall()
        .owner()
        .map(|file| package_fields(&file.package, file.origin));
    draft.threat = technique(verdict.overall()).map(threat);
    draft.related = Some(related(&own, &process));
    draft.user = Some(scene.acting_user(&event.creds));
    draft.container = scene.container();
    draft.process = Some(process);
    draft.own = own;
    draft
}

/// `file.*` describes what the user ran: the script, where there is one.
struct Subject<'a> {
    name: String,
    path: Option<RawText>,
    info: Option<&'a FileInfo>,
    own: &'a OwnFile,
    verdict: &'a Verdict,
}

impl<'a> Subject<'a> {
    fn of(facts: &'a ExecFacts, verdict: &'a ExecVerdict, own: &'a Own, process: &Process) -> Self {
        const NOTHING: &OwnFile = &OwnFile {
            verdict: None,
            why: None,
            path: None,
            path_source: None,
            sha256: None,
            digest_source: None,
            kernel_digest: None,
            expected_sha256: None,
            trust: None,
            package: None,
            package_path: None,
            signer: None,
            changed_config_of: None,
            fs_magic: None,
        };
        let (info, own, verdict) = match (&facts.script, &own.script, &verdict.script) {
            (Some(script), Some(own), Some(verdict)) => (script.info.as_ref(), own, verdict),
            _ => (
                facts.file.info.as_ref(),
                own.file.as_ref().unwrap_or(NOTHING),
                &verdict.file,
            ),
        };
        let name = own
            .path
            .clone()
            .or_else(|| process.name.clone())
            .unwrap_or_else(|| "an unknown file".to_owned());
        Self {
            name,
            path: own.path.as_deref().map(RawText::from),
            info,
            own,
            verdict,
        }
    }
}

pub(super) fn own_file(own: &mut Own, field: &'static str, facts: &FileFacts, verdict: &Verdict) -> OwnFile {
    let path = facts.path.as_ref();
    let owner = verdict.owner();
    OwnFile {
        verdict: Some(verdict.word()),
        why: match verdict {
            Verdict::Unverified(why) => Some(why.word().to_owned()),
            _ => None,
        },
        path: path.map(|(path, _)| shown(own, field, path)),
        path_source: path.map(|(_, source)| source.word()),
        sha256: facts
            .digest
            .as_ref()
            .ok()
            .map(|digest| hex::encode(digest.sha256)),
        digest_source: facts.digest.as_ref().ok().map(|digest| digest.source.word()),
        kernel_digest: facts.kernel.sha256().is_none().then(|| facts.kernel.word()),
        expected_sha256: match verdict {
            Verdict::DigestMismatch { expected, .. } => Some(hex::encode(expected)),
            _ => None,
        },
        trust: owner.and_then(origin),
        package: owner.map(|file| file.package.to_string()),
        package_path: owner.map(|file| file.path.text().into_owned()),
        signer: owner.map(signer),
        changed_config_of: match verdict {
            Verdict::Untrusted { changed_config_of } => changed_config_of.as_ref().map(ToString::to_string),
            _ => None,
        },
        fs_magic: facts.info.as_ref().map(|info| format!("{:#x}", info.fs_magic)),
    }
}

/// What is not the rule: that a package which is installed now lists the very digest.
fn origin(file: &TrustedFile) -> Option<&'static str> {
    Some(file.origin)
        .filter(|origin| *origin != TrustOrigin::Verified)
        .map(TrustOrigin::word)
}

fn signer(file: &TrustedFile) -> OwnSigner {
    OwnSigner {
        fingerprint: file.signer.fingerprint.clone(),
        name: file.signer.name.clone(),
    }
}

/// The verdict in a sentence.
pub(super) fn explain(verdict: &Verdict, own: &OwnFile) -> String {
    let package = own.package.as_deref().unwrap_or_default();
    match verdict {
        Verdict::Trusted(file) => {
            let (package, signer) = (&file.package, &file.signer.name);
            match file.origin {
                TrustOrigin::Local => format!("trusted by manifest {package}, signed by {signer}"),
                TrustOrigin::LocalUnsigned => format!("trusted by manifest {package}, which nobody signed"),
                TrustOrigin::Provisional => {
                    format!("trusted by {package}, which is being installed, signed by {signer}")
                }
                TrustOrigin::Retired => {
                    format!("trusted by {package}, replaced since the last boot, signed by {signer}")
                }
                TrustOrigin::Verified | TrustOrigin::Derived => {
                    format!("trusted by {package}, signed by {signer}")
                }
            }
        }
        Verdict::Untrusted {
            changed_config_of: Some(package),
        } => {
            format!("untrusted: a changed configuration file of {package}")
        }
        Verdict::Untrusted {
            changed_config_of: None,
        } => "untrusted: no signed package lists its digest".to_owned(),
        Verdict::Fileless { trusted: None } => "fileless: it has no name in any directory".to_owned(),
        Verdict::Fileless { trusted: Some(file) } => {
            format!(
                "fileless: it has no name in any directory; its content is that of {}",
                file.package
            )
        }
        Verdict::DigestMismatch { owner, .. } if package.is_empty() => {
            format!(
                "digest mismatch: not the content that {} was signed with",
                owner.package
            )
        }
        Verdict::DigestMismatch { .. } => {
            format!("digest mismatch: not the content that {package} was signed with")
        }
        Verdict::Unverified(why) => format!("unverified: {}", unverified(why)),
    }
}

fn unverified(why: &Unverified) -> String {
    match why {
        Unverified::NoTrustDatabase => "there is no trust database".to_owned(),
        Unverified::OtherAlgorithm { package } => format!("{package} lists no SHA-256 for it"),
        Unverified::NoDigest(why) => match why {
            NoDigest::ProcessGone => "the process ended before its file could be opened".to_owned(),
            NoDigest::FileChanged => "the file changed before it could be hashed".to_owned(),
            NoDigest::TooLarge { size_bytes } => format!("with {size_bytes} bytes it is too large to hash"),
            NoDigest::NotRegular => "it is not a regular file".to_owned(),
            NoDigest::PathUnknown => "its path is unknown".to_owned(),
            NoDigest::Writers => "somebody had it open for writing".to_owned(),
            NoDigest::Unreadable { errno } => {
                format!("it could not be read: {}", crate::platform::errno_text(*errno))
            }
            NoDigest::OtherAlgorithm => {
                "an IMA policy took its digest by another algorithm than SHA-256".to_owned()
            }
            NoDigest::NotHashed => "nobody had hashed it".to_owned(),
            NoDigest::Busy => "too many files were waiting to be hashed".to_owned(),
        },
    }
}

fn event_fields(verdict: &ExecVerdict) -> Event {
    let overall = verdict.overall();
    let alert = technique(overall).is_some();
    Event {
        kind: if alert { "alert" } else { "event" },
        category: if alert {
            vec!["process", "intrusion_detection"]
        } else {
            vec!["process"]
        },
        types: if alert {
            vec!["start", "info"]
        } else {
            vec!["start"]
        },
        action: "exec",
        outcome: Some("success"),
        severity: match overall {
            Verdict::Trusted(_) => 1,
            Verdict::Unverified(_) => 2,
            Verdict::Untrusted { .. } => 3,
            Verdict::Fileless { .. } => 4,
            Verdict::DigestMismatch { .. } => 5,
        },
        dataset: "hardpan.exec",
        provider: "bpf",
        ..Event::default()
    }
}

pub(super) const fn technique(verdict: &Verdict) -> Option<&'static Technique> {
    match verdict {
        Verdict::Trusted(_) | Verdict::Unverified(_) => None,
        Verdict::Untrusted { .. } => Some(&attack::UNTRUSTED_PROGRAM),
        Verdict::Fileless { .. } => Some(&attack::FILELESS),
        Verdict::DigestMismatch { .. } => Some(&attack::BINARY_REPLACED),
    }
}

fn related(own: &Own, process: &Process) -> Related {
    let files = [own.file.as_ref(), own.script.as_ref()];
    let mut user: Vec<String> = [process.user.as_ref(), process.real_user.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|user| user.name.clone())
        .collect();
    user.dedup();
    Related {
        hash: files
            .into_iter()
            .flatten()
            .filter_map(|file| file.sha256.clone())
            .collect(),
        user,
    }
}

/// What an aggregate line tells of its executions; taken from the first of them.
#[derive(Debug, Clone)]
pub struct ExecSummary {
    /// Path of the executable.
    pub executable: Option<RawText>,
    /// Digest of the executable.
    pub sha256: [u8; 32],
    /// Package and signer of the executable.
    pub file: TrustedFile,
    /// Path, digest and owner of the script, if scripts were run.
    pub script: Option<(Option<RawText>, [u8; 32], TrustedFile)>,
    /// What started them.
    pub parent: RawText,
    /// Effective user.
    pub uid: u32,
    /// Name of the user.
    pub user_name: Option<String>,
}

/// A record of executions that had the same digest, parent and user. `at_us` is now; `first_us` and `last_us` are when
/// the first and the last of them happened.
pub fn exec_aggregate<K>(
    aggregate: &Aggregate<K, ExecSummary>,
    at_us: i64,
    first_us: i64,
    last_us: i64,
) -> Draft {
    let summary = &aggregate.sample;
    let mut own = Own {
        verdict: Some("trusted"),
        aggregate: Some(OwnAggregate {
            count: aggregate.count,
        }),
        ..Own::default()
    };
    let mut part = |field, path: Option<&RawText>, sha256: &[u8; 32], file: &TrustedFile| OwnFile {
        verdict: Some("trusted"),
        path: path.map(|path| shown(&mut own, field, path)),
        sha256: Some(hex::encode(sha256)),
        trust: origin(file),
        package: Some(file.package.to_string()),
        package_path: Some(file.path.text().into_owned()),
        signer: Some(signer(file)),
        ..OwnFile::default()
    };
    let own_file = part(
        "process.executable",
        summary.executable.as_ref(),
        &summary.sha256,
        &summary.file,
    );
    let own_script = summary
        .script
        .as_ref()
        .map(|(path, sha256, file)| part("script.path", path.as_ref(), sha256, file));
    let ran = own_script.as_ref().unwrap_or(&own_file);
    let owner = summary.script.as_ref().map_or(&summary.file, |(_, _, file)| file);
    let name = ran.path.clone().unwrap_or_else(|| file_name(&owner.path));
    let message = format!(
        "{} executions of {name}: trusted by {}",
        aggregate.count, owner.package
    );
    let event = Event {
        kind: "event",
        category: vec!["process"],
        types: vec!["start", "info"],
        action: "exec-aggregate",
        outcome: Some("success"),
        severity: 1,
        dataset: "hardpan.exec",
        provider: "bpf",
        start: Some(rfc3339(first_us)),
        end: Some(rfc3339(last_us)),
        ..Event::default()
    };
    let mut draft = Draft::new(at_us, aggregate.count, event, message);
    let parent = shown(&mut own, "process.parent.executable", &summary.parent);
    draft.process = Some(Process {
        executable: own_file.path.clone(),
        name: summary.executable.as_ref().map(file_name),
        hash: Some(Hash {
            sha256: hex::encode(summary.sha256),
        }),
        code_signature: Some(code_signature(&Verdict::Trusted(summary.file.clone()))),
        user: Some(super::ecs::User {
            id: Some(summary.uid.to_string()),
            name: summary.user_name.clone(),
            ..super::ecs::User::default()
        }),
        parent: Some(Box::new(Process {
            name: Some(file_name(&summary.parent)),
            // A command name without a slash is no path.
            executable: parent.starts_with('/').then_some(parent),
            ..Process::default()
        })),
        ..Process::default()
    });
    draft.package = Some(package_fields(&owner.package, owner.origin));
    own.file = Some(own_file);
    own.script = own_script;
    draft.own = own;
    draft
}

fn file_name(path: &RawText) -> String {
    path.file_name().text().into_owned()
}
