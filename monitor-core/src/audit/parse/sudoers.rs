//! sudoers with its includes.

use super::super::facts::{Ctx, Stop};

/// The main file.
pub const MAIN: &str = "/etc/sudoers";
const DEPTH_MAX: u8 = 128;

/// One logical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Content without comment.
    pub text: String,
    /// `path:line`.
    pub place: String,
}

/// Every line of sudoers, includes in their place. Empty when sudo is not installed.
pub fn lines(ctx: &Ctx<'_>) -> Result<Vec<Line>, Stop> {
    let mut found = Vec::new();
    read(ctx, MAIN, &mut found, 0)?;
    Ok(found)
}

fn read(ctx: &Ctx<'_>, path: &str, found: &mut Vec<Line>, depth: u8) -> Result<(), Stop> {
    if depth > DEPTH_MAX {
        return Err(Stop::unreadable(path, "includes are nested too deeply"));
    }
    let Some(text) = ctx.text(path)? else {
        return Ok(());
    };
    for (number, raw) in super::keyvalue::joined_lines(text) {
        let line = raw.trim();
        if let Some(dir) = directive(line, "includedir") {
            let names = ctx.dir(&dir)?.unwrap_or_default();
            // sudo leaves out names that end in ~ or hold a dot.
            let files: Vec<String> = names
                .iter()
                .filter(|name| !name.ends_with('~') && !name.contains('.'))
                .map(|name| format!("{dir}/{name}"))
                .collect();
            ctx.texts(&files)?;
            for file in files {
                read(ctx, &file, found, depth + 1)?;
            }
        } else if let Some(file) = directive(line, "include") {
            read(ctx, &file, found, depth + 1)?;
        } else {
            let content = strip_comment(line);
            if !content.is_empty() {
                found.push(Line {
                    text: content.to_owned(),
                    place: format!("{path}:{number}"),
                });
            }
        }
    }
    Ok(())
}

fn directive(line: &str, name: &str) -> Option<String> {
    let rest = line.strip_prefix(['#', '@'])?.strip_prefix(name)?;
    if !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let path = super::keyvalue::unquote(rest.trim()).trim_end_matches('/');
    Some(if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/etc/{path}")
    })
}

/// A `#` starts a comment unless a digit follows (a user number).
fn strip_comment(line: &str) -> &str {
    for (at, _) in line.match_indices('#') {
        let number = line
            .get(at + 1..)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if !number {
            return line.get(..at).unwrap_or(line).trim();
        }
    }
    line.trim()
}

/// Settings of one `Defaults` line: the scope behind `Defaults` (such as `:user`) and the settings.
pub fn defaults(line: &str) -> Option<(String, Vec<String>)> {
    let rest = line.strip_prefix("Defaults")?;
    let (scope, rest) = rest.split_once(char::is_whitespace)?;
    let mut settings = Vec::new();
    let mut current = String::new();
    let mut quoted = false;
    for character in rest.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => settings.push(std::mem::take(&mut current)),
            c => current.push(c),
        }
    }
    settings.push(current);
    let settings = settings
        .iter()
        .map(|setting| setting.trim().to_owned())
        .filter(|s| !s.is_empty())
        .collect();
    Some((scope.to_owned(), settings))
}

#[cfg(test)]
mod tests {
    use super::super::super::testkit::tree;
    use super::*;

    #[test]
    fn includes_are_read_in_their_place() {
        let facts = tree(&[
            (
                "/etc/sudoers",
                "Defaults use_pty, logfile=\"/var/log/a,b.log\" # x\n#includedir /etc/sudoers.d\n#1000 ALL=(ALL) ALL\n",
            ),
            ("/etc/sudoers.d/a", "%wheel ALL=(ALL) \\\n NOPASSWD: ALL\n"),
            ("/etc/sudoers.d/b.conf", "ignored ALL=ALL\n"),
        ]);
        let found = lines(&Ctx::new(&facts)).unwrap();
        let texts: Vec<&str> = found.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts.len(), 3);
        assert!(texts[1].contains("NOPASSWD"));
        assert_eq!(found[1].place, "/etc/sudoers.d/a:1");
        assert_eq!(texts[2], "#1000 ALL=(ALL) ALL");
        assert_eq!(
            defaults(texts[0]),
            Some((
                String::new(),
                vec!["use_pty".into(), "logfile=/var/log/a,b.log".into()]
            ))
        );
    }
}
