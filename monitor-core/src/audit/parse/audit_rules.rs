//! Audit rules as auditctl writes and reads them.

use std::collections::BTreeSet;

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Watched path of `-w` (or of `-F path=`/`-F dir=`), without a trailing slash.
    pub path: Option<String>,
    /// Permissions of `-p` (or of `-F perm=`).
    pub perms: String,
    /// `filter,action`, sorted, for `-a` and `-A`.
    pub list: Option<(String, String)>,
    /// System calls.
    pub syscalls: BTreeSet<String>,
    /// Fields as (name, operator, value). `path`, `dir`, `perm`, `key` are taken out.
    pub fields: BTreeSet<(String, String, String)>,
    /// Comparisons of `-C`.
    pub compares: BTreeSet<String>,
    /// Other flags: `-e 2`, `-f 1`, `-b 8192`, `--loginuid-immutable`, `-c`, `-D`.
    pub control: Option<(String, String)>,
    /// `path:line` or the command that printed it.
    pub place: String,
    /// The rule as written.
    pub text: String,
}

/// Reads rules; `source` names the file or command.
pub fn rules(source: &str, text: &str) -> Vec<Rule> {
    super::keyvalue::plain_lines(text)
        .filter_map(|(number, line)| {
            rule(line).map(|rule| Rule {
                place: format!("{source}:{number}"),
                ..rule
            })
        })
        .collect()
}

fn rule(line: &str) -> Option<Rule> {
    let words = super::boot::arguments(line);
    let mut words = words.iter().map(String::as_str).peekable();
    let mut rule = Rule {
        text: line.to_owned(),
        ..Rule::default()
    };
    words.peek()?;
    while let Some(word) = words.next() {
        match word {
            "-w" | "-W" => rule.path = words.next().map(trim_path),
            "-p" => words.next().unwrap_or_default().clone_into(&mut rule.perms),
            "-k" => {
                words.next();
            }
            "-a" | "-A" => rule.list = words.next().and_then(list),
            "-S" => rule
                .syscalls
                .extend(words.next().unwrap_or_default().split(',').map(str::to_owned)),
            "-F" => field(&mut rule, words.next().unwrap_or_default()),
            "-C" => {
                rule.compares.insert(words.next().unwrap_or_default().to_owned());
            }
            "--loginuid-immutable" | "-c" | "-D" | "-i" => {
                rule.control = Some((word.to_owned(), String::new()));
            }
            "-e" | "-f" | "-b" | "-r" => {
                rule.control = Some((word.to_owned(), words.next().unwrap_or_default().to_owned()));
            }
            other => {
                if let Some(value) = other.strip_prefix("-F") {
                    field(&mut rule, value);
                } else if let Some(value) = other.strip_prefix("-S") {
                    rule.syscalls.extend(value.split(',').map(str::to_owned));
                }
            }
        }
    }
    Some(rule)
}

fn list(word: &str) -> Option<(String, String)> {
    let (one, two) = word.split_once(',')?;
    // auditctl takes both orders.
    Some(if matches!(one, "always" | "never") {
        (two.into(), one.into())
    } else {
        (one.into(), two.into())
    })
}

fn field(rule: &mut Rule, text: &str) {
    const OPERATORS: [&str; 8] = ["!=", ">=", "<=", "&=", "=", ">", "<", "&"];
    let found = text.char_indices().find_map(|(at, _)| {
        let rest = text.get(at..)?;
        OPERATORS
            .iter()
            .find(|op| rest.starts_with(**op))
            .map(|op| (at, *op))
    });
    let Some((at, operator)) = found else { return };
    let (name, value) = (
        text.get(..at).unwrap_or_default(),
        text.get(at + operator.len()..).unwrap_or_default(),
    );
    match name {
        "path" | "dir" => rule.path = Some(trim_path(value)),
        "perm" => value.clone_into(&mut rule.perms),
        "key" => {}
        _ => {
            rule.fields.insert((
                canonical_field(name).to_owned(),
                operator.to_owned(),
                canonical_value(value),
            ));
        }
    }
}

fn canonical_field(name: &str) -> &str {
    if name == "loginuid" { "auid" } else { name }
}

/// `unset`, `-1` and 4294967295 are one value; `-EACCES` and `-13` too.
fn canonical_value(value: &str) -> String {
    match value {
        "-1" | "4294967295" => "unset".to_owned(),
        "-13" => "-EACCES".to_owned(),
        other => other.to_owned(),
    }
}

fn trim_path(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        "/".to_owned()
    } else {
        trimmed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_and_calls() {
        let found = rules(
            "f",
            "# c\n-w /etc/sudoers.d/ -p wa -k scope\n\
             -a always,exit -F arch=b64 -S chmod,fchmod -S lchown -F auid>=1000 -F auid!=4294967295 -F key=perm_mod\n\
             -a exit,always -F path=/usr/bin/su -F perm=x -F auid>=1000 -k x\n-e 2\n-a always,exit -C euid!=uid -F auid!=unset -S execve\n",
        );
        assert_eq!(found[0].path.as_deref(), Some("/etc/sudoers.d"));
        assert_eq!(found[0].perms, "wa");
        assert_eq!(found[1].syscalls.len(), 3);
        assert!(
            found[1]
                .fields
                .contains(&("auid".into(), "!=".into(), "unset".into()))
        );
        assert!(
            found[1]
                .fields
                .contains(&("auid".into(), ">=".into(), "1000".into()))
        );
        assert_eq!(found[2].list, Some(("exit".into(), "always".into())));
        assert_eq!(found[2].path.as_deref(), Some("/usr/bin/su"));
        assert_eq!(found[3].control, Some(("-e".into(), "2".into())));
        assert!(found[4].compares.contains("euid!=uid"));
        assert_eq!(found[4].place, "f:6");
    }
}
