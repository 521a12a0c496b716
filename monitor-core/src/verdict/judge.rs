//! The judgement itself.

use super::{NoDigest, TrustIndex, Unverified, Verdict};

/// What is known of a file.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// SHA-256 of its content, or why there is none.
    pub digest: Result<&'a [u8; 32], &'a NoDigest>,
    /// Absolute path in the host's own file tree. `None` for a file seen through another root (container, chroot): a
    /// container's `/usr/bin/ls` is not the host package's file, and must not be called a changed one.
    pub host_path: Option<&'a [u8]>,
    /// The inode has no name in any directory.
    pub no_link: bool,
}

/// Judges one file. `trust` is `None` while there is no usable trust database.
pub fn judge(subject: &Subject<'_>, trust: Option<&dyn TrustIndex>) -> Verdict {
    let Some(trust) = trust else {
        // That a file has no name is known without any database, and is the worse news.
        return if subject.no_link {
            Verdict::Fileless { trusted: None }
        } else {
            Verdict::Unverified(Unverified::NoTrustDatabase)
        };
    };
    let listed = subject
        .digest
        .ok()
        .and_then(|digest| trust.by_digest(digest, subject.host_path));
    if subject.no_link {
        return Verdict::Fileless { trusted: listed };
    }
    if let Some(file) = listed {
        return Verdict::Trusted(file);
    }
    match subject.digest {
        Err(why) => Verdict::Unverified(Unverified::NoDigest(why.clone())),
        Ok(_) => judge_by_path(subject.host_path, trust),
    }
}

