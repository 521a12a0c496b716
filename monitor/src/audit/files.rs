//! Reading files below a root. Symbolic links stay inside; sizes and numbers are bounded.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use hardpan_core::audit::{FileKind, Read, Stat, TreeEntry};
use hardpan_rpm::root::{Last, Root};

/// Largest text file that is read, in bytes. grub.cfg and modules.dep are well below.
const TEXT_MAX: u64 = 8 << 20;
/// Most entries of one tree.
const TREE_MAX: usize = 20_000;

/// Turns an error into an answer: what does not exist is `None`, everything else a reason.
fn answer<T>(result: io::Result<T>) -> Read<T> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err("permission denied; run as root".into())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Kind, mode, owner and size as the checks know them.
pub(super) fn convert(stat: &rustix::fs::Stat) -> Stat {
    let kind = match stat.st_mode & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Dir,
        0o120_000 => FileKind::Link,
        0o020_000 | 0o060_000 => FileKind::Device,
        _ => FileKind::Other,
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Stat {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size,
    }
}

/// Metadata of what a path means.
pub(super) fn stat(root: &Root, path: &str) -> Read<Stat> {
    answer(
        root.resolve(Path::new(path), Last::Follow)
            .and_then(|fd| Ok(convert(&rustix::fs::fstat(fd)?))),
    )
}

/// Content of a text file. Bytes that are no UTF-8 become replacement characters.
pub(super) fn text(root: &Root, path: &str) -> Read<Arc<str>> {
    let file = match answer(root.open_file(Path::new(path))) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        // A directory where a file may be, such as a *.d entry, is no text.
        Err(why) if why == "not a regular file" => return Ok(None),
        Err(why) => return Err(why),
    };
    let mut bytes = Vec::new();
    match file.take(TEXT_MAX + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > TEXT_MAX => Err(format!("larger than {TEXT_MAX} bytes")),
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into())),
        Err(error) => answer(Err(error)),
    }
}

/// Names in a directory, sorted.
pub(super) fn dir(root: &Root, path: &str) -> Read<Vec<String>> {
    answer(root.open_dir(Path::new(path)).and_then(|dir| dir.names())).map(|names| {
        names.map(|names| {
            names
                .iter()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect()
        })
    })
}

/// Target of a symbolic link; `None` where there is no link.
pub(super) fn link(root: &Root, path: &str) -> Read<String> {
    let path = Path::new(path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let target = root
        .open_dir(parent)
        .and_then(|dir| dir.read_link(name.as_encoded_bytes()));
    match target {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        other => answer(other).map(|target| target.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
    }
}

/// Everything below a directory, down to `depth` levels; links are not followed, and what `leaves_out` is not looked at.
pub(super) fn tree(
    root: &Root,
    path: &str,
    depth: u8,
    leaves_out: &mut dyn FnMut(&str) -> bool,
) -> Read<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    let mut todo = vec![(path.trim_end_matches('/').to_owned(), depth)];
    let mut first = true;
    while let Some((path, depth)) = todo.pop() {
        let listing = root
            .open_dir(Path::new(&path))
            .and_then(|dir| Ok((dir.names()?, dir)));
        let (names, dir) = match answer(listing) {
            Ok(Some(found)) => found,
            Ok(None) if first => return Ok(None),
            Ok(None) => continue,
            Err(why) => return Err(why),
        };
        first = false;
        for name in names {
            let path = format!("{path}/{}", String::from_utf8_lossy(&name));
            if leaves_out(&path) {
                continue;
            }
            let Ok(raw) = dir.lstat(&name) else { continue };
            let stat = convert(&raw);
            if stat.kind == FileKind::Dir && depth > 1 {
                todo.push((path.clone(), depth - 1));
            }
            entries.push(TreeEntry {
                path,
                stat,
                mtime: raw.st_mtime,
            });
            if entries.len() > TREE_MAX {
                return Err(format!("more than {TREE_MAX} entries"));
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Some(entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn answers_stay_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        std::fs::create_dir_all(base.join("etc/x.d/deep")).unwrap();
        std::fs::write(base.join("etc/a"), "hello").unwrap();
        std::fs::write(base.join("etc/bad"), b"a\xffb").unwrap();
        symlink("/etc/a", base.join("etc/link")).unwrap();
        symlink("/etc/passwd", base.join("etc/x.d/escape")).unwrap();
        let root = Root::open(base).unwrap();
        assert_eq!(text(&root, "/etc/link").unwrap().as_deref(), Some("hello"));
        assert_eq!(
            text(&root, "/etc/x.d/escape"),
            Ok(None),
            "the host's file is not the image's"
        );
        assert_eq!(text(&root, "/etc/bad").unwrap().as_deref(), Some("a\u{fffd}b"));
        assert_eq!(text(&root, "/etc/x.d"), Ok(None));
        assert_eq!(text(&root, "/etc/none"), Ok(None));
        assert_eq!(stat(&root, "/etc/a").unwrap().unwrap().size, 5);
        assert_eq!(link(&root, "/etc/link"), Ok(Some("/etc/a".into())));
        assert_eq!(link(&root, "/etc/a"), Ok(None));
        assert_eq!(link(&root, "/etc/none"), Ok(None));
        assert_eq!(
            self::dir(&root, "/etc/x.d"),
            Ok(Some(vec!["deep".into(), "escape".into()]))
        );
        let paths = |depth| -> Vec<String> {
            tree(&root, "/etc", depth, &mut |_| false)
                .unwrap()
                .unwrap()
                .into_iter()
                .map(|entry| entry.path)
                .collect()
        };
        assert_eq!(paths(1), ["/etc/a", "/etc/bad", "/etc/link", "/etc/x.d"]);
        assert_eq!(paths(2).len(), 6);
        assert_eq!(tree(&root, "/none", 2, &mut |_| false), Ok(None));
        let left = tree(&root, "/etc", 2, &mut |path| path == "/etc/x.d")
            .unwrap()
            .unwrap();
        assert_eq!(left.len(), 3, "{left:?}");
    }
}
