//! Edits of text files that can be taken back, even after somebody else edited the same file.
//!
//! An edit remembers the line it replaced and the line it wrote. Taking it back is three-way: the line as written is
//! put back as it was; a line that somebody changed since keeps their change; everything else in the file is not
//! touched. So apply followed by rollback gives the same bytes.

use super::Host;
use serde::{Deserialize, Serialize};

/// GRUB's environment block has exactly this many bytes.
const GRUBENV_BYTES: usize = 1024;

/// Which line of a file an edit is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "kebab-case")]
pub enum Locator {
    /// A new line at the end.
    End,
    /// A new line before the first one.
    Start,
    /// The line that starts with this.
    Prefix {
        /// What it starts with, indentation aside.
        prefix: String,
    },
    /// The fstab line of this mount point.
    Mount {
        /// The mount point.
        target: String,
    },
}

/// A change of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineEdit {
    /// Which line.
    pub locator: Locator,
    /// The line before, without its end; `None`: there was none.
    pub before: Option<String>,
    /// The line after; `None`: it was taken out.
    pub after: Option<String>,
    /// Words put into the line (arguments, options), when only words of it changed.
    #[serde(default)]
    pub added: Vec<String>,
    /// Words taken out of it.
    #[serde(default)]
    pub removed: Vec<String>,
    /// What separates words: a blank or a comma.
    #[serde(default = "blank")]
    pub separator: char,
}

const fn blank() -> char {
    ' '
}

/// One change of a host. Paths are absolute within the host's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "kebab-case")]
pub enum Edit {
    /// A line of a text file.
    Line {
        /// The file.
        path: String,
        /// The change.
        line: LineEdit,
    },
    /// A symbolic link.
    Link {
        /// The link.
        path: String,
        /// Where it pointed; `None`: there was nothing.
        before: Option<String>,
        /// Where it points.
        after: String,
    },
    /// Mode and owner of a file. The kernel clears capabilities when the owner changes; they are put back.
    Mode {
        /// The file.
        path: String,
        /// Mode, uid, gid before.
        before: (u32, u32, u32),
        /// Mode, uid, gid after.
        after: (u32, u32, u32),
    },
    /// A sysctl's value in the running kernel.
    Runtime {
        /// Its name, with dots.
        name: String,
        /// Its value before.
        before: String,
        /// Its value after.
        after: String,
    },
    /// A setting of the running system that its own tool sets: the tool writes several files at once.
    Tool {
        /// Which.
        tool: Tool,
        /// Before.
        before: String,
        /// After.
        after: String,
    },
}

/// A setting that has a tool of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Tool {
    /// `update-crypto-policies`; values are policies.
    CryptoPolicy,
    /// A feature of authselect's profile; values are [`ENABLED`] and [`DISABLED`].
    Authselect {
        /// The feature.
        feature: String,
    },
    /// firewalld's default zone; values are zones.
    FirewallZone,
}

/// The system-wide crypto policy in words.
pub const CRYPTO_CONFIG: &str = "/etc/crypto-policies/config";
/// firewalld's own settings.
const FIREWALLD_CONF: &str = "/etc/firewalld/firewalld.conf";
/// A feature that is on.
pub const ENABLED: &str = "enabled";
/// A feature that is off.
pub const DISABLED: &str = "disabled";

impl Tool {
    /// The value now; `None` if the tool is not there or manages nothing here.
    pub fn current(&self, host: &dyn Host) -> Option<String> {
        match self {
            Self::CryptoPolicy => {
                // A policy, then sub-policies behind colons or on lines of their own; case and comments do not matter.
                let text = host.read(CRYPTO_CONFIG)?;
                let words: Vec<String> = text
                    .lines()
                    .filter_map(|line| line.split('#').next())
                    .flat_map(|line| line.trim().split(':'))
                    .filter(|word| !word.is_empty())
                    .map(str::to_ascii_uppercase)
                    .collect();
                (!words.is_empty()).then(|| words.join(":"))
            }
            Self::Authselect { feature } => {
                // The profile's name, then one feature a line.
                let text = host.read("/etc/authselect/authselect.conf")?;
                let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                lines.next()?;
                let on = lines.any(|line| line == feature);
                Some(if on { ENABLED } else { DISABLED }.to_owned())
            }
            Self::FirewallZone => {
                let text = host.read(FIREWALLD_CONF)?;
                text.lines()
                    .filter_map(|line| line.trim().strip_prefix("DefaultZone="))
                    .map(|zone| zone.trim().to_owned())
                    .next_back()
            }
        }
    }

