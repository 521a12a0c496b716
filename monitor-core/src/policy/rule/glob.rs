//! Path patterns: `*` and `?` stay within a directory, `**` crosses directories. Everything else stands for itself.

/// A path pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob(String);

impl Glob {
    /// The pattern `text`; `None` if it is not absolute or longer than `PATH_MAX`.
    pub fn new(text: &str) -> Option<Self> {
        (text.starts_with('/') && text.len() <= 4096).then(|| Self(text.to_owned()))
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names exactly one path.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether `path` fits.
    pub fn matches(&self, path: &str) -> bool {
        matches(self.0.as_bytes(), path.as_bytes())
    }

    /// Whether every path that fits `self` surely fits `other`. `false` also when that cannot be told.
    pub fn is_within(&self, other: &Self) -> bool {
        self == other
            || (self.is_literal() && other.matches(&self.0))
            || other.0.strip_suffix("**").is_some_and(|tree| {
                tree.ends_with('/') && !tree.contains(['*', '?']) && self.fixed_part().starts_with(tree)
            })
    }

    /// Whether surely no path fits both. `false` also when that cannot be told.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        if self.is_literal() {
            return !other.matches(&self.0);
        }
        if other.is_literal() {
            return !self.matches(&other.0);
        }
        let (left, right) = (self.fixed_part(), other.fixed_part());
        !left.starts_with(right) && !right.starts_with(left)
    }

    /// What stands before the first wildcard.
    fn fixed_part(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }
}

/// Greedy matching with one point of return per kind of star: at most `pattern × path` steps.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    // Reachable pattern positions after each byte of the path; patterns are at most 4096 bytes, paths too.
    let mut states = vec![false; pattern.len() + 1];
    if let Some(first) = states.first_mut() {
        *first = true;
    }
    close_over_stars(pattern, &mut states);
    for byte in path {
        let mut next = vec![false; pattern.len() + 1];
        for (at, _) in states.iter().enumerate().filter(|(_, reached)| **reached) {
            let Some(symbol) = pattern.get(at) else { continue };
            let double = *symbol == b'*' && is_double(pattern, at);
            let stays = *symbol == b'*' && (double || *byte != b'/');
            let moves = (*symbol == b'?' && *byte != b'/') || (*symbol == *byte && *symbol != b'*');
            if stays {
                set(&mut next, at);
            }
            if moves {
                set(&mut next, at + 1);
            }
        }
        close_over_stars(pattern, &mut next);
        states = next;
    }
    states.last().copied().unwrap_or(false)
}

/// Whether the star at `at` is one of a pair.
fn is_double(pattern: &[u8], at: usize) -> bool {
    pattern.get(at + 1) == Some(&b'*') || (at > 0 && pattern.get(at - 1) == Some(&b'*'))
}

/// A star may also stand for nothing.
fn close_over_stars(pattern: &[u8], states: &mut [bool]) {
    for at in 0..pattern.len() {
        if states.get(at) == Some(&true) && pattern.get(at) == Some(&b'*') {
            set(states, at + 1);
        }
    }
}

fn set(states: &mut [bool], at: usize) {
    if let Some(state) = states.get_mut(at) {
        *state = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str, expected: bool) {
        assert_eq!(
            Glob::new(pattern).expect("absolute").matches(path),
            expected,
            "{pattern} {path}"
        );
    }

    #[test]
    fn stars_know_directories() {
        check("/usr/bin/*", "/usr/bin/id", true);
        check("/usr/bin/*", "/usr/bin/", true);
        check("/usr/bin/*", "/usr/bin/sub/id", false);
        check("/usr/**", "/usr/bin/sub/id", true);
        check("/usr/**/id", "/usr/bin/sub/id", true);
        check("/usr/**", "/usrlocal", false);
        check("/a?c", "/abc", true);
        check("/a?c", "/a/c", false);
        check("/exact", "/exact", true);
        check("/exact", "/exactly", false);
        check("/**", "/", true);
        check(&format!("/{}", "*a".repeat(1000)), &"/".repeat(4000), false);
    }

    #[test]
    fn inclusion_is_never_claimed_wrongly() {
        let glob = |text: &str| Glob::new(text).expect("absolute");
        assert!(glob("/usr/bin/id").is_within(&glob("/usr/bin/*")));
        assert!(glob("/usr/bin/*").is_within(&glob("/usr/**")));
        assert!(!glob("/usr/**").is_within(&glob("/usr/bin/*")));
        assert!(glob("/usr/bin/*").is_disjoint(&glob("/home/**")));
        assert!(!glob("/**/x").is_disjoint(&glob("/home/**")));
        assert!(glob("/usr/bin/id").is_disjoint(&glob("/usr/bin/i?x")));
    }
}
