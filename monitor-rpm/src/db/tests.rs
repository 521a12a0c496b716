use std::collections::BTreeMap;

use super::*;
use crate::header::{Header, tag};

fn data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data/rpmdb")
        .join(name);
    if !path.exists() {
        println!("skipped: no shared data ({name})");
        return None;
    }
    Some(path)
}

/// Names of the packages, each with how many headers carry it.
fn names(db: &RpmDb) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    db.for_each(&mut |record| {
        let (_, blob) = record.unwrap();
        let header = Header::parse_db(&blob).unwrap();
        let name = header.region().string(tag::NAME).unwrap().unwrap();
        *names
            .entry(String::from_utf8(name.to_vec()).unwrap())
            .or_insert(0) += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    names
}

#[test]
fn every_real_database_is_read_whole() {
    let check = |name: &str, backend: Backend, n_headers: usize, n_keys: usize| {
        let Some(path) = data(name) else { return };
        let db = RpmDb::open_file(&path, None).unwrap();
        assert_eq!(db.backend(), backend);
        let names = names(&db);
        assert_eq!(names.values().sum::<usize>(), n_headers, "{name}");
        assert_eq!(
            names.get("gpg-pubkey").copied().unwrap_or_default(),
            n_keys,
            "{name}"
        );
    };
    check("centos8-modularity.Packages", Backend::Bdb, 518, 1);
    check("rhel8-libuuid.Packages", Backend::Bdb, 1, 0);
    check("el8-content-rpm4.18.rpmdb.sqlite", Backend::Sqlite, 12, 2);
    check("el9-content-rpm4.18.rpmdb.sqlite", Backend::Sqlite, 6, 2);
    check(
        "el9-TAMPERED-dribble-filedigests.rpmdb.sqlite",
        Backend::Sqlite,
        6,
        2,
    );
    check("el10-layout-rpm6.1.rpmdb.sqlite", Backend::Sqlite, 10, 6);
}

/// A database that is added to the shared data needs an answer here, or among the broken ones below.
#[test]
fn every_database_has_its_test() {
    let Some(folder) = crate::testing::shared_data("rpmdb") else {
        return;
    };
    let names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !include_str!("tests.rs").contains(&format!("\"{name}\"")))
        .collect();
    assert_eq!(names, [""; 0]);
}

/// The error's own text, file name shortened, and its hint.
fn failure(path: &Path) -> (String, &'static str) {
    let result = RpmDb::open_file(path, None).and_then(|db| db.for_each(&mut |_| ControlFlow::Continue(())));
    let error = result.unwrap_err();
    (
        error.to_string().replace(&path.display().to_string(), "FILE"),
        error.hint(),
    )
}

#[test]
fn foreign_and_broken_files_are_named() {
    if let Some(path) = data("sle15-bci.ndb.Packages.db") {
        assert_eq!(
            failure(&path).0,
            "FILE: the back end is ndb, which is not read; EL uses bdb or sqlite"
        );
    }
    if let Some(path) = data("empty.rpmdb.sqlite") {
        assert_eq!(
            failure(&path).0,
            "FILE: SQLite file without rpm's table: there is no table Packages"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let check = |content: &[u8], expected: &str| {
        let path = folder.path().join("rpmdb.sqlite");
        std::fs::write(&path, content).unwrap();
        let (message, hint) = failure(&path);
        assert_eq!(message, expected);
        assert!(!hint.is_empty());
    };
    check(b"", "FILE: truncated at offset 0x0, 512 bytes expected");
    check(
        &[0x41; 600],
        "FILE: unknown format, it starts with 41414141414141414141414141414141",
    );
    let mut lmdb = [0; 600];
    lmdb[16..20].copy_from_slice(&[0xde, 0xc0, 0xef, 0xbe]);
    check(
        &lmdb,
        "FILE: the back end is lmdb, which is not read; EL uses bdb or sqlite",
    );
    if let Some(path) = data("rhel8-libuuid.Packages") {
        let whole = std::fs::read(path).unwrap();
        check(
            &whole[..40960],
            "FILE: truncated at offset 0xa000, 94208 bytes expected",
        );
    }
    if let Some(path) = data("el9-content-rpm4.18.rpmdb.sqlite") {
        let mut whole = std::fs::read(path).unwrap();
        whole.truncate(40960);
        check(&whole, "FILE: SQLite cannot read it");
    }
    check(
        b"SQLite format 3\0 and nothing else",
        "FILE: SQLite cannot read it",
    );
}

#[test]
fn a_missing_database_says_where_it_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let error = RpmDb::open(&root, None, None).unwrap_err();
    let text = error
        .to_string()
        .replace(&folder.path().display().to_string(), "ROOT");
    assert_eq!(
        text,
        "no rpm database below ROOT: looked in ROOT/usr/lib/sysimage/rpm, ROOT/var/lib/rpm"
    );
}

/// Makes an SQLite database as rpm does, with the given headers.
fn make_sqlite(path: &Path, headers: &[&[u8]]) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        .unwrap();
    for header in headers {
        db.execute("INSERT INTO Packages (blob) VALUES (?1)", [header])
            .unwrap();
    }
    db
}

