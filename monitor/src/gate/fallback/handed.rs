//! A table of the gate in memory that nobody can write to any more, as it is handed from process to process.

use crate::config::Trust;
use crate::trust::Request;
use hardpan_abi::{GateClass, trusted_mark};
use hardpan_core::gate::{MAX_TABLE_BYTES, Table, TableError};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use thiserror::Error;

const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// Why there is no table.
#[derive(Debug, Error)]
pub enum HandedError {
    /// Somebody could change it while it is read.
    #[error("the table handed over is not sealed")]
    NotSealed,
    /// It could not be read.
    #[error("reading the table")]
    Read(#[source] io::Error),
    /// What was read is none.
    #[error("taking the table")]
    Table(#[source] TableError),
    /// What it says of whose signatures count makes no sense.
    #[error("reading whose signatures count")]
    Trust(#[source] serde_json::Error),
}

/// What was handed over.
#[derive(Debug)]
pub(super) struct Given {
    /// The table.
    pub table: Table,
    /// Whose signatures on packages count; `None`: nobody's.
    pub trust: Option<Trust>,
}

impl Given {
    /// Whether this is trusted content of a package that installs packages.
    pub(super) fn is_manager(&self, sha256: &[u8; 32]) -> bool {
        self.table.find(sha256).is_some_and(|entry| {
            let class = GateClass::from_u32(entry.class);
            let trusted = [GateClass::Trusted, GateClass::Local, GateClass::Retired];
            entry.marks & trusted_mark::PACKAGE_MANAGER != 0
                && class.is_some_and(|class| trusted.contains(&class))
        })
    }
}

/// Puts a table where it can be handed over.
pub fn sealed(table: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Hosts can demand that memory is not executable; kernels before 6.3 do not know the word.
    let memory = memfd_create(c"hardpan-gate", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| memfd_create(c"hardpan-gate", flags))?;
    let mut file = File::from(memory);
    file.write_all(table)?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

/// Reads a table that was handed over.
pub(super) fn open(memory: OwnedFd) -> Result<Given, HandedError> {
    let seals = fcntl_get_seals(memory.as_fd()).map_err(|_no_memfd| HandedError::NotSealed)?;
    if !seals.contains(SEALS) {
        return Err(HandedError::NotSealed);
    }
    let stat = fstat(memory.as_fd()).map_err(|errno| HandedError::Read(errno.into()))?;
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > MAX_TABLE_BYTES {
        let got = usize::try_from(size).unwrap_or(usize::MAX);
        return Err(HandedError::Table(TableError::Size { got }));
    }
    let file = File::from(memory);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // Not by the position, which whoever else holds it shares.
    let mut reader = At { file: &file, at: 0 }.take(size);
    reader.read_to_end(&mut bytes).map_err(HandedError::Read)?;
    let table = Table::parse(&bytes).map_err(HandedError::Table)?;
    let trust = match table.trust() {
        [] => None,
        json => Some(
            serde_json::from_slice::<Request>(json)
                .map_err(HandedError::Trust)?
                .config(),
        ),
    };
    Ok(Given { table, trust })
}

struct At<'f> {
    file: &'f File,
    at: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use hardpan_abi::{GateConfig, GateMode, TrustedEntry};
    use std::collections::BTreeMap;
    use zerocopy::FromZeros as _;

    #[test]
    fn only_sealed_tables_are_taken() {
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(open(file.into()), Err(HandedError::NotSealed)));
        let loose = memfd_create(c"x", MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(matches!(open(loose), Err(HandedError::NotSealed)));
        let torn = sealed(b"hpgate").unwrap();
        assert!(File::from(torn.try_clone().unwrap()).write_all(b"x").is_err());
        assert!(matches!(
            open(torn),
            Err(HandedError::Table(TableError::Size { got: 6 }))
        ));
    }

    #[test]
    fn whose_signatures_count_comes_with_it() {
        let trust = Trust {
            root: "/mnt".into(),
            key_sets: Some(vec!["rocky".to_owned()]),
            legacy_signatures: true,
            ..Config::default().trust
        };
        let json = serde_json::to_vec(&Request::new(&trust, None)).unwrap();
        let mut config = GateConfig::new_zeroed();
        config.mode = GateMode::Enforce as u32;
        let entry = |class: GateClass, marks| TrustedEntry {
            class: class as u32,
            marks,
            capabilities: 0,
        };
        let digests = BTreeMap::from([
            ([1; 32], entry(GateClass::Trusted, trusted_mark::PACKAGE_MANAGER)),
            ([2; 32], entry(GateClass::Trusted, trusted_mark::SETUID)),
            ([3; 32], entry(GateClass::Unknown, trusted_mark::PACKAGE_MANAGER)),
        ]);
        let hand = |json: &[u8]| {
            let bytes = Table::bytes(&config, &[], digests.iter(), (&[], &[]), &[], json);
            open(sealed(&bytes).unwrap())
        };
        let given = hand(&json).unwrap();
        assert_eq!(given.trust, Some(trust));
        let managers: Vec<bool> = (1..5).map(|n| given.is_manager(&[n; 32])).collect();
        assert_eq!(managers, [true, false, false, false]);
        assert_eq!(hand(b"").unwrap().trust, None);
        for hostile in [&b"{}"[..], b"x", &json[..json.len() - 1], b"\xff"] {
            assert!(matches!(hand(hostile), Err(HandedError::Trust(_))));
        }
    }
}
