//! `hardpan trust keys`: which keys are pinned; pinning and unpinning.

use super::sight::{SightArgs, StateArgs};
use super::table::{push, table};
use super::{Answer, Exit, Failure, Message, say};
use crate::config::read_safely;
use crate::crypto::public_keys;
use crate::trust::{atomic, store};
use clap::{Args, Subcommand};
use hardpan_core::record::Finding;
use hardpan_core::syntax::complaint;
use hardpan_rpm::openpgp::{certificates, dearmor};
use hardpan_rpm::{Fingerprint, KeyMaterial, Pin, Pins};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Shows which keys are pinned, whether their material was found, and how many packages they vouch for.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  hardpan trust keys\n  hardpan trust keys --json | jq 'select(.packages > 0)'\n  \
        hardpan trust keys pin 567E347AD0044ADE55BA8A5F199E2F91FD431D51 --scope 'acme-*' --name 'ACME packages'\n  \
        hardpan trust keys unpin 567E347AD0044ADE55BA8A5F199E2F91FD431D51"
)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: Option<KeysCommand>,
    /// Print a JSON object per line.
    #[arg(long)]
    json: bool,
    /// Only keys whose material was found.
    #[arg(long)]
    found: bool,
    #[command(flatten)]
    sight: SightArgs,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    Pin(PinArgs),
    Unpin(UnpinArgs),
}

/// Lets a key vouch for packages.
///
/// Write a file of your own into /etc/hardpan/keys.d. The key itself must be in /etc/pki/rpm-gpg or imported by rpm.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hardpan trust keys pin '567E 347A D004 4ADE 55BA  8A5F 199E 2F91 FD43 1D51' --scope 'acme-*' --name ACME"
)]
struct PinArgs {
    /// The whole fingerprint, 40 or 64 hexadecimal digits. Short key ids are refused: they can be forged.
    fingerprint: String,
    /// Package names the key may vouch for; * and ? are wildcards, '*' is every package. Repeatable.
    #[arg(long, value_name = "GLOB", required = true, num_args = 1..)]
    scope: Vec<String>,
    /// Name for people.
    #[arg(long)]
    name: String,
    /// Vendor, as `trust list --foreign` compares it.
    #[arg(long, default_value = "local")]
    vendor: String,
    /// EL major releases it signs for; all if not given. Repeatable.
    #[arg(long, value_name = "MAJOR")]
    release: Vec<u8>,
    #[command(flatten)]
    state: StateArgs,
}

/// Takes back a pin of your own.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hardpan trust keys unpin 567E347AD0044ADE55BA8A5F199E2F91FD431D51")]
struct UnpinArgs {
    /// The whole fingerprint.
    fingerprint: String,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &KeysArgs) -> Result<Answer, Failure> {
    match &args.command {
        None => list(args),
        Some(KeysCommand::Pin(args)) => pin(args),
        Some(KeysCommand::Unpin(args)) => unpin(args),
    }
}

/// Which fingerprints are in the key files, and in which.
fn material(keys: &[KeyMaterial]) -> BTreeMap<Fingerprint, String> {
    let mut found = BTreeMap::new();
    for key in keys {
        let Ok(packets) = dearmor(&key.bytes) else {
            continue;
        };
        for certificate in certificates(&packets).0 {
            for fingerprint in certificate.claimed_fingerprints() {
                found.entry(fingerprint).or_insert_with(|| key.source.clone());
            }
        }
    }
    found
}

