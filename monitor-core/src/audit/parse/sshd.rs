//! sshd_config with its includes, as sshd reads it: the first value of a keyword wins.

use super::super::facts::{Ctx, Stop, Tool};
use std::collections::BTreeMap;

/// The main file.
pub const MAIN: &str = "/etc/ssh/sshd_config";
/// Nested includes deeper than this are an error (sshd allows 16).
const DEPTH_MAX: u8 = 16;

/// What sshd would do, or does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    /// Keyword in lower case to (value, place). Keywords that may repeat hold all values, separated by a space.
    pub values: BTreeMap<String, (String, String)>,
    /// Settings inside Match blocks: (block, keyword, value, place).
    pub matched: Vec<(String, String, String, String)>,
    /// True when the values came from the running program (`sshd -T`), defaults included.
    pub runtime: bool,
}

impl Effective {
    /// The value in effect and where it comes from; built-in defaults included.
    pub fn value(&self, keyword: &str) -> Option<(String, String)> {
        let keyword = keyword.to_ascii_lowercase();
        if let Some(found) = self.values.get(&keyword) {
            return Some(found.clone());
        }
        let default = DEFAULTS.iter().find(|(name, _)| *name == keyword)?.1;
        Some((default.to_owned(), "sshd's default".to_owned()))
    }
}

/// Defaults of OpenSSH 8.0 to 9.9 on EL for the keywords checks ask about (sshd_config(5)).
const DEFAULTS: [(&str, &str); 27] = [
    ("allowtcpforwarding", "yes"),
    ("banner", "none"),
    ("clientalivecountmax", "3"),
    ("clientaliveinterval", "0"),
    ("compression", "delayed"),
    ("disableforwarding", "no"),
    ("gssapiauthentication", "no"),
    ("hostbasedauthentication", "no"),
    ("ignorerhosts", "yes"),
    ("ignoreuserknownhosts", "no"),
    ("kerberosauthentication", "no"),
    ("logingracetime", "120"),
    ("loglevel", "INFO"),
    ("maxauthtries", "6"),
    ("maxsessions", "10"),
    ("maxstartups", "10:30:100"),
    ("passwordauthentication", "yes"),
    ("permitemptypasswords", "no"),
    ("permitrootlogin", "prohibit-password"),
    ("permituserenvironment", "no"),
    ("printlastlog", "yes"),
    ("pubkeyauthentication", "yes"),
    ("rekeylimit", "default none"),
    ("strictmodes", "yes"),
    ("usepam", "no"),
    ("x11forwarding", "no"),
    ("x11uselocalhost", "yes"),
];

/// Keywords of which every occurrence counts.
const REPEATING: [&str; 6] = [
    "allowusers",
    "allowgroups",
    "denyusers",
    "denygroups",
    "acceptenv",
    "port",
];

/// The effective configuration: `sshd -T` on a running system, the files otherwise. `None` if there is no sshd.
pub fn effective(ctx: &Ctx<'_>) -> Result<Option<Effective>, Stop> {
    if ctx.facts.live
        && let Some(text) = ctx.output(Tool::Sshd)?
    {
        return Ok(Some(from_output(text)));
    }
    let mut found = Effective::default();
    let mut block = None;
    if !read(ctx, MAIN, &mut found, &mut block, 0)? {
        return Ok(None);
    }
    Ok(Some(found))
}

fn from_output(text: &str) -> Effective {
    let mut found = Effective {
        runtime: true,
        ..Effective::default()
    };
    for line in text.lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        put(&mut found, keyword, value, "sshd -T");
    }
    found
}

fn put(found: &mut Effective, keyword: &str, value: &str, place: &str) {
    let keyword = keyword.to_ascii_lowercase();
    let value = normalise(&keyword, value);
    match found.values.get_mut(&keyword) {
        None => {
            found.values.insert(keyword, (value, place.to_owned()));
        }
        Some((old, _)) if REPEATING.contains(&keyword.as_str()) => {
            old.push(' ');
            old.push_str(&value);
        }
        Some(_) => {}
    }
}

