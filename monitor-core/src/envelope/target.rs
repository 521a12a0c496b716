//! Which hosts an envelope is for.

/// Most targets of an envelope.
pub const MAX_TARGETS: usize = 256;
/// Longest target, in bytes.
pub const MAX_TARGET_BYTES: usize = 255;

/// Whether the whole text matches: `*` is any run of characters, `?` any one byte, letters of either case are the same
/// (host names and machine-ids are ASCII). Time is at most the product of both lengths.
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut rest) = (pattern.as_bytes(), text.as_bytes());
    // Where to go on when a match fails: behind the last star, with one more byte given to it.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, rest) {
            ([], []) => return true,
            ([b'*', after @ ..], _) => {
                retry = Some((after, rest));
                pattern = after;
                continue;
            }
            ([p, after @ ..], [c, tail @ ..]) if *p == b'?' || p.eq_ignore_ascii_case(c) => {
                (pattern, rest) = (after, tail);
                continue;
            }
            _ => {}
        }
        match retry {
            Some((after_star, [_, tail @ ..])) => {
                retry = Some((after_star, tail));
                (pattern, rest) = (after_star, tail);
            }
            _ => return false,
        }
    }
}
