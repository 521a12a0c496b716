//! The tree's own rules, as far as a quick look at the text can see them.

use crate::error::{Done, TaskError};
use crate::place::Places;
use crate::{sh, ui};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A logic file (tests not counted) up to this many lines needs no explanation.
const LINES_EXPLAIN: usize = 500;
/// Above this many it is refused.
const LINES_REFUSE: usize = 800;
/// A binary's file parses, calls and reports; it does not work.
const LINES_BINARY: usize = 60;
/// Marks a file as a table, exempt from the length rule.
const TABLE_MARK: &str = "tidy: table";
/// Binaries that are exempt: eBPF programs, which have no library to live in.
const BINARIES_EXEMPT: &str = "monitor-ebpf/";
/// Where `unsafe` may stand.
const UNSAFE_ROOMS: [&str; 2] = ["monitor/src/sys/", "monitor-ebpf/"];
/// Packages of pure logic and what they must not depend on.
const PURE: [&str; 2] = ["monitor-core/Cargo.toml", "monitor-rpm/Cargo.toml"];
const IMPURE: [&str; 3] = ["aya", "tokio", "nix"];

/// What a rule says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    place: String,
    what: String,
    /// A warning does not fail the task.
    is_warning: bool,
}

/// `cargo xtask tidy`.
pub(crate) fn run() -> Done {
    let places = Places::find()?;
    ui::step("tidy");
    let mut refused = 0;
    for path in files(&places.root)? {
        let Ok(bytes) = fs::read(places.root.join(&path)) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        for finding in examine(&path, &text) {
            let kind = if finding.is_warning { "warning" } else { "refused" };
            ui::say(&format!("{kind}: {}: {}", finding.place, finding.what));
            refused += usize::from(!finding.is_warning);
        }
    }
    if refused == 0 {
        return Ok(());
    }
    Err(TaskError::Found {
        what: format!("tidy: {refused} rules broken"),
    })
}

/// Files that git knows or would know.
fn files(root: &Path) -> Done<Vec<String>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let text = sh::output(Command::new("git").args(list).current_dir(root))?;
    Ok(text
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect())
}

fn examine(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |place: String, what: String, is_warning| {
        findings.push(Finding {
            place,
            what,
            is_warning,
        });
    };
    if holds_private_key(text) {
        add(path.into(), "contains a private key".into(), false);
    }
    if PURE.contains(&path) {
        for name in impure_dependencies(text) {
            add(
                path.into(),
                format!("depends on {name}: this package does no IO"),
                false,
            );
        }
    }
    if Path::new(path)
        .extension()
        .is_none_or(|extension| extension != "rs")
    {
        return findings;
    }
    let logic = logic_lines(path, text);
    let is_table = text.lines().take(5).any(|line| line.contains(TABLE_MARK));
    let is_binary =
        (path.ends_with("src/main.rs") || path.contains("/src/bin/")) && !path.starts_with(BINARIES_EXEMPT);
    if is_binary && logic > LINES_BINARY {
        add(
            path.into(),
            format!("a binary of {logic} lines, at most {LINES_BINARY}: move the work into the library"),
            false,
        );
    } else if logic > LINES_REFUSE && !is_table {
        add(
            path.into(),
            format!("{logic} lines without tests, at most {LINES_REFUSE}"),
            false,
        );
    } else if logic > LINES_EXPLAIN && !is_table {
        add(
            path.into(),
            format!("{logic} lines without tests: more than {LINES_EXPLAIN} need a reason"),
            true,
        );
    }
    for (number, line) in text.lines().enumerate() {
        let code = code_of(line);
        let place = format!("{path}:{}", number + 1);
        for name in [concat!("todo", "!("), concat!("unimplemented", "!(")] {
            if code.contains(name) {
                add(
                    place.clone(),
                    "unfinished code: finish it or leave it out".into(),
                    false,
                );
            }
        }
        if has_unsafe(code) && !UNSAFE_ROOMS.iter().any(|room| path.starts_with(room)) {
            add(
                place,
                format!("unsafe outside {}", UNSAFE_ROOMS.join(" and ")),
                false,
            );
        }
    }
    findings
}

