//! Reading the copy of an SQLite database. The copy is ours alone, so SQLite may write to it: it replays the WAL and
//! rolls back an interrupted transaction.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{DbError, Visit};
use crate::header::{MAX_DATA_BYTES, MAX_ENTRIES};

/// Longest value that SQLite may build: the largest header.
const MAX_VALUE_BYTES: usize = MAX_DATA_BYTES + MAX_ENTRIES * 16 + 8;

pub(super) fn for_each(path: &Path, copy: &Path, visit: &mut Visit<'_>) -> Result<(), DbError> {
    let failed = |source| DbError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let db = open(copy).map_err(failed)?;
    check_table(&db, path)?;
    let mut statement = db.prepare("SELECT hnum, blob FROM Packages").map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let number = row.get::<_, u32>(0).map_err(failed);
        let record = number.and_then(|number| {
            let blob = row.get_ref(1).map_err(failed)?;
            let bytes = blob.as_blob().map_err(|error| failed(error.into()))?;
            Ok((number, bytes.to_vec()))
        });
        if visit(record).is_break() {
            return Ok(());
        }
    }
}

/// Opens with everything off that a hostile schema could use: views, triggers, functions in the schema.
fn open(copy: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(copy, flags)?;
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        db.set_db_config(setting, value)?;
    }
    let max_value_bytes = i32::try_from(MAX_VALUE_BYTES).unwrap_or(i32::MAX);
    db.set_limit(Limit::SQLITE_LIMIT_LENGTH, max_value_bytes)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "mmap_size", 0)?;
    Ok(db)
}

/// Packages must be an ordinary table of stored columns: not a view, a virtual table, or computed values.
fn check_table(db: &Connection, path: &Path) -> Result<(), DbError> {
    let failed = |source| DbError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let bad = |problem| DbError::Table {
        path: path.to_owned(),
        problem,
    };
    let kind: Option<(String, i64)> = db
        .query_row(
            "SELECT type, rootpage FROM sqlite_schema WHERE name = 'Packages'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(failed)?;
    match kind {
        None => return Err(bad("there is no table Packages")),
        Some((kind, root_page)) if kind != "table" || root_page < 2 => {
            return Err(bad("Packages is not an ordinary table"));
        }
        Some(_) => {}
    }
    let computed: i64 = db
        .query_row(
            "SELECT count(*) FROM pragma_table_xinfo('Packages') WHERE hidden <> 0",
            [],
            |row| row.get(0),
        )
        .map_err(failed)?;
    if computed != 0 {
        return Err(bad("Packages has computed columns"));
    }
    Ok(())
}
