//! `hardpan trust list` and `hardpan trust refresh`.

use super::sight::{Sight, SightArgs};
use super::table::{count, push, table};
use super::{Answer, Exit, Failure, say};
use crate::gate::ACCEPT_LOSS;
use crate::trust::atomic;
use crate::trust::manifest::ManifestSource;
use crate::trust::store::ReadingOrigin;
use clap::Args;
use hardpan_core::envelope::time_text;
use hardpan_core::platform::Release;
use hardpan_core::trust::{
    BuildSystem, Foreign, HostRelease, Origin, build_system, dist_tag_release, foreign,
};
use hardpan_rpm::index::Package;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Lists packages whose signature was verified, foreign ones, findings, or manifests.
///
/// --foreign lists packages that another vendor than the host's signed, and those of another EL release: what
/// conversions (migrate2rocky, almalinux-deploy) and in-place upgrades (ELevate) leave behind, and add-on repositories.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardpan trust list\n  hardpan trust list --foreign\n  \
        hardpan trust list --findings --json | jq .kind\n\n\
        Exit codes: 0 fine; 1 with --foreign or --findings: there are some; 3 it could not look."
)]
pub(super) struct ListArgs {
    /// Only packages of another vendor or another EL release, with the reason.
    #[arg(long, group = "what")]
    foreign: bool,
    /// What is wrong with packages, keys and manifests.
    #[arg(long, group = "what")]
    findings: bool,
    /// Manifests in effect.
    #[arg(long, group = "what")]
    manifests: bool,
    /// Packages that were replaced since the last boot and may still run.
    #[arg(long, group = "what")]
    retired: bool,
    /// Print a JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sight: SightArgs,
}

impl ListArgs {
    /// Which system to look at.
    #[cfg(test)]
    pub(super) fn sight(&self) -> &SightArgs {
        &self.sight
    }
}

pub(super) fn run(args: &ListArgs) -> Result<Answer, Failure> {
    let sight = args.sight.look(false)?;
    let (rows, head, exit) = if args.findings {
        let rows = findings(&sight);
        let exit = if rows.is_empty() {
            Exit::Fine
        } else {
            Exit::Findings
        };
        (rows, ["KIND", "FINDING"].as_slice(), exit)
    } else if args.manifests {
        (
            manifests(&sight),
            ["NAME", "FILES", "SIGNED BY", "SERIAL", "EXPIRES"].as_slice(),
            Exit::Fine,
        )
    } else if args.foreign {
        let root = args.sight.root(&args.sight.config()?);
        let rows = foreign_packages(&sight, &root);
        say(&format!(
            "{} of {}",
            count(rows.len() as u64, "foreign package"),
            sight.current.outcome.summary.verified
        ));
        let exit = if rows.is_empty() {
            Exit::Fine
        } else {
            Exit::Findings
        };
        (rows, ["PACKAGE", "VENDOR", "SIGNER", "WHY"].as_slice(), exit)
    } else {
        let head = ["PACKAGE", "VENDOR", "BUILD SYSTEM", "SIGNER"].as_slice();
        (packages(&sight, args.retired), head, Exit::Fine)
    };
    if !args.findings {
        hint_about_findings(&sight);
    }
    let text = if args.json {
        rows.iter().fold(String::new(), |mut text, (_, json)| {
            push(&mut text, format_args!("{json}\n"));
            text
        })
    } else if rows.is_empty() {
        String::new()
    } else {
        table(
            head,
            &rows.into_iter().map(|(cells, _)| cells).collect::<Vec<_>>(),
        )
    };
    Ok(Answer { text, exit })
}

/// A row for people and the same for programs.
type Row = (Vec<String>, Value);

fn hint_about_findings(sight: &Sight) {
    let n = sight.current.outcome.findings.len() + sight.findings.len();
    if n > 0 {
        say(&format!(
            "{}: see hardpan trust list --findings",
            count(n as u64, "finding")
        ));
    }
}

fn findings(sight: &Sight) -> Vec<Row> {
    let mut rows = Vec::new();
    for finding in &sight.current.outcome.findings {
        let json = serde_json::to_value(finding).unwrap_or_default();
        rows.push((vec![finding.kind().to_owned(), finding.to_string()], json));
    }
    for finding in &sight.findings {
        let path = finding.path.as_ref().map(|path| path.text().into_owned());
        let json = json!({
            "kind": finding.code.word(), "path": path, "reason": finding.message, "hint": finding.hint,
        });
        let message = match path {
            Some(path) if !finding.message.contains(&path) => format!("{path}: {}", finding.message),
            _ => finding.message.clone(),
        };
        rows.push((vec![finding.code.word().to_owned(), message], json));
    }
    rows
}

fn manifests(sight: &Sight) -> Vec<Row> {
    let row = |manifest: &std::sync::Arc<crate::trust::manifest::LocalManifest>| {
        let (by, key, serial, expires) = match &manifest.source {
            ManifestSource::Signed {
                key_name,
                key,
                serial,
                expires,
            } => (
                Some(key_name),
                Some(key),
                Some(*serial),
                Some(time_text(*expires)),
            ),
            ManifestSource::LocalUnsigned { .. } => (None, None, None, None),
        };
        let json = json!({
            "name": manifest.name, "kind": manifest.source.word(), "files": manifest.files, "key_name": by,
            "key": key, "serial": serial, "expires": expires,
        });
        let cells = vec![
            manifest.name.clone(),
            manifest.files.to_string(),
            by.map_or_else(|| "nobody (made here)".to_owned(), Clone::clone),
            serial.map(|serial| serial.to_string()).unwrap_or_default(),
            expires.unwrap_or_default(),
        ];
        (cells, json)
    };
    sight.local.manifests().iter().map(row).collect()
}

