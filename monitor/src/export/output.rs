//! Places that bytes can be written to.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A place that records go to. All calls may block; they are made by the sink's own thread.
pub trait Output: Send {
    /// Writes some of the bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Opens the place again if it has been moved away. `true` if what is written next goes to another file.
    fn follow(&mut self, force: bool) -> io::Result<bool>;
}

/// Standard output.
#[derive(Debug)]
pub struct Stdout;

impl Output for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stdout = io::stdout().lock();
        // Standard output may hold back an unfinished line; records are whole lines, so nothing stays behind.
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(bytes.len())
    }

    fn follow(&mut self, _force: bool) -> io::Result<bool> {
        Ok(false)
    }
}

/// A file that is appended to, and looked for again when somebody rotates it away.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens or makes the file, mode 0640, and its directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent()
            && !dir.exists()
        {
            DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file: open_for_append(path)?,
        })
    }

    fn is_moved(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        Ok(match fs::symlink_metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) != (ours.dev(), ours.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            // Whatever else is the matter with the name, the open file still takes records.
            Err(_) => false,
        })
    }
}

impl Output for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn follow(&mut self, force: bool) -> io::Result<bool> {
        if !self.is_moved()? && !force {
            return Ok(false);
        }
        let file = open_for_append(&self.path)?;
        let (ours, new) = (self.file.metadata()?, file.metadata()?);
        let other = (ours.dev(), ours.ino()) != (new.dev(), new.ino());
        self.file = file;
        Ok(other)
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(flags)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    // A record that a crash or a full disk cut must not swallow the next one.
    if meta.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn appends_and_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/events.json");
        let mut file = LogFile::open(&path).unwrap();
        assert_eq!(file.write(b"a\n").unwrap(), 2);
        assert!(!file.follow(false).unwrap());
        assert!(!file.follow(true).unwrap(), "the same file");
        fs::rename(&path, dir.path().join("new/events.json.1")).unwrap();
        assert!(file.follow(false).unwrap());
        assert_eq!(file.write(b"b\n").unwrap(), 2);
        fs::remove_file(&path).unwrap();
        assert!(file.follow(false).unwrap());
        assert_eq!(file.write(b"c\n").unwrap(), 2);
        assert_eq!(fs::read_to_string(&path).unwrap(), "c\n");
        assert_eq!(
            fs::read_to_string(dir.path().join("new/events.json.1")).unwrap(),
            "a\n"
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7137,
            0,
            "not for others"
        );
    }

    #[test]
    fn a_cut_line_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.json");
        fs::write(&path, "{\"cut\":").unwrap();
        let mut file = LogFile::open(&path).unwrap();
        assert_eq!(file.write(b"{}\n").unwrap(), 3);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"cut\":\n{}\n");
    }

    #[test]
    fn links_and_special_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink("/etc/passwd", &link).unwrap();
        assert!(LogFile::open(&link).is_err());
        assert!(LogFile::open(dir.path()).is_err());
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(LogFile::open(&fifo).is_err());
    }
}