fn list(args: &KeysArgs) -> Result<Answer, Failure> {
    let sight = args.sight.look(false)?;
    let outcome = &sight.current.outcome;
    let found = material(&sight.options.keys);
    let mut packages: BTreeMap<Fingerprint, u64> = BTreeMap::new();
    for package in outcome.index.packages().filter(|package| !package.is_retired()) {
        if let Some(key) = package.signer().fingerprint() {
            *packages.entry(key).or_default() += 1;
        }
    }
    let unusable: BTreeSet<String> = outcome
        .findings
        .iter()
        .filter_map(|finding| match finding {
            hardpan_rpm::Finding::UnusableKey { fingerprint, .. } => Some(fingerprint.clone()),
            _ => None,
        })
        .collect();
    let mut rows = Vec::new();
    let mut lines = String::new();
    let mut pins: Vec<&Pin> = sight.options.pins.iter().collect();
    pins.sort_by(|a, b| (&a.vendor, &a.name).cmp(&(&b.vendor, &b.name)));
    for pin in pins {
        let vouches_for = packages.get(&pin.fingerprint).copied().unwrap_or(0);
        let material = match found.get(&pin.fingerprint) {
            _ if unusable.contains(&pin.fingerprint.to_string()) => "unusable",
            Some(_) => "found",
            // The one that vouches has been found in the database.
            None if vouches_for > 0 => "database",
            None => "none",
        };
        if args.found && material == "none" {
            continue;
        }
        let releases: Vec<String> = pin.releases.iter().map(u8::to_string).collect();
        let scope: Vec<String> = pin.scope.iter().map(ToString::to_string).collect();
        let json = json!({
            "kind": "pinned-key", "name": pin.name, "vendor": pin.vendor,
            "fingerprint": pin.fingerprint.to_string(), "releases": pin.releases, "scope": scope,
            "material": material, "found_in": found.get(&pin.fingerprint), "packages": vouches_for,
            "pinned_in": pin.source,
        });
        push(&mut lines, format_args!("{json}\n"));
        rows.push(vec![
            pin.name.clone(),
            releases.join(","),
            pin.fingerprint.to_string(),
            material.to_owned(),
            vouches_for.to_string(),
            scope.join(" "),
            pin.source.clone(),
        ]);
    }
    let head = [
        "NAME",
        "EL",
        "FINGERPRINT",
        "MATERIAL",
        "PACKAGES",
        "SCOPE",
        "PINNED IN",
    ];
    let mut text = table(&head, &rows);
    let (manifest_rows, manifest_lines) = manifest_keys(&args.sight)?;
    if !manifest_rows.is_empty() {
        text.push('\n');
        text.push_str(&table(
            &["SIGNER", "ALGORITHM", "KEY", "USES", "FILE"],
            &manifest_rows,
        ));
        lines.push_str(&manifest_lines);
    }
    for finding in outcome.findings.iter().filter(|finding| about_keys(finding)) {
        say(&format!("{}: {finding}", finding.kind()));
    }
    tell(&sight.findings);
    Ok(Answer {
        text: if args.json { lines } else { text },
        exit: Exit::Fine,
    })
}

fn about_keys(finding: &hardpan_rpm::Finding) -> bool {
    matches!(finding.kind(), "unpinned-key" | "unusable-key" | "out-of-scope")
}

fn tell(findings: &[Finding]) {
    for finding in findings {
        let path = finding.path.as_ref().map(|path| path.text().into_owned());
        say(&format!("{}: {}", path.unwrap_or_default(), finding.message));
    }
}

/// Public keys that may sign manifests and policies.
fn manifest_keys(sight: &SightArgs) -> Result<(Vec<Vec<String>>, String), Failure> {
    let (keys, _told_with_the_manifests) = public_keys(&sight.config()?.pins);
    let mut rows = Vec::new();
    let mut lines = String::new();
    for (id, trusted) in keys.iter() {
        let uses: Vec<&str> = trusted.key.uses.iter().map(|kind| kind.word()).collect();
        let json = json!({
            "kind": "signer-key", "name": trusted.key.name, "algorithm": trusted.key.algorithm.word(),
            "key": id.to_string(), "uses": uses, "file": trusted.source,
        });
        push(&mut lines, format_args!("{json}\n"));
        rows.push(vec![
            trusted.key.name.clone(),
            trusted.key.algorithm.word().to_owned(),
            id.to_string(),
            uses.join(","),
            trusted.source.clone(),
        ]);
    }
    Ok((rows, lines))
}

fn fingerprint(text: &str) -> Result<Fingerprint, Failure> {
    text.parse::<Fingerprint>().map_err(|error| {
        let hint =
            "`gpg --show-keys --with-fingerprint FILE` shows it; compare it with what the signer publishes";
        Failure::usage(error.to_string(), Some(hint.to_owned()))
    })
}

/// The directory that `keys pin` writes to.
fn keys_dir(dirs: &[PathBuf]) -> Result<&Path, Failure> {
    let none = || {
        Failure::usage(
            "no directory of pinned keys is configured",
            Some("see trust.pins, or give --keys-dir".to_owned()),
        )
    };
    dirs.first().map(PathBuf::as_path).ok_or_else(none)
}