    /// Program and arguments that set a value.
    pub fn command(&self, value: &str) -> (&'static str, Vec<String>) {
        let own = str::to_owned;
        match self {
            Self::CryptoPolicy => ("/usr/bin/update-crypto-policies", vec![own("--set"), own(value)]),
            Self::Authselect { feature } => {
                let verb = if value == ENABLED {
                    "enable-feature"
                } else {
                    "disable-feature"
                };
                ("/usr/bin/authselect", vec![own(verb), feature.clone()])
            }
            Self::FirewallZone => (
                "/usr/bin/firewall-cmd",
                vec![format!("--set-default-zone={value}")],
            ),
        }
    }

    /// For a tool that can do nothing while its service does not run: the file that the service reads at its start, and
    /// what the value's line starts with there. The tool puts that file anew and forgets its mode and label.
    pub const fn file(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::FirewallZone => Some((FIREWALLD_CONF, "DefaultZone=")),
            Self::CryptoPolicy | Self::Authselect { .. } => None,
        }
    }

    /// For messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CryptoPolicy => "update-crypto-policies",
            Self::Authselect { .. } => "authselect",
            Self::FirewallZone => "firewalld",
        }
    }
}

impl Edit {
    /// The file or setting, for messages.
    pub fn subject(&self) -> &str {
        match self {
            Self::Line { path, .. } | Self::Link { path, .. } | Self::Mode { path, .. } => path,
            Self::Runtime { name, .. } => name,
            Self::Tool { tool, .. } => tool.name(),
        }
    }
}

/// The comment at the top of files that Hardpan creates.
pub const HEADER: &str = "# Written by `hardpan harden apply`; taken back by `hardpan harden rollback`.\n";

/// Makes an edit in a file's text. `None` for a file that is not there. The error says what stands in the way.
pub fn apply(path: &str, text: Option<&str>, edit: &LineEdit) -> Result<String, String> {
    let created = text.is_none();
    let empty = if comments_allowed(path) { HEADER } else { "" };
    let text = text.unwrap_or(empty);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    match (&edit.locator, &edit.before, &edit.after) {
        (Locator::Start, None, Some(after)) => {
            // In a file of our own, the header stays first.
            let at = usize::from(created && !lines.is_empty());
            lines.insert(at, format!("{after}\n"));
        }
        (_, None, Some(after)) => {
            if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
                last.push('\n');
            }
            lines.push(format!("{after}\n"));
        }
        (_, Some(before), Some(after)) => {
            let line = lines
                .iter_mut()
                .find(|line| line.trim_end_matches('\n') == before);
            let Some(line) = line else {
                return Err(format!("the line {before:?} is no longer there"));
            };
            let end = if line.ends_with('\n') { "\n" } else { "" };
            *line = format!("{after}{end}");
        }
        _ => return Err("the edit has nothing to write".to_owned()),
    }
    finish(path, lines.concat())
}

/// What taking an edit back came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reverted {
    /// The file's new text.
    Text(String),
    /// Nothing of others is left in a file that the edit created: it goes.
    Remove,
    /// The edit is gone already; the file stays as it is.
    Gone,
    /// Somebody changed it since: their change stays, and this is what was found.
    Kept(String),
}

