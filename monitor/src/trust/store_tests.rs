use super::*;
use hardpan_rpm::Pins;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn shared_data(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data")
        .join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data ({})", path.display());
    None
}

/// A root with a package database, and all published keys.
struct Bench {
    dir: tempfile::TempDir,
    keys: PathBuf,
}

impl Bench {
    fn new(database: &str) -> Option<Self> {
        let keys = shared_data("keys")?;
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
            keys,
        };
        fs::create_dir_all(bench.dir.path().join("var/lib/rpm")).unwrap();
        bench.install(database)?;
        Some(bench)
    }

    fn install(&self, database: &str) -> Option<()> {
        let target = self.dir.path().join("var/lib/rpm/Packages");
        fs::copy(shared_data(database)?, target).unwrap();
        Some(())
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("state").join(STORE_NAME)
    }

    fn options(&self) -> ScanOptions {
        let config = Trust {
            root: self.dir.path().to_owned(),
            pins: Vec::new(),
            keyring: vec![self.keys.clone()],
            ..crate::config::Config::default().trust
        };
        scan_options(&config).0
    }

    fn current(&self, boot_id: &str) -> Current {
        current(self.options(), Some(&self.store()), boot_id, false, None, None).unwrap()
    }
}

fn was_stored(current: &Current) -> bool {
    matches!(current.origin, ReadingOrigin::Stored)
}

fn retired(current: &Current) -> usize {
    current
        .outcome
        .index
        .packages()
        .filter(hardpan_rpm::index::Package::is_retired)
        .count()
}

const SMALL: &str = "rpmdb/rhel8-libuuid.Packages";
const LARGE: &str = "rpmdb/centos8-modularity.Packages";

