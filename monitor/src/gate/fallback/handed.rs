//! A table of the gate in memory that nobody can write to any more, as it is handed from process to process.

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
pub(super) fn open(memory: OwnedFd) -> Result<Table, HandedError> {
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
    Table::parse(&bytes).map_err(HandedError::Table)
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
}