/// Lines before the unit tests; a file of tests alone has none.
fn logic_lines(path: &str, text: &str) -> usize {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return 0;
    }
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

/// A line without its comment; a `//` inside a string cuts too much, which finds less and never more.
fn code_of(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn has_unsafe(code: &str) -> bool {
    let word = concat!("uns", "afe");
    ["{", "fn", "impl", "extern", "trait"]
        .iter()
        .any(|next| code.contains(&format!("{word} {next}")))
        && !code.contains('"')
}

fn impure_dependencies(manifest: &str) -> Vec<String> {
    let Ok(manifest) = manifest.parse::<toml::Table>() else {
        return vec!["(manifest cannot be read)".into()];
    };
    let Some(dependencies) = manifest.get("dependencies").and_then(toml::Value::as_table) else {
        return Vec::new();
    };
    dependencies
        .keys()
        .filter(|name| IMPURE.contains(&name.as_str()))
        .cloned()
        .collect()
}

/// A key, not the mention of one: a head line with a line of base64 below it (armour has a blank or header line between).
fn holds_private_key(text: &str) -> bool {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        // Spelled in pieces, or this file would find itself.
        if line.contains(concat!("PRIVATE", " KEY"))
            && lines.clone().take(4).any(|below| {
                let below = below.trim();
                below.len() >= 40
                    && below
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
            })
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(path: &str, text: &str, expected: &Expect) {
        let lines: Vec<_> = examine(path, text)
            .into_iter()
            .map(|finding| {
                format!(
                    "{}{}: {}",
                    if finding.is_warning { "(warning) " } else { "" },
                    finding.place,
                    finding.what
                )
            })
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn rules() {
        let long = "x\n".repeat(801);
        check(
            "monitor-core/src/a.rs",
            &long,
            &expect!["monitor-core/src/a.rs: 801 lines without tests, at most 800"],
        );
        check(
            "monitor-core/src/a.rs",
            &format!("//! Names. (tidy: table)\n{long}"),
            &expect![""],
        );
        check(
            "monitor-core/src/a.rs",
            &format!("x\n#[cfg(test)]\n{long}"),
            &expect![""],
        );
        check(
            "monitor/src/a.rs",
            &"x\n".repeat(501),
            &expect!["(warning) monitor/src/a.rs: 501 lines without tests: more than 500 need a reason"],
        );
        check(
            "monitor/src/main.rs",
            &"x\n".repeat(61),
            &expect!["monitor/src/main.rs: a binary of 61 lines, at most 60: move the work into the library"],
        );
        check("monitor-ebpf/src/main.rs", &"x\n".repeat(61), &expect![""]);
        check(
            "monitor-core/src/a.rs",
            concat!("// uns", "afe { in a comment }\nuns", "afe { x() }\nto", "do!()"),
            &expect![[r"
                monitor-core/src/a.rs:2: unsafe outside monitor/src/sys/ and monitor-ebpf/
                monitor-core/src/a.rs:3: unfinished code: finish it or leave it out"]],
        );
        check(
            "monitor/src/sys/a.rs",
            concat!("uns", "afe { x() }"),
            &expect![""],
        );
        check(
            "a.asc",
            &format!(
                "-----BEGIN {} KEY BLOCK-----\n\n{}\n",
                "PGP PRIVATE",
                "lQVY".repeat(16)
            ),
            &expect!["a.asc: contains a private key"],
        );
        check(
            "a.rs",
            "(\"-----BEGIN PRIVATE KEY-----\\nAAAA\\n\", \"cut short\")",
            &expect![""],
        );
        check(
            "monitor-core/Cargo.toml",
            "[dependencies]\ntokio.workspace = true\nserde = '1'\n",
            &expect!["monitor-core/Cargo.toml: depends on tokio: this package does no IO"],
        );
    }
}