#[test]
fn the_second_look_comes_from_the_store() {
    let Some(bench) = Bench::new(SMALL) else { return };
    let first = bench.current("boot 1");
    assert!(!was_stored(&first));
    assert_eq!(first.outcome.summary.verified, 1);
    let mode = fs::metadata(bench.store()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    let second = bench.current("boot 1");
    assert!(was_stored(&second));
    assert_eq!(second.outcome.summary, first.outcome.summary);
    assert_eq!(second.outcome.index.as_bytes(), first.outcome.index.as_bytes());
    // Nothing is retired, so the reading outlives a reboot.
    assert!(was_stored(&bench.current("boot 2")));
    // But not other pins, and not an order to read.
    let mut options = bench.options();
    options.pins = Pins::default();
    assert_eq!(
        current(options, Some(&bench.store()), "boot 2", false, None, None)
            .unwrap()
            .outcome
            .summary
            .verified,
        0
    );
    let forced = current(bench.options(), Some(&bench.store()), "boot 2", true, None, None).unwrap();
    assert!(!was_stored(&forced));
}

#[test]
fn a_store_in_doubt_is_replaced() {
    let Some(bench) = Bench::new(SMALL) else { return };
    bench.current("boot");
    let path = bench.store();
    let good = fs::read(&path).unwrap();
    let check = |bytes: &[u8], expected: &str| {
        fs::write(&path, bytes).unwrap();
        let problem = load(&path).unwrap_err();
        let cause = std::error::Error::source(&problem)
            .map(ToString::to_string)
            .unwrap_or_default();
        let text = format!("{problem}: {cause}");
        assert!(text.contains(expected), "{text}");
        let again = bench.current("boot");
        assert!(matches!(
            again.origin,
            ReadingOrigin::Scanned {
                store_problem: Some(_),
                not_kept: None
            }
        ));
        assert!(was_stored(&bench.current("boot")));
    };
    check(b"", "does not begin");
    check(&good[..20], "cut short");
    check(&good[..good.len() - 1], "scan outcome");
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    check(&flipped(HEAD_BYTES + 8), "checksum does not fit");
    check(&flipped(good.len() - 1), "scan outcome");
    check(&flipped(7), "does not begin");
    let mut long = good.clone();
    long[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
    check(&long, "cut short");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    assert!(
        load(&path)
            .unwrap_err()
            .to_string()
            .contains("its group or everybody may change it")
    );
    assert!(matches!(
        load(path.parent().unwrap()),
        Err(StoreError::Unsafe { .. })
    ));
    assert!(load(Path::new("/nonexistent")).unwrap().is_none());
}

#[test]
fn every_cut_and_flip_is_an_error_or_harmless() {
    let Some(bench) = Bench::new(SMALL) else { return };
    let first = bench.current("boot");
    let good = fs::read(bench.store()).unwrap();
    for at in 0..good.len() {
        assert!(decode(&good[..at], Path::new("x")).is_err(), "cut at {at}");
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        // What still decodes must say the same.
        if let Ok(stored) = decode(&bytes, Path::new("x")) {
            assert_eq!(
                stored.outcome.index.as_bytes(),
                first.outcome.index.as_bytes(),
                "flip at {at}"
            );
            assert_eq!(stored.outcome.summary, first.outcome.summary, "flip at {at}");
        }
    }
}

#[test]
fn replaced_packages_stay_until_reboot() {
    let Some(bench) = Bench::new(LARGE) else { return };
    assert_eq!(retired(&bench.current("boot 1")), 0);
    bench.install(SMALL).unwrap();
    let after = bench.current("boot 1");
    assert!(!was_stored(&after));
    assert_eq!(after.outcome.summary.verified, 1);
    let n_retired = retired(&after);
    assert!(n_retired > 200, "{n_retired}");
    // They are still there at the next look, and at the next reading.
    assert_eq!(retired(&bench.current("boot 1")), n_retired);
    let forced = current(bench.options(), Some(&bench.store()), "boot 1", true, None, None).unwrap();
    assert_eq!(retired(&forced), n_retired);
    // After a reboot nothing of them runs.
    let rebooted = bench.current("boot 2");
    assert!(!was_stored(&rebooted));
    assert_eq!(retired(&rebooted), 0);
}

/// What a running program remembers stands in for a store that cannot be used; a usable store knows better.
#[test]
fn what_is_in_memory_retires_too() {
    let Some(bench) = Bench::new(LARGE) else { return };
    let before = current(bench.options(), None, "boot", false, None, None)
        .unwrap()
        .outcome;
    bench.install(SMALL).unwrap();
    let previous = || Previous {
        index: before.index.clone(),
        database: before.summary.database.clone(),
    };
    let after = current(bench.options(), None, "boot", false, Some(previous()), None).unwrap();
    assert!(retired(&after) > 200);
    let elsewhere = Previous {
        database: "/other/rpmdb.sqlite".into(),
        ..previous()
    };
    let after = current(bench.options(), None, "boot", false, Some(elsewhere), None).unwrap();
    assert_eq!(retired(&after), 0);
}

#[test]
fn what_an_unpinned_key_signed_is_not_retired_but_gone() {
    let Some(bench) = Bench::new(LARGE) else { return };
    bench.current("boot");
    bench.install(SMALL).unwrap();
    let mut options = bench.options();
    let mut pins = Pins::default();
    for pin in options.pins.iter().filter(|pin| pin.vendor == "redhat") {
        pins.add(pin.clone()).unwrap();
    }
    options.pins = pins;
    let after = current(options, Some(&bench.store()), "boot", false, None, None).unwrap();
    assert_eq!((after.outcome.summary.verified, retired(&after)), (1, 0));
}

#[test]
fn without_a_place_for_it_nothing_is_kept() {
    let Some(bench) = Bench::new(SMALL) else { return };
    let reading = current(bench.options(), None, "boot", false, None, None).unwrap();
    assert!(matches!(
        reading.origin,
        ReadingOrigin::Scanned {
            store_problem: None,
            not_kept: None
        }
    ));
    // A directory that cannot be made.
    let file = bench.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let reading = current(
        bench.options(),
        Some(&file.join("trust.index")),
        "boot",
        false,
        None,
        None,
    )
    .unwrap();
    assert!(matches!(
        reading.origin,
        ReadingOrigin::Scanned {
            not_kept: Some(_),
            ..
        }
    ));
    assert_eq!(reading.outcome.summary.verified, 1);
}

#[test]
fn another_database_retires_nothing() {
    let (Some(first), Some(second)) = (Bench::new(LARGE), Bench::new(SMALL)) else {
        return;
    };
    first.current("boot");
    let after = current(second.options(), Some(&first.store()), "boot", false, None, None).unwrap();
    assert_eq!((after.outcome.summary.verified, retired(&after)), (1, 0));
}