/// Times become seconds, so that `1m` and `60` are one value.
fn normalise(keyword: &str, value: &str) -> String {
    let value = super::keyvalue::unquote(value.trim());
    if ["clientaliveinterval", "logingracetime"].contains(&keyword)
        && let Some(seconds) = seconds(value)
    {
        return seconds.to_string();
    }
    value.to_owned()
}

/// Reads sshd's time format (`600`, `10m`, `1h30m`).
pub fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    if number.is_empty() {
        Some(total)
    } else {
        total.checked_add(number.parse().ok()?)
    }
}

/// Reads one file into `found`; answers whether it exists. Include files are read where they stand. A Match block ends
/// with the file it began in.
fn read(
    ctx: &Ctx<'_>,
    path: &str,
    found: &mut Effective,
    block: &mut Option<String>,
    depth: u8,
) -> Result<bool, Stop> {
    if depth > DEPTH_MAX {
        return Err(Stop::unreadable(path, "includes are nested too deeply"));
    }
    let Some(text) = ctx.text(path)? else {
        return Ok(false);
    };
    let outer = block.clone();
    let mut waiting = false;
    for (number, line) in super::keyvalue::plain_lines(text) {
        let split = line
            .find(|c: char| c.is_whitespace() || c == '=')
            .unwrap_or(line.len());
        let keyword = line.get(..split).unwrap_or_default();
        let value = line
            .get(split..)
            .unwrap_or_default()
            .trim_start_matches([' ', '\t', '='])
            .trim();
        if keyword.eq_ignore_ascii_case("include") {
            match include(ctx, value, found, block, depth) {
                Ok(()) => {}
                // Go on, so that all includes of a file are wished for at once.
                Err(Stop::Missing) => waiting = true,
                Err(stop) => return Err(stop),
            }
        } else if keyword.eq_ignore_ascii_case("match") {
            *block = (!value.eq_ignore_ascii_case("all")).then(|| value.to_owned());
        } else if let Some(block) = block.as_ref() {
            let keyword = keyword.to_ascii_lowercase();
            let value = normalise(&keyword, value);
            found
                .matched
                .push((block.clone(), keyword, value, format!("{path}:{number}")));
        } else {
            put(found, keyword, value, &format!("{path}:{number}"));
        }
    }
    *block = outer;
    if waiting { Err(Stop::Missing) } else { Ok(true) }
}

fn include(
    ctx: &Ctx<'_>,
    patterns: &str,
    found: &mut Effective,
    block: &mut Option<String>,
    depth: u8,
) -> Result<(), Stop> {
    let mut files = Vec::new();
    for pattern in patterns.split_whitespace().map(super::keyvalue::unquote) {
        let pattern = if pattern.starts_with('/') {
            pattern.to_owned()
        } else {
            format!("/etc/ssh/{pattern}")
        };
        files.extend(ctx.glob(&pattern)?);
    }
    ctx.texts(&files)?;
    for file in files {
        read(ctx, &file, found, block, depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::testkit::tree;
    use super::*;

    #[test]
    fn first_value_wins_and_includes_count_where_they_stand() {
        let facts = tree(&[
            (
                "/etc/ssh/sshd_config",
                "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin yes\nLoginGraceTime 1m\nMatch User bob\n X11Forwarding yes\n",
            ),
            (
                "/etc/ssh/sshd_config.d/01.conf",
                "permitrootlogin=no\nAllowUsers a\n",
            ),
            (
                "/etc/ssh/sshd_config.d/50.conf",
                "PermitRootLogin prohibit-password\nAllowUsers b\n",
            ),
        ]);
        let found = effective(&Ctx::new(&facts)).unwrap().unwrap();
        let check = |keyword: &str, value: &str, place: &str| {
            assert_eq!(found.value(keyword), Some((value.to_owned(), place.to_owned())));
        };
        check("PermitRootLogin", "no", "/etc/ssh/sshd_config.d/01.conf:1");
        check("AllowUsers", "a b", "/etc/ssh/sshd_config.d/01.conf:2");
        check("LoginGraceTime", "60", "/etc/ssh/sshd_config:3");
        check("MaxAuthTries", "6", "sshd's default");
        assert_eq!(found.matched.len(), 1);
        assert_eq!(found.matched[0].0, "User bob");
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("90", Some(90)),
            ("1h30m", Some(5400)),
            ("x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
