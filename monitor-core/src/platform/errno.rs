//! Names of the error numbers that kernels answer to probes. (tidy: table)

/// Symbolic name of a positive Linux error number, as the manual pages spell it; `None` for one not in the table.
pub const fn errno_name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        1 => "EPERM",
        2 => "ENOENT",
        3 => "ESRCH",
        4 => "EINTR",
        5 => "EIO",
        6 => "ENXIO",
        7 => "E2BIG",
        8 => "ENOEXEC",
        9 => "EBADF",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        14 => "EFAULT",
        16 => "EBUSY",
        17 => "EEXIST",
        18 => "EXDEV",
        19 => "ENODEV",
        20 => "ENOTDIR",
        21 => "EISDIR",
        22 => "EINVAL",
        24 => "EMFILE",
        27 => "EFBIG",
        28 => "ENOSPC",
        30 => "EROFS",
        34 => "ERANGE",
        38 => "ENOSYS",
        40 => "ELOOP",
        61 => "ENODATA",
        95 => "EOPNOTSUPP",
        110 => "ETIMEDOUT",
        // Not in errno.h for user space: the kernel's own "not supported", which bpf(2) lets through.
        524 => "ENOTSUPP",
        _ => return None,
    })
}

/// `"EPERM"`, or `"errno 123"` for a number without a name here. The sign does not matter.
pub fn errno_text(errno: i32) -> String {
    let positive = errno.saturating_abs();
    errno_name(positive).map_or_else(|| format!("errno {positive}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(errno_text(1), "EPERM");
        assert_eq!(errno_text(-524), "ENOTSUPP");
        assert_eq!(errno_text(9999), "errno 9999");
        assert_eq!(errno_text(i32::MIN), format!("errno {}", i32::MAX));
    }
}
