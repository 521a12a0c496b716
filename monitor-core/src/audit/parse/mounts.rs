//! /etc/fstab and /proc/self/mountinfo.

/// One mounted or to-be-mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Device, label or UUID.
    pub source: String,
    /// Mount point.
    pub target: String,
    /// Type.
    pub fs: String,
    /// Options, those of the mount and of the file system together.
    pub options: Vec<String>,
    /// Line number, from 1.
    pub line: usize,
}

impl Mount {
    /// Whether an option is set.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|set| set == option)
    }

    /// Whether the file system lies on another host.
    pub fn remote(&self) -> bool {
        const REMOTE: [&str; 10] = [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "afs",
            "ceph",
            "glusterfs",
            "fuse.sshfs",
            "gfs2",
        ];
        REMOTE.contains(&self.fs.as_str())
    }
}

/// Reads fstab. `defaults` stays an option like any other.
pub fn fstab(text: &str) -> Vec<Mount> {
    super::keyvalue::plain_lines(text)
        .filter_map(|(line, content)| {
            let mut fields = content.split_whitespace();
            let (source, target, fs) = (fields.next()?, fields.next()?, fields.next()?);
            let options = fields.next().unwrap_or("defaults");
            Some(Mount {
                source: unescape(source),
                target: trim_target(&unescape(target)),
                fs: fs.to_owned(),
                options: options.split(',').map(str::to_owned).collect(),
                line,
            })
        })
        .collect()
}

/// Reads mountinfo; the last entry for a target is the visible one.
pub fn mountinfo(text: &str) -> Vec<Mount> {
    text.lines()
        .enumerate()
        .filter_map(|(index, content)| {
            let (left, right) = content.split_once(" - ")?;
            let mut left = left.split(' ').skip(4);
            let (target, options) = (left.next()?, left.next()?);
            let mut right = right.split(' ');
            let (fs, source) = (right.next()?, right.next()?);
            let super_options = right.next().unwrap_or_default();
            Some(Mount {
                source: unescape(source),
                target: trim_target(&unescape(target)),
                fs: fs.to_owned(),
                options: options
                    .split(',')
                    .chain(super_options.split(','))
                    .map(str::to_owned)
                    .collect(),
                line: index + 1,
            })
        })
        .collect()
}

/// The visible mount at a target.
pub fn at<'a>(mounts: &'a [Mount], target: &str) -> Option<&'a Mount> {
    mounts.iter().rev().find(|mount| mount.target == target)
}

/// The mount that holds a path.
pub fn holding<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| mount.target == "/" || super::super::sweep::below(path, &mount.target))
        .max_by_key(|mount| (mount.target.len(), mount.line))
}

fn trim_target(target: &str) -> String {
    let trimmed = target.trim_end_matches('/');
    if trimmed.is_empty() {
        "/".to_owned()
    } else {
        trimmed.to_owned()
    }
}

/// Undoes the octal escapes of both files (`\040` for a space).
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files() {
        let table = fstab("# x\nUUID=1 /home/ xfs defaults,nodev 0 0\n/dev/sdb /a\\040b ext4\n");
        assert_eq!(table[0].target, "/home");
        assert!(table[0].has("nodev"));
        assert_eq!(table[1].target, "/a b");
        assert!(table[1].has("defaults"));

        let info = mountinfo(
            "22 1 8:1 / / rw,relatime shared:1 - xfs /dev/sda1 rw,seclabel\n\
             30 22 0:30 / /tmp rw,nosuid,nodev master:2 - tmpfs tmpfs rw,size=1k\n\
             31 22 0:31 / /tmp rw - tmpfs tmpfs rw\nbroken line\n",
        );
        assert_eq!(info.len(), 3);
        assert!(
            !at(&info, "/tmp").unwrap().has("nosuid"),
            "the later mount hides the earlier"
        );
        assert_eq!(holding(&info, "/tmp/x").unwrap().target, "/tmp");
        assert_eq!(holding(&info, "/tmpx").unwrap().target, "/");
    }
}
