//! An error with its causes, in one line.

use std::error::Error;

/// `what failed: why: why that`.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn causes_follow_in_order() {
        let error = crate::crypto::LedgerFileError::Read {
            path: "/x".into(),
            source: io::Error::from_raw_os_error(nix::libc::ENOENT),
        };
        let text = chain(&error);
        assert!(text.contains("/x") && text.contains(": No such file"), "{text}");
    }
}
