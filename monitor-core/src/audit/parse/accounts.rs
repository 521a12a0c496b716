//! /etc/passwd, /etc/shadow, /etc/group, /etc/login.defs.

/// One line of passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Password field, `x` when shadowed.
    pub password: String,
    /// User number.
    pub uid: u32,
    /// Primary group number.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Line number, from 1.
    pub line: usize,
}

/// One line of shadow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Login name.
    pub name: String,
    /// Password hash, `*`, `!` or empty.
    pub hash: String,
    /// Day of the last change since 1970.
    pub last_change: Option<i64>,
    /// Days before a change is allowed.
    pub min_days: Option<i64>,
    /// Days after which a change is needed.
    pub max_days: Option<i64>,
    /// Days of warning before that.
    pub warn_days: Option<i64>,
    /// Days after expiry until the account locks.
    pub inactive_days: Option<i64>,
    /// Day on which the account expires.
    pub expires: Option<i64>,
}

impl Shadow {
    /// Whether a password is set (neither empty nor locked).
    pub fn has_password(&self) -> bool {
        !self.hash.is_empty() && !self.hash.starts_with(['!', '*'])
    }
}

/// One line of group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Number.
    pub gid: u32,
    /// Members beyond those who have it as primary group.
    pub members: Vec<String>,
}

/// A file read line by line, with the lines that make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines<T> {
    /// What could be read.
    pub entries: Vec<T>,
    /// Numbers of lines that could not.
    pub bad: Vec<usize>,
}

fn lines<T>(text: &str, parse: impl Fn(usize, &[&str]) -> Option<T>) -> Lines<T> {
    let mut found = Lines {
        entries: Vec::new(),
        bad: Vec::new(),
    };
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') || line.starts_with(['+', '-']) {
            continue;
        }
        let fields: Vec<&str> = line.split(':').collect();
        match parse(index + 1, &fields) {
            Some(entry) => found.entries.push(entry),
            None => found.bad.push(index + 1),
        }
    }
    found
}

/// Reads passwd.
pub fn passwd(text: &str) -> Lines<User> {
    lines(text, |line, fields| match fields {
        [name, password, uid, gid, _, home, shell] => Some(User {
            name: (*name).to_owned(),
            password: (*password).to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: (*home).to_owned(),
            shell: if shell.is_empty() {
                "/bin/sh".to_owned()
            } else {
                (*shell).to_owned()
            },
            line,
        }),
        _ => None,
    })
}

/// Reads shadow.
pub fn shadow(text: &str) -> Lines<Shadow> {
    lines(text, |_, fields| {
        let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
        Some(Shadow {
            name: (*fields.first()?).to_owned(),
            hash: (*fields.get(1)?).to_owned(),
            last_change: number(2),
            min_days: number(3),
            max_days: number(4),
            warn_days: number(5),
            inactive_days: number(6),
            expires: number(7),
        })
    })
}

/// Reads group.
pub fn group(text: &str) -> Lines<Group> {
    lines(text, |_, fields| match fields {
        [name, _, gid, members] => Some(Group {
            name: (*name).to_owned(),
            gid: gid.parse().ok()?,
            members: members
                .split(',')
                .filter(|m| !m.is_empty())
                .map(str::to_owned)
                .collect(),
        }),
        _ => None,
    })
}

/// Whether a shell lets nobody in.
pub fn no_login(shell: &str) -> bool {
    matches!(
        shell.rsplit('/').next(),
        Some("nologin" | "false" | "sync" | "shutdown" | "halt" | "true")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_broken_ones_named() {
        let users = passwd("root:x:0:0:root:/root:/bin/bash\nbad line\nx:x:1:1:::\n+nis\n");
        assert_eq!(users.entries.len(), 2);
        assert_eq!(users.bad, [2]);
        assert_eq!(users.entries[1].shell, "/bin/sh");
        let shadows = shadow("root:$6$x:19000:0:99999:7:::\nbin:*:19000::::::\n");
        assert!(shadows.entries[0].has_password() && !shadows.entries[1].has_password());
        assert_eq!(shadows.entries[0].max_days, Some(99999));
        assert_eq!(group("wheel:x:10:a,b\n").entries[0].members, ["a", "b"]);
        assert!(no_login("/sbin/nologin") && !no_login("/bin/bash"));
    }
}