fn blobs(db: &RpmDb) -> Vec<Vec<u8>> {
    let mut blobs = Vec::new();
    db.for_each(&mut |record| {
        blobs.push(record.unwrap().1);
        ControlFlow::Continue(())
    })
    .unwrap();
    blobs
}

/// Names, sizes, times and contents of a directory.
fn fingerprint(folder: &Path) -> Vec<(PathBuf, std::time::SystemTime, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
            let content = std::fs::read(&path).unwrap();
            (path, modified, content)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn headers_still_in_the_wal_are_read_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let dbpath = folder.path().join("usr/lib/sysimage/rpm");
    std::fs::create_dir_all(&dbpath).unwrap();
    std::fs::create_dir_all(folder.path().join("var/lib")).unwrap();
    std::os::unix::fs::symlink("../../usr/lib/sysimage/rpm", folder.path().join("var/lib/rpm")).unwrap();
    // The connection stays open, so that nothing is moved from the WAL into the database.
    let writer = make_sqlite(&dbpath.join("rpmdb.sqlite"), &[b"one", b"two"]);
    assert!(std::fs::metadata(dbpath.join("rpmdb.sqlite-wal")).unwrap().len() > 0);
    let before = fingerprint(&dbpath);
    let root = Root::open(folder.path()).unwrap();
    let db = RpmDb::open(&root, None, None).unwrap();
    assert_eq!(blobs(&db), [b"one", b"two"]);
    assert!(db.ignored().is_empty());
    assert_eq!(fingerprint(&dbpath), before);
    // The same through the old path, and a stamp that tells a change.
    let old = RpmDb::open(&root, Some(Path::new("/var/lib/rpm")), None).unwrap();
    assert_eq!(old.stamp(), db.stamp());
    writer
        .execute("INSERT INTO Packages (blob) VALUES ('x')", [])
        .unwrap();
    assert_ne!(RpmDb::open(&root, None, None).unwrap().stamp(), db.stamp());
}

#[test]
fn an_interrupted_transaction_is_rolled_back_in_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rpmdb.sqlite");
    let db = make_sqlite(&path, &[b"one"]);
    db.pragma_update(None, "journal_mode", "DELETE").unwrap();
    db.pragma_update(None, "cache_size", 1).unwrap();
    db.execute_batch("BEGIN").unwrap();
    // More than the cache holds: pages are written before the commit, and the journal is hot.
    for _ in 0..50 {
        db.execute("INSERT INTO Packages (blob) VALUES (?1)", [&vec![0_u8; 9000]])
            .unwrap();
    }
    let elsewhere = tempfile::tempdir().unwrap();
    for file in ["rpmdb.sqlite", "rpmdb.sqlite-journal"] {
        std::fs::copy(folder.path().join(file), elsewhere.path().join(file)).unwrap();
    }
    let copied = RpmDb::open_file(&elsewhere.path().join("rpmdb.sqlite"), None).unwrap();
    assert_eq!(blobs(&copied), [b"one"]);
}

#[test]
fn hostile_schemas_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, sql: &str, expected: &str| {
        let path = folder.path().join(name);
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        assert_eq!(failure(&path).0, expected);
    };
    let prefix = "FILE: SQLite file without rpm's table: ";
    check(
        "view",
        "CREATE VIEW Packages AS SELECT 1 AS hnum, zeroblob(1000) AS blob",
        &format!("{prefix}Packages is not an ordinary table"),
    );
    check(
        "computed",
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob AS (zeroblob(1000000)))",
        &format!("{prefix}Packages has computed columns"),
    );
}

