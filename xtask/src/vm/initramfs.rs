//! Writing an initramfs: a cpio archive in the "newc" format, from a folder.
//!
//! Format as in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use crate::error::{Done, TaskError};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const S_IFCHR: u32 = 0o020_000;
const S_IFLNK: u32 = 0o120_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFMT: u32 = 0o170_000;

/// An archive being written. Everything in it belongs to root.
#[derive(Debug)]
pub(super) struct Archive<W> {
    out: W,
    entries: u32,
    mtime: u32,
}

impl<W: Write> Archive<W> {
    pub(super) const fn new(out: W) -> Self {
        Self {
            out,
            entries: 0,
            mtime: 0,
        }
    }

    /// Adds everything below `dir` under the same paths.
    pub(super) fn tree(&mut self, dir: &Path) -> Done {
        self.below(dir, dir)
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, name: &str, mode: u32, major: u32, minor: u32) -> Done {
        self.entry(name.as_bytes(), S_IFCHR | mode, (major, minor), b"")
            .map_err(TaskError::file("archiving", name))
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Done<W> {
        self.entry(b"TRAILER!!!", 0, (0, 0), b"")
            .and_then(|()| self.out.flush())
            .map_err(TaskError::file("ending", "the initramfs"))?;
        Ok(self.out)
    }

    fn below(&mut self, root: &Path, dir: &Path) -> Done {
        let reading = || TaskError::file("reading", dir);
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir).map_err(reading())? {
            paths.push(entry.map_err(reading())?.path());
        }
        paths.sort();
        for path in paths {
            let meta = fs::symlink_metadata(&path).map_err(TaskError::file("looking at", &path))?;
            let name = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .as_os_str()
                .as_bytes()
                .to_vec();
            self.mtime = u32::try_from(meta.mtime()).unwrap_or(0);
            let mode = meta.permissions().mode();
            let content = match mode & S_IFMT {
                S_IFLNK => {
                    let target = fs::read_link(&path).map_err(TaskError::file("reading the link", &path))?;
                    target.as_os_str().as_bytes().to_vec()
                }
                S_IFDIR => Vec::new(),
                _ => fs::read(&path).map_err(TaskError::file("reading", &path))?,
            };
            self.entry(&name, mode, (0, 0), &content)
                .map_err(TaskError::file("archiving", &path))?;
            if mode & S_IFMT == S_IFDIR {
                self.below(root, &path)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &[u8], mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).map_err(|_| io::Error::other("larger than 4 GiB"))?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        let links = if mode & S_IFMT == S_IFDIR { 2 } else { 1 };
        let (major, minor) = device;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            links,
            self.mtime,
            size,
            0,
            0,
            major,
            minor,
            name_size,
            0,
        ]
        .map(|n| format!("{n:08X}"));
        write!(self.out, "070701{}", fields.concat())?;
        self.out.write_all(name)?;
        self.out.write_all(b"\0")?;
        // Head (110 bytes) with name, and content, each filled up to a multiple of four.
        self.pad(110 + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        let zeros = [0; 3];
        self.out.write_all(
            zeros
                .get(..written.next_multiple_of(4) - written)
                .unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    #[test]
    fn cpio_reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/tool"), b"12345").unwrap();
        fs::set_permissions(root.join("usr/bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        let mut archive = Archive::new(Vec::new());
        archive.tree(&root).unwrap();
        archive.device("dev-console", 0o600, 5, 1).unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        // busybox's cpio or GNU's, whichever is there.
        let Some((program, args)) = [("cpio", vec![]), ("busybox", vec!["cpio"])]
            .into_iter()
            .find(|(name, _)| crate::place::program(name).is_some())
        else {
            return crate::ui::say("skipped: no cpio to read the archive with");
        };
        let mut child = Command::new(program)
            .args(args)
            .args(["-t", "-v"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let list = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let tool = list.lines().find(|line| line.ends_with("usr/bin/tool")).unwrap();
        assert!(tool.starts_with("-rwsr-xr-x") && tool.contains(" 5 "), "{list}");
        assert!(
            list.lines()
                .any(|line| line.starts_with('l') && line.ends_with("bin -> usr/bin")),
            "{list}"
        );
        assert!(
            list.lines()
                .any(|line| line.starts_with("crw-------") && line.contains("dev-console")),
            "{list}"
        );
    }
}