fn pin(args: &PinArgs) -> Result<Answer, Failure> {
    let key = fingerprint(&args.fingerprint)?;
    let config = args.state.trust_config()?;
    let dir = keys_dir(&config.pins)?;
    let (options, findings) = store::scan_options(&config);
    if let Some(pin) = options.pins.find(&key) {
        let message = format!("{key} is already pinned in {} as \"{}\"", pin.source, pin.name);
        return Err(Failure::refused(Message(message), None));
    }
    tell(&findings);
    let quote = |text: &String| toml::Value::String(text.clone()).to_string();
    let scope: Vec<String> = args.scope.iter().map(quote).collect();
    let releases: Vec<String> = args.release.iter().map(u8::to_string).collect();
    let text = format!(
        "# Pinned with `hardpan trust keys pin`.\nvendor = {}\n\n[[key]]\nname = {}\nfingerprint = \"{key}\"\n\
         releases = [{}]\nscope = [{}]\n",
        quote(&args.vendor),
        quote(&args.name),
        releases.join(", "),
        scope.join(", "),
    );
    let path = dir.join(format!("{key}.toml"));
    // What is written must be readable: names may hold anything.
    Pins::from_toml(&text, &path.display().to_string()).map_err(|error| Failure::failed(error, None))?;
    if path.exists() {
        let message = format!("{} exists, but does not pin {key}", path.display());
        return Err(Failure::refused(
            Message(message),
            Some("look into it, and remove it".to_owned()),
        ));
    }
    atomic::write(&path, text.as_bytes(), 0o644).map_err(|error| {
        Failure::failed(
            Message(format!("cannot write {}: {error}", path.display())),
            as_root(),
        )
    })?;
    say(&format!("pinned in {}", path.display()));
    if !material(&options.keys).contains_key(&key) {
        say(
            "hint: no key file with this fingerprint was found; put it into /etc/pki/rpm-gpg, or `rpmkeys --import` it",
        );
    }
    Ok(Answer::silent())
}

pub(super) fn as_root() -> Option<String> {
    (!nix::unistd::Uid::effective().is_root()).then(|| "run it as root".to_owned())
}

fn unpin(args: &UnpinArgs) -> Result<Answer, Failure> {
    let key = fingerprint(&args.fingerprint)?;
    let config = args.state.trust_config()?;
    let (options, findings) = store::scan_options(&config);
    tell(&findings);
    let Some(pin) = options.pins.find(&key) else {
        let hint = Some("`hardpan trust keys` shows what is pinned".to_owned());
        return Err(Failure::refused(Message(format!("{key} is not pinned")), hint));
    };
    let path = PathBuf::from(&pin.source);
    if !config.pins.iter().any(|dir| path.starts_with(dir)) {
        let message = format!(
            "{key} (\"{}\") is one of Hardpan's own pins, in {}",
            pin.name, pin.source
        );
        let hint =
            "set trust.vendor_pins = false in /etc/hardpan/hardpan.toml and pin the keys you want yourself";
        return Err(Failure::refused(Message(message), Some(hint.to_owned())));
    }
    let changed = |error: std::io::Error| {
        Failure::failed(
            Message(format!("cannot change {}: {error}", path.display())),
            as_root(),
        )
    };
    match without(&path, &key)? {
        None => {
            std::fs::remove_file(&path).map_err(changed)?;
            say(&format!("removed {}", path.display()));
        }
        Some(text) => {
            atomic::write(&path, text.as_bytes(), 0o644).map_err(changed)?;
            say(&format!("removed from {}; its comments are gone", path.display()));
        }
    }
    Ok(Answer::silent())
}

/// A file of pins without one key; `None` if nothing is left.
fn without(path: &Path, key: &Fingerprint) -> Result<Option<String>, Failure> {
    let text = read_safely(path).map_err(|error| {
        let hint = error.hint();
        Failure::failed(error, hint)
    })?;
    let unreadable = |why: &str| Failure::failed(Message(format!("{}: {why}", path.display())), None);
    let mut file: toml::Table =
        toml::from_str(&text).map_err(|error| unreadable(&complaint(&text, &error)))?;
    let Some(keys) = file.get_mut("key").and_then(toml::Value::as_array_mut) else {
        return Ok(None);
    };
    let is_it = |entry: &toml::Value| {
        let text = entry.get("fingerprint").and_then(toml::Value::as_str);
        text.and_then(|text| text.parse::<Fingerprint>().ok()) == Some(*key)
    };
    keys.retain(|entry| !is_it(entry));
    if keys.is_empty() {
        return Ok(None);
    }
    toml::to_string_pretty(&file)
        .map(Some)
        .map_err(|error| unreadable(&error.to_string()))
}