#[test]
fn a_root_cannot_be_left_through_links() {
    let folder = tempfile::tempdir().unwrap();
    make_sqlite(&folder.path().join("rpmdb.sqlite"), &[b"outside"]);
    let inside = folder.path().join("root");
    std::fs::create_dir_all(inside.join("var/lib")).unwrap();
    std::os::unix::fs::symlink(folder.path(), inside.join("var/lib/rpm")).unwrap();
    let root = Root::open(&inside).unwrap();
    assert!(matches!(
        RpmDb::open(&root, None, None),
        Err(DbError::Missing { .. })
    ));
    std::fs::remove_file(inside.join("var/lib/rpm")).unwrap();
    std::fs::create_dir(inside.join("var/lib/rpm")).unwrap();
    std::os::unix::fs::symlink(
        folder.path().join("rpmdb.sqlite"),
        inside.join("var/lib/rpm/rpmdb.sqlite"),
    )
    .unwrap();
    assert!(matches!(
        RpmDb::open(&root, None, None),
        Err(DbError::Open { .. })
    ));
}

#[test]
fn a_running_transaction_is_seen_without_touching_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    make_sqlite(&folder.path().join("rpmdb.sqlite"), &[b"one"]);
    let path = folder.path().join("rpmdb.sqlite");
    let lock = folder.path().join(".rpm.lock");
    std::fs::write(&lock, "").unwrap();
    assert!(!RpmDb::open_file(&path, None).unwrap().transaction_running());
    // Locks of one's own process do not count: hold it from a child, as rpm would.
    let mut child = std::process::Command::new("python3")
        .args(["-c", "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"])
        .arg(&lock)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(child) = child.as_mut() else {
        println!("skipped: no python3");
        return;
    };
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.as_mut().unwrap()),
        &mut line,
    )
    .unwrap();
    assert_eq!(line, "held\n");
    assert!(RpmDb::open_file(&path, None).unwrap().transaction_running());
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(!RpmDb::open_file(&path, None).unwrap().transaction_running());
}

/// A host that was upgraded in place from EL 9 keeps its database at the old path; the new one may hold a leftover.
#[test]
fn a_host_upgraded_in_place_keeps_the_old_path() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("var/lib/rpm");
    std::fs::create_dir_all(&old).unwrap();
    std::fs::create_dir_all(folder.path().join("usr/lib/sysimage/rpm")).unwrap();
    let _writer = make_sqlite(&old.join("rpmdb.sqlite"), &[b"kept"]);
    let root = Root::open(folder.path()).unwrap();
    let db = RpmDb::open(&root, None, None).unwrap();
    assert_eq!(blobs(&db), [b"kept"]);
    assert!(
        db.path().ends_with("var/lib/rpm/rpmdb.sqlite"),
        "{}",
        db.path().display()
    );
}

/// Runs itself again in a mount namespace in which the root is read-only.
#[test]
fn a_read_only_root_is_read() {
    const ROOT: &str = "HARDPAN_TEST_READ_ONLY_ROOT";
    const NAME: &str = "db::tests::a_read_only_root_is_read";
    if let Some(root) = std::env::var_os(ROOT) {
        let root = Path::new(&root);
        std::fs::write(root.join("new"), "").unwrap_err();
        let db = RpmDb::open(&Root::open(root).unwrap(), None, None).unwrap();
        assert_eq!(blobs(&db), [b"one", b"two"]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dbpath = folder.path().join("var/lib/rpm");
    std::fs::create_dir_all(&dbpath).unwrap();
    // Headers in the WAL: SQLite itself would have to write to read them.
    let _writer = make_sqlite(&dbpath.join("rpmdb.sqlite"), &[b"one", b"two"]);
    let remount =
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec \"$2\" --exact \"$3\"";
    let outcome = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", remount, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .arg(NAME)
        .env(ROOT, folder.path())
        .output();
    match outcome {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains("1 passed"), "{said}");
        }
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare") => {
            println!("skipped: no user namespaces here");
        }
        Ok(output) => panic!("{output:?}"),
        Err(error) => println!("skipped: unshare: {error}"),
    }
}