/// Takes an edit back out of a file's present text.
pub fn revert(
    path: &str,
    text: Option<&str>,
    edit: &LineEdit,
    created: bool,
    joined: bool,
) -> Result<Reverted, String> {
    let Some(text) = text else {
        return Ok(Reverted::Gone);
    };
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let Some(after) = &edit.after else {
        return Err("the journal's edit wrote nothing".to_owned());
    };
    let is_ours = |line: &String| line.trim_end_matches('\n') == after;
    // The same line may also be somebody else's: ours is the one at the end it was put to.
    let exact = match edit.locator {
        Locator::Start => lines.iter().position(is_ours),
        _ => lines.iter().rposition(is_ours),
    };
    let Some(at) = exact else {
        return revert_words(path, lines, edit);
    };
    let was_last = at + 1 == lines.len();
    match &edit.before {
        None => {
            lines.remove(at);
            // The newline that joined our line to a file that ended without one.
            if let (true, true, Some(last)) = (joined, was_last, lines.last_mut())
                && last.ends_with('\n')
            {
                last.pop();
            }
        }
        Some(before) => {
            if let Some(line) = lines.get_mut(at) {
                let end = if line.ends_with('\n') { "\n" } else { "" };
                *line = format!("{before}{end}");
            }
        }
    }
    let text = lines.concat();
    if created && (text == HEADER || text.is_empty()) {
        return Ok(Reverted::Remove);
    }
    finish(path, text).map(Reverted::Text)
}

/// The line was changed by somebody: take our words out of it, leave theirs.
fn revert_words(path: &str, mut lines: Vec<String>, edit: &LineEdit) -> Result<Reverted, String> {
    let found = lines.iter_mut().find(|line| matches(&edit.locator, line));
    let Some(line) = found else {
        return Ok(Reverted::Gone);
    };
    // A crash before the edit was made, or after it was taken back.
    if edit.before.as_deref() == Some(line.trim_end_matches('\n')) {
        return Ok(Reverted::Gone);
    }
    if edit.added.is_empty() && edit.removed.is_empty() {
        return Ok(Reverted::Kept(line.trim_end().to_owned()));
    }
    let original = line.clone();
    for word in &edit.added {
        *line = without_word(line, word, edit.separator, &edit.locator);
    }
    let ours_were_there = *line != original;
    if !ours_were_there && !edit.added.is_empty() {
        return Ok(Reverted::Kept(original.trim_end().to_owned()));
    }
    for word in &edit.removed {
        let name = word.split('=').next().unwrap_or(word);
        // Somebody gave the argument a value of their own: theirs stays.
        if !words(line, edit.separator, &edit.locator).any(|other| other.split('=').next() == Some(name)) {
            *line = with_word(line, word, edit.separator, &edit.locator);
        }
    }
    finish(path, lines.concat()).map(Reverted::Text)
}

/// Whether a line is the one a locator means.
pub fn matches(locator: &Locator, line: &str) -> bool {
    match locator {
        Locator::End | Locator::Start => false,
        Locator::Prefix { prefix } => line.trim_start().starts_with(prefix.as_str()),
        Locator::Mount { target } => {
            let mut fields = line.split_whitespace();
            let device = fields.next().unwrap_or_default();
            !device.starts_with('#') && fields.next() == Some(target)
        }
    }
}

/// The part of a line that holds words, as byte range.
fn region(line: &str, locator: &Locator) -> std::ops::Range<usize> {
    let content = line.trim_end_matches('\n');
    match locator {
        Locator::Prefix { prefix } => {
            let start = line.find(prefix.as_str()).map_or(0, |at| at + prefix.len());
            // GRUB_CMDLINE_LINUX="…": the words stand within the quotes.
            let quoted = content
                .get(start..)
                .is_some_and(|rest| rest.starts_with('"') && rest.len() > 1 && rest.ends_with('"'));
            if quoted {
                start + 1..content.len() - 1
            } else {
                start..content.len()
            }
        }
        Locator::Mount { .. } => {
            let mut at = 0;
            for n in 0..4 {
                let rest = content.get(at..).unwrap_or_default();
                let start = at + (rest.len() - rest.trim_start().len());
                let length = content.get(start..).unwrap_or_default().find(char::is_whitespace);
                let end = length.map_or(content.len(), |length| start + length);
                if n == 3 {
                    return start..end;
                }
                at = end;
            }
            content.len()..content.len()
        }
        Locator::End | Locator::Start => 0..content.len(),
    }
}