fn package_json(package: &Package<'_>) -> Value {
    let signer = package.signer();
    json!({
        "package": package.nevra().to_string(),
        "vendor": package.vendor(),
        "build_host": package.build_host(),
        "build_system": build_system(package.build_host(), package.vendor()).map(BuildSystem::name),
        "signer": {
            "name": signer.pin_name, "vendor": signer.vendor, "fingerprint": signer.pinned_key,
            "signing_key": signer.signing_key,
        },
        "retired": package.is_retired(),
    })
}

fn packages(sight: &Sight, retired: bool) -> Vec<Row> {
    let row = |package: Package<'_>| {
        let system = build_system(package.build_host(), package.vendor());
        let cells = vec![
            package.nevra().to_string(),
            package.vendor().unwrap_or_default().to_owned(),
            system.map(|system| system.name().to_owned()).unwrap_or_default(),
            package.signer().pin_name.to_owned(),
        ];
        (cells, package_json(&package))
    };
    let index = &sight.current.outcome.index;
    index
        .packages()
        .filter(|package| package.is_retired() == retired)
        .map(row)
        .collect()
}

/// The foreign packages of the system below `root`.
fn foreign_packages(sight: &Sight, root: &Path) -> Vec<Row> {
    let index = &sight.current.outcome.index;
    let installed = || index.packages().filter(|package| !package.is_retired());
    let host = host_release(root).or_else(|| {
        let guess = most_frequent(installed());
        if let Some(guess) = &guess {
            let major = guess.major.map(|major| format!(" {major}")).unwrap_or_default();
            say(&format!(
                "note: os-release names no Enterprise Linux; most packages are of {}{major}",
                guess.vendor
            ));
        }
        guess
    });
    let Some(host) = host else { return Vec::new() };
    let row = |package: Package<'_>| {
        let signer = package.signer();
        let nevra = package.nevra();
        let origin = Origin {
            signer_vendor: signer.vendor,
            key_releases: signer.releases,
            release: &nevra.release,
        };
        let reasons = foreign(&origin, &host);
        if reasons.is_empty() {
            return None;
        }
        let mut json = package_json(&package);
        if let Some(object) = json.as_object_mut() {
            object.insert("reasons".to_owned(), reasons.iter().map(Foreign::word).collect());
        }
        let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let cells = vec![
            nevra.to_string(),
            package.vendor().unwrap_or_default().to_owned(),
            signer.pin_name.to_owned(),
            why.join("; "),
        ];
        Some((cells, json))
    };
    installed().filter_map(row).collect()
}

/// What os-release below a root says.
fn host_release(root: &Path) -> Option<HostRelease> {
    use std::io::Read as _;
    let root = hardpan_rpm::root::Root::open(root).ok()?;
    let file = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| root.open_file(Path::new(path)).ok())?;
    let mut text = String::new();
    file.take(1 << 16).read_to_string(&mut text).ok()?;
    let release = Release::parse(&text);
    HostRelease::of(&release.vendor, release.major)
}

/// Vendor and release of most packages.
fn most_frequent<'a>(packages: impl Iterator<Item = Package<'a>>) -> Option<HostRelease> {
    let mut vendors: BTreeMap<&str, usize> = BTreeMap::new();
    let mut majors: BTreeMap<u32, usize> = BTreeMap::new();
    for package in packages {
        *vendors.entry(package.signer().vendor).or_default() += 1;
        if let Some(major) = dist_tag_release(&package.nevra().release) {
            *majors.entry(major).or_default() += 1;
        }
    }
    let vendor = vendors.into_iter().max_by_key(|(_, n)| *n)?.0.to_owned();
    let major = majors.into_iter().max_by_key(|(_, n)| *n).map(|(major, _)| major);
    Some(HostRelease { vendor, major })
}

/// Reads the package database again and keeps what was found.
///
/// hardpand does so by itself when the database changes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardpan trust refresh\n  hardpan trust refresh --root /mnt --state-dir /tmp/state\n\n\
        Exit codes: 0 fine, 1 there are findings (hardpan trust list --findings), 3 it could not look or not keep it."
)]
pub(super) struct RefreshArgs {
    /// Let hardpand take digests out of the kernel that it holds back because too many would go at once.
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    sight: SightArgs,
}

pub(super) fn refresh(args: &RefreshArgs) -> Result<Answer, Failure> {
    if args.accept_loss {
        let path = args.sight.state.dir().join(ACCEPT_LOSS);
        atomic::write(&path, b"", 0o600).map_err(|error| Failure::failed(error, None))?;
    }
    let sight = args.sight.look(true)?;
    let outcome = &sight.current.outcome;
    let summary = &outcome.summary;
    let retired = outcome.index.packages().filter(Package::is_retired).count();
    let mut text = format!(
        "{}: {} of {} verified, {}, {}\n",
        summary.database,
        summary.verified,
        count(summary.packages, "package"),
        count(summary.files, "file"),
        count(summary.digests, "digest"),
    );
    if retired > 0 {
        let packages = count(retired as u64, "package");
        push(
            &mut text,
            format_args!("{packages} replaced since the last boot may still run\n"),
        );
    }
    let kept = match (&sight.current.origin, &sight.store) {
        (ReadingOrigin::Scanned { not_kept: None, .. }, Some(path)) => Some(path),
        _ => None,
    };
    match kept {
        Some(path) => push(&mut text, format_args!("kept in {}\n", path.display())),
        None => say("not kept: give --state-dir, or run as root"),
    }
    hint_about_findings(&sight);
    let exit = match (kept, outcome.findings.is_empty() && sight.findings.is_empty()) {
        (None, _) => Exit::Failed,
        (Some(_), true) => Exit::Fine,
        (Some(_), false) => Exit::Findings,
    };
    Ok(Answer { text, exit })
}
