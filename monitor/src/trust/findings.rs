//! What the reader of the package database found, as findings for records.

use hardpan_core::record::{Finding, FindingCode};
use hardpan_rpm::Finding as RpmFinding;

/// One of the reader's findings as a record's. `database` is the file it is about.
pub(super) fn finding(found: &RpmFinding, database: &str) -> Finding {
    let message = found.to_string();
    let with = |code| Finding {
        path: Some(database.into()),
        ..Finding::new(code, message.clone())
    };
    match found {
        RpmFinding::RpmdbTampered { package, .. } => Finding {
            packages: vec![package.clone()],
            hint: Some(
                "compare with the vendor's package: `rpm -V` believes the unsigned entries; reinstall the package"
                    .to_owned(),
            ),
            ..with(FindingCode::RpmdbTampered)
        },
        RpmFinding::BadSignature { package, key, .. } => Finding {
            packages: vec![package.clone()],
            fingerprint: Some(key.clone()),
            hint: Some("reinstall the package from its vendor's repository".to_owned()),
            ..with(FindingCode::SignatureBad)
        },
        RpmFinding::WeakSignature { package, key, .. } => Finding {
            packages: vec![package.clone()],
            fingerprint: Some(key.clone()),
            ..with(FindingCode::PackageUnverified)
        },
        RpmFinding::UnreadableHeader { package, .. } | RpmFinding::UnreadableSignature { package, .. } => Finding {
            packages: Some(package.clone()).filter(|package| !package.is_empty()).into_iter().collect(),
            ..with(FindingCode::PackageUnverified)
        },
        RpmFinding::Unsigned { count, examples } => Finding {
            packages: examples.clone(),
            count: Some(*count),
            hint: Some("their files are untrusted; install signed builds, or list them in a signed manifest".to_owned()),
            ..with(FindingCode::PackageUnsigned)
        },
        RpmFinding::UnpinnedKey { key_id, fingerprint, count, examples, .. } => Finding {
            packages: examples.clone(),
            count: Some(*count),
            fingerprint: Some(fingerprint.as_ref().unwrap_or(key_id).clone()),
            hint: Some("if you trust this signer, pin its full fingerprint in /etc/hardpan/keys.d".to_owned()),
            ..with(FindingCode::KeyUnpinned)
        },
        RpmFinding::OutOfScope { fingerprint, count, examples, .. } => Finding {
            packages: examples.clone(),
            count: Some(*count),
            fingerprint: Some(fingerprint.clone()),
            hint: Some("widen the scope of the pin if these packages are meant to be covered".to_owned()),
            ..with(FindingCode::KeyUnpinned)
        },
        RpmFinding::UnusableKey { fingerprint, source, .. } => Finding {
            fingerprint: Some(fingerprint.clone()),
            path: Some(source.as_str().into()),
            ..with(FindingCode::KeyUnusable)
        },
        RpmFinding::UnreadableKey { source, .. } => {
            Finding { path: Some(source.as_str().into()), ..with(FindingCode::KeyUnusable) }
        }
        RpmFinding::ForeignDigests { package, count, .. } => Finding {
            packages: vec![package.clone()],
            count: Some(*count),
            ..with(FindingCode::PackageUnverified)
        },
        RpmFinding::Truncated { count, .. } => {
            Finding { count: Some(*count), ..with(FindingCode::PackageUnverified) }
        }
        // Kinds that later versions of the reader add.
        _ => with(FindingCode::PackageUnverified),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tampering_names_the_package() {
        let found = RpmFinding::RpmdbTampered {
            package: "bash-5-1.x86_64".into(),
            tags: vec!["FILEDIGESTS".into()],
            verified: true,
        };
        let finding = finding(&found, "/var/lib/rpm/rpmdb.sqlite");
        assert_eq!(finding.code, FindingCode::RpmdbTampered);
        assert_eq!(finding.packages, ["bash-5-1.x86_64"]);
        assert!(finding.message.contains("FILEDIGESTS"));
    }

    #[test]
    fn many_packages_are_counted() {
        let found = RpmFinding::Unsigned {
            count: 700,
            examples: vec!["a-1-1.noarch".into()],
        };
        let finding = finding(&found, "/x");
        assert_eq!(
            (finding.code, finding.count),
            (FindingCode::PackageUnsigned, Some(700))
        );
    }
}