/// The words of a line.
pub fn words<'l>(line: &'l str, separator: char, locator: &Locator) -> impl Iterator<Item = &'l str> {
    line.get(region(line, locator))
        .unwrap_or_default()
        .split(separator)
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// The line with one more word at the end of its words.
pub fn with_word(line: &str, word: &str, separator: char, locator: &Locator) -> String {
    let region = region(line, locator);
    let (before, rest) = line.split_at_checked(region.end).unwrap_or((line, ""));
    let old = line.get(region).unwrap_or_default();
    let gap = if old.trim().is_empty() || old.ends_with(separator) {
        String::new()
    } else {
        separator.to_string()
    };
    format!("{before}{gap}{word}{rest}")
}

/// The line without a word, wherever among its words it stands.
pub fn without_word(line: &str, word: &str, separator: char, locator: &Locator) -> String {
    let region = region(line, locator);
    let old = line.get(region.clone()).unwrap_or_default();
    let kept: Vec<&str> = old.split(separator).collect();
    let Some(at) = kept.iter().position(|other| other.trim() == word) else {
        return line.to_owned();
    };
    let kept: Vec<&str> = kept
        .iter()
        .enumerate()
        .filter(|(n, _)| *n != at)
        .map(|(_, word)| *word)
        .collect();
    let new = kept.join(&separator.to_string());
    let start = line.get(..region.start).unwrap_or_default();
    let end = line.get(region.end..).unwrap_or_default();
    format!("{start}{new}{end}")
}

/// Formats in which a comment line would be an error.
fn comments_allowed(path: &str) -> bool {
    !path.ends_with("/cmdline") && !path.ends_with("/grubenv")
}

