//! PAM service files (Linux-PAM's /etc/pam.d).

/// One line of a PAM stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// auth, account, password or session.
    pub group: String,
    /// Control word, or the whole bracket expression.
    pub control: String,
    /// Module file name without directory, or the service of an include.
    pub module: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Line number, from 1.
    pub line: usize,
}

impl Entry {
    /// Whether an argument is there, alone or with a value.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Value of `name=value`; empty for a bare `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.args.iter().rev().find_map(|arg| match arg.split_once('=') {
            Some((key, value)) if key == name => Some(value),
            None if arg == name => Some(""),
            _ => None,
        })
    }
}

/// Reads a service file.
pub fn stack(text: &str) -> Vec<Entry> {
    super::keyvalue::joined_lines(text)
        .into_iter()
        .filter_map(|(line, content)| {
            let content = content.split('#').next().unwrap_or_default().trim();
            let (group, rest) = content.split_once(char::is_whitespace)?;
            let rest = rest.trim_start();
            let (control, rest) = if rest.starts_with('[') {
                rest.split_once(']')
                    .map(|(inner, rest)| (format!("{inner}]"), rest))?
            } else {
                rest.split_once(char::is_whitespace)
                    .map(|(word, rest)| (word.to_owned(), rest))?
            };
            let mut words = rest.split_whitespace();
            let module = words.next()?;
            Some(Entry {
                group: group.trim_start_matches('-').to_ascii_lowercase(),
                control,
                module: module.rsplit('/').next().unwrap_or(module).to_owned(),
                args: words.map(str::to_owned).collect(),
                line,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let stack = stack(
            "#%PAM-1.0\n-auth  [default=1 ignore=ignore success=ok] pam_succeed_if.so uid >= 1000 quiet # x\n\
             password required /usr/lib64/security/pam_pwhistory.so remember=24 \\\n use_authtok\nauth\n",
        );
        assert_eq!(stack.len(), 2);
        assert_eq!(stack[0].control, "[default=1 ignore=ignore success=ok]");
        assert_eq!(stack[0].group, "auth");
        assert_eq!(stack[1].module, "pam_pwhistory.so");
        assert_eq!(stack[1].value("remember"), Some("24"));
        assert!(stack[1].has("use_authtok") && !stack[1].has("nullok"));
    }
}
