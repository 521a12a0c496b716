//! Signing and verifying policies; taking over other programs' rules.

use super::{FINDINGS, FINE, Failure, mention, out_then, read_bytes, tell};
use crate::cli::complain;
use crate::crypto::{Draft, HostCrypto, LedgerFile, load_signing_key, public_keys, sign, this_host};
use crate::enrich::clock::unix_us;
use crate::harden::Root;
use crate::policy::Folders;
use hardpan_core::envelope::{Envelope, Kind, Known, open, parse_time, time_text};
use hardpan_core::policy::{Problem, fapolicyd};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub(super) fn sign_file(
    file: &Path,
    key: &Path,
    serial: u64,
    expires: &str,
    targets: &[String],
    name: Option<&str>,
    output: &Path,
) -> Result<u8, Failure> {
    let payload = read_bytes(file)?;
    let text = String::from_utf8_lossy(&payload).into_owned();
    // What cannot be read is not worth a signature.
    let (_, problems) = hardpan_core::policy::document::parse(
        hardpan_core::policy::Layer::Local,
        &file.display().to_string(),
        &text,
    );
    if problems.iter().any(Problem::is_error) {
        tell(&problems);
        return Err(Failure::new("the policy has errors and was not signed", None));
    }
    let key = load_signing_key(key).map_err(|error| {
        let hint = error.hint();
        Failure::new(error, hint)
    })?;
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("policy");
    let draft = Draft {
        kind: Kind::Policy,
        serial,
        issued: unix_us()?.div_euclid(1_000_000),
        expires: parse_time(expires).map_err(Failure::usage)?,
        targets: targets.to_vec(),
        name: name.unwrap_or(stem).to_owned(),
        payload,
    };
    let envelope = sign(&key, draft).map_err(|error| {
        let hint = error.hint();
        Failure::new(error, hint)
    })?;
    crate::trust::atomic::write(output, envelope.to_json().as_bytes(), 0o644)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", output.display()), None))?;
    Ok(FINE)
}

pub(super) fn verify(file: &Path, root: &Path, print_it: bool) -> Result<u8, Failure> {
    let root = Root::new(root)?;
    let folders = Folders::default();
    let bytes = read_bytes(file)?;
    let (keys, findings) = public_keys(&[root.resolve(&folders.keys)?]);
    let host = this_host(root.directory());
    let ledger = LedgerFile::load(&root.resolve(&folders.state)?)?;
    for finding in findings {
        complain(
            "hardpan",
            &*Box::<dyn Error>::from(finding.message),
            finding.hint.as_deref(),
        );
    }
    let now = unix_us()?.div_euclid(1_000_000);
    let known = Known {
        kind: Kind::Policy,
        keys: &keys,
        host: &host,
        now,
        ledger: ledger.ledger(),
    };
    let opened = match Envelope::parse(&bytes)
        .map_err(Failure::from)
        .and_then(|envelope| {
            open(envelope, &known, &HostCrypto).map_err(|refusal| {
                let hint = refusal.hint();
                Failure::new(refusal, Some(hint))
            })
        }) {
        Ok(opened) => opened,
        Err(failure) => {
            failure.tell();
            return Ok(FINDINGS);
        }
    };
    let text = String::from_utf8_lossy(opened.payload()).into_owned();
    let (_, problems) = hardpan_core::policy::document::parse(
        hardpan_core::policy::Layer::Local,
        &file.display().to_string(),
        &text,
    );
    tell(&problems);
    let code = if problems.iter().any(Problem::is_error) {
        FINDINGS
    } else {
        FINE
    };
    if print_it {
        return Ok(out_then(&text, code));
    }
    let claims = opened.claims();
    let summary = format!(
        "{}: signed by {}, serial {}, for {}, until {}\n",
        claims.name,
        opened.key_name(),
        claims.serial,
        claims.targets.join(" "),
        time_text(claims.expires)
    );
    Ok(out_then(&summary, code))
}

pub(super) fn import(path: &Path) -> Result<u8, Failure> {
    let mut text = String::new();
    if path.is_dir() {
        let mut names: Vec<PathBuf> = std::fs::read_dir(path)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display()), None))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "rules"))
            .collect();
        // fagenrules joins them in this order.
        names.sort();
        for name in names {
            text.push_str(&String::from_utf8_lossy(&read_bytes(&name)?));
            text.push('\n');
        }
    } else {
        text = String::from_utf8_lossy(&read_bytes(path)?).into_owned();
    }
    let import = fapolicyd::import(&text);
    let mut notes = format!(
        "{} rules taken over, {} in part, {} left out\n",
        import.whole, import.partial, import.left_out
    );
    for note in &import.notes {
        let _infallible = writeln!(notes, "line {}: {}", note.line, note.text);
    }
    mention(&notes);
    let code = if import.partial + import.left_out == 0 {
        FINE
    } else {
        FINDINGS
    };
    Ok(out_then(&import.policy, code))
}