/// GRUB's environment block keeps its size, filled with `#`.
fn finish(path: &str, text: String) -> Result<String, String> {
    if !path.ends_with("/grubenv") {
        return Ok(text);
    }
    let content = text.trim_end_matches('#');
    if content.len() > GRUBENV_BYTES {
        return Err(format!(
            "GRUB's environment block has {GRUBENV_BYTES} bytes; {} would be needed",
            content.len()
        ));
    }
    Ok(format!("{content}{}", "#".repeat(GRUBENV_BYTES - content.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(after: &str) -> LineEdit {
        LineEdit {
            locator: Locator::End,
            before: None,
            after: Some(after.to_owned()),
            added: Vec::new(),
            removed: Vec::new(),
            separator: ' ',
        }
    }

    fn options(before: &str, word: &str) -> LineEdit {
        let locator = Locator::Prefix {
            prefix: "options ".to_owned(),
        };
        let after = with_word(before, word, ' ', &locator);
        LineEdit {
            locator,
            before: Some(before.to_owned()),
            after: Some(after),
            added: vec![word.to_owned()],
            removed: Vec::new(),
            separator: ' ',
        }
    }

    #[test]
    fn apply_and_revert_give_the_same_bytes() {
        for text in ["", "a = 1\n", "a = 1", "# only\n\n\n", "x\r\ny\n"] {
            let edit = end("b = 2");
            let applied = apply("/etc/x.conf", Some(text), &edit).expect("applied");
            assert!(applied.ends_with("b = 2\n"));
            let joined = !text.is_empty() && !text.ends_with('\n');
            let reverted = revert("/etc/x.conf", Some(&applied), &edit, false, joined);
            assert_eq!(reverted, Ok(Reverted::Text(text.to_owned())), "{text:?}");
        }
        let edit = end("b = 2");
        let created = apply("/etc/x.conf", None, &edit).expect("applied");
        assert_eq!(
            revert("/etc/x.conf", Some(&created), &edit, true, false),
            Ok(Reverted::Remove)
        );
    }

    #[test]
    fn later_edits_of_others_stay() {
        let edit = end("b = 2");
        let theirs = "a = 1\nb = 2\nc = 3\n";
        assert_eq!(
            revert("/f", Some(theirs), &edit, false, false),
            Ok(Reverted::Text("a = 1\nc = 3\n".to_owned()))
        );
        let own = format!("{HEADER}b = 2\n# theirs\n");
        assert_eq!(
            revert("/f", Some(&own), &edit, true, false),
            Ok(Reverted::Text(format!("{HEADER}# theirs\n")))
        );
        let prefixed = LineEdit {
            locator: Locator::Prefix {
                prefix: "b =".to_owned(),
            },
            ..end("b = 2")
        };
        assert_eq!(
            revert("/f", Some("a\nb = 7\n"), &prefixed, false, false),
            Ok(Reverted::Kept("b = 7".to_owned()))
        );
        assert_eq!(
            revert("/f", Some("a\n"), &prefixed, false, false),
            Ok(Reverted::Gone)
        );
        assert_eq!(revert("/f", None, &prefixed, false, false), Ok(Reverted::Gone));
    }

    #[test]
    fn words_come_and_go_within_a_line() {
        let before = "options root=UUID=1 ro  quiet $tuned_params";
        let text = format!("title x\n{before}\n");
        let first = options(before, "init_on_alloc=1");
        let one = apply("/boot/loader/entries/a.conf", Some(&text), &first).expect("applied");
        let second = options(first.after.as_deref().expect("after"), "slab_nomerge");
        let two = apply("/e", Some(&one), &second).expect("applied");
        assert!(two.contains("$tuned_params init_on_alloc=1 slab_nomerge\n"));
        // Undone in reverse order: the bytes of before.
        let Ok(Reverted::Text(back)) = revert("/e", Some(&two), &second, false, false) else {
            panic!("text")
        };
        assert_eq!(
            revert("/e", Some(&back), &first, false, false),
            Ok(Reverted::Text(text))
        );
        // Somebody added a word in between: only ours goes.
        let theirs = two.replace("quiet", "quiet console=ttyS0");
        let Ok(Reverted::Text(back)) = revert("/e", Some(&theirs), &second, false, false) else {
            panic!("text")
        };
        assert!(
            back.contains("console=ttyS0 $tuned_params init_on_alloc=1\n"),
            "{back}"
        );
        // Somebody gave our argument another value: theirs stays.
        let theirs = two.replace("init_on_alloc=1", "init_on_alloc=0");
        assert!(matches!(
            revert("/e", Some(&theirs), &first, false, false),
            Ok(Reverted::Kept(_))
        ));
    }

    #[test]
    fn fstab_options_and_quoted_arguments() {
        let mount = Locator::Mount {
            target: "/tmp".to_owned(),
        };
        let line = "tmpfs\t/tmp  tmpfs   size=1G,mode=1777\t0 0\n";
        assert!(matches(&mount, line));
        assert_eq!(
            with_word(line, "nodev", ',', &mount),
            "tmpfs\t/tmp  tmpfs   size=1G,mode=1777,nodev\t0 0\n"
        );
        assert_eq!(
            without_word(line, "size=1G", ',', &mount),
            "tmpfs\t/tmp  tmpfs   mode=1777\t0 0\n"
        );
        let grub = Locator::Prefix {
            prefix: "GRUB_CMDLINE_LINUX=".to_owned(),
        };
        assert_eq!(
            with_word("GRUB_CMDLINE_LINUX=\"a b\"", "c=1", ' ', &grub),
            "GRUB_CMDLINE_LINUX=\"a b c=1\""
        );
        assert_eq!(
            with_word("GRUB_CMDLINE_LINUX=\"\"", "c=1", ' ', &grub),
            "GRUB_CMDLINE_LINUX=\"c=1\""
        );
        assert!(words("GRUB_CMDLINE_LINUX=\"a b\"", ' ', &grub).eq(["a", "b"]));
    }

    #[test]
    fn the_grub_environment_keeps_its_size() {
        let content = "# GRUB Environment Block\nkernelopts=root=/dev/x ro\n";
        let block = format!("{content}{}", "#".repeat(1024 - content.len()));
        let locator = Locator::Prefix {
            prefix: "kernelopts=".to_owned(),
        };
        let before = "kernelopts=root=/dev/x ro".to_owned();
        let after = with_word(&before, "audit=1", ' ', &locator);
        let edit = LineEdit {
            locator,
            before: Some(before),
            after: Some(after),
            added: vec!["audit=1".to_owned()],
            removed: vec![],
            separator: ' ',
        };
        let new = apply("/boot/grub2/grubenv", Some(&block), &edit).expect("applied");
        assert_eq!(new.len(), 1024);
        assert!(new.contains("ro audit=1\n"));
        assert_eq!(
            revert("/boot/grub2/grubenv", Some(&new), &edit, false, false),
            Ok(Reverted::Text(block))
        );
    }
}