/// The digest is in no package: does a package own the path?
fn judge_by_path(host_path: Option<&[u8]>, trust: &dyn TrustIndex) -> Verdict {
    let owners = host_path.map(|path| trust.by_path(path)).unwrap_or_default();
    let mut changed_config_of = None;
    let mut other_algorithm = None;
    for owner in owners {
        match owner.expected {
            _ if owner.config => changed_config_of = Some(owner.file.package),
            Some(expected) => {
                return Verdict::DigestMismatch {
                    owner: owner.file,
                    expected,
                };
            }
            None => other_algorithm = Some(owner.file.package),
        }
    }
    match other_algorithm {
        Some(package) if changed_config_of.is_none() => {
            Verdict::Unverified(Unverified::OtherAlgorithm { package })
        }
        _ => Verdict::Untrusted { changed_config_of },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ExecVerdict, OwnedFile, Package, Signer, TrustOrigin, TrustedFile};
    use super::*;

    const LS: [u8; 32] = [1; 32];
    const HOSTS: [u8; 32] = [2; 32];
    const OTHER: [u8; 32] = [9; 32];

    fn file(name: &str, path: &str) -> TrustedFile {
        TrustedFile {
            package: Package {
                name: name.into(),
                version: "1-1.el9".into(),
                arch: "x86_64".into(),
            },
            signer: Signer {
                fingerprint: "AB".into(),
                name: "a vendor".into(),
            },
            path: path.into(),
            origin: TrustOrigin::Verified,
        }
    }

    /// Three packages: a program, a configuration script, a file without a SHA-256.
    struct Index;

    impl TrustIndex for Index {
        fn by_digest(&self, sha256: &[u8; 32], _: Option<&[u8]>) -> Option<TrustedFile> {
            match *sha256 {
                LS => Some(file("coreutils", "/usr/bin/ls")),
                HOSTS => Some(file("setup", "/etc/profile.d/x.sh")),
                _ => None,
            }
        }

        fn by_path(&self, path: &[u8]) -> Vec<OwnedFile> {
            let owned = |name: &str, expected, config| {
                vec![OwnedFile {
                    file: file(name, "/there"),
                    expected,
                    config,
                }]
            };
            match path {
                b"/usr/bin/ls" => owned("coreutils", Some(LS), false),
                b"/etc/profile.d/x.sh" => owned("setup", Some(HOSTS), true),
                b"/opt/old" => owned("old", None, false),
                _ => vec![],
            }
        }
    }

    fn subject<'a>(digest: &'a [u8; 32], path: &'a str) -> Subject<'a> {
        Subject {
            digest: Ok(digest),
            host_path: Some(path.as_bytes()),
            no_link: false,
        }
    }

    #[track_caller]
    fn check(subject: &Subject<'_>, word: &str) -> Verdict {
        let verdict = judge(subject, Some(&Index));
        assert_eq!(verdict.word(), word, "{verdict:?}");
        verdict
    }

    #[test]
    fn a_packaged_program() {
        check(&subject(&LS, "/usr/bin/ls"), "trusted");
        check(&subject(&LS, "/tmp/copy-of-ls"), "trusted");
    }

    #[test]
    fn a_changed_program_is_a_mismatch() {
        let verdict = check(&subject(&OTHER, "/usr/bin/ls"), "digest-mismatch");
        assert_eq!(
            verdict.owner().map(|f| f.package.to_string()).as_deref(),
            Some("coreutils-1-1.el9.x86_64")
        );
    }

    #[test]
    fn another_packages_file_at_a_packages_path_is_trusted_content() {
        check(&subject(&HOSTS, "/usr/bin/ls"), "trusted");
    }

    #[test]
    fn a_changed_configuration_file_is_untrusted_and_no_mismatch() {
        let verdict = check(&subject(&OTHER, "/etc/profile.d/x.sh"), "untrusted");
        assert!(matches!(verdict, Verdict::Untrusted { changed_config_of: Some(p) } if p.name == "setup"));
    }

    #[test]
    fn a_container_has_its_own_paths() {
        check(
            &Subject {
                digest: Ok(&OTHER),
                host_path: None,
                no_link: false,
            },
            "untrusted",
        );
    }

    #[test]
    fn dropped_programs_are_untrusted() {
        check(&subject(&OTHER, "/tmp/x"), "untrusted");
    }

    #[test]
    fn fileless_says_when_the_content_is_known() {
        let memfd = |digest| Subject {
            digest: Ok(digest),
            host_path: None,
            no_link: true,
        };
        assert_eq!(
            check(&memfd(&OTHER), "fileless"),
            Verdict::Fileless { trusted: None }
        );
        assert!(check(&memfd(&LS), "fileless").owner().is_some());
        assert!(!check(&memfd(&LS), "fileless").is_trusted());
    }

    #[test]
    fn could_not_look_is_never_fine() {
        for why in [
            NoDigest::ProcessGone,
            NoDigest::FileChanged,
            NoDigest::Unreadable { errno: 13 },
            NoDigest::Busy,
        ] {
            let subject = Subject {
                digest: Err(&why),
                host_path: Some(b"/usr/bin/ls"),
                no_link: false,
            };
            check(&subject, "unverified");
        }
        check(&subject(&OTHER, "/opt/old"), "unverified");
    }

    #[test]
    fn without_a_database_nothing_is_trusted() {
        let verdict = judge(&subject(&LS, "/usr/bin/ls"), None);
        assert_eq!(verdict, Verdict::Unverified(Unverified::NoTrustDatabase));
        let memfd = Subject {
            digest: Ok(&LS),
            host_path: None,
            no_link: true,
        };
        assert_eq!(judge(&memfd, None).word(), "fileless");
    }

    #[test]
    fn a_script_is_as_good_as_its_worse_half() {
        let trusted = check(&subject(&LS, "/usr/bin/ls"), "trusted");
        let untrusted = check(&subject(&OTHER, "/tmp/x"), "untrusted");
        let both = |file: &Verdict, script: &Verdict| {
            ExecVerdict {
                file: file.clone(),
                script: Some(script.clone()),
            }
            .overall()
            .word()
        };
        assert_eq!(both(&trusted, &untrusted), "untrusted");
        assert_eq!(both(&untrusted, &trusted), "untrusted");
        assert_eq!(both(&trusted, &trusted), "trusted");
    }
}
