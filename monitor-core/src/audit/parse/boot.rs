//! Kernel command lines and boot entries.

/// Splits a kernel command line into arguments; quotes keep spaces together.
pub fn arguments(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut current = String::new();
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !current.is_empty() {
                    found.push(std::mem::take(&mut current));
                }
            }
            c => current.push(c),
        }
    }
    if !current.is_empty() {
        found.push(current);
    }
    found
}

/// The value of an argument: the last one wins; a bare word has an empty value.
pub fn value<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    arguments
        .iter()
        .rev()
        .find_map(|argument| match argument.split_once('=') {
            Some((key, value)) if key == name => Some(value),
            None if argument == name => Some(""),
            _ => None,
        })
}

/// The `options` of a Boot Loader Specification entry, with `$kernelopts` and `$tuned_params` resolved from grubenv.
pub fn bls_options(entry: &str, grubenv: &str) -> String {
    let mut options = String::new();
    for line in entry.lines() {
        if let Some(rest) = line.trim().strip_prefix("options")
            && rest.starts_with(char::is_whitespace)
        {
            options.push(' ');
            options.push_str(rest.trim());
        }
    }
    for name in ["kernelopts", "tuned_params"] {
        let value = grubenv
            .lines()
            .find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')))
            .unwrap_or_default();
        options = options.replace(&format!("${name}"), value);
    }
    options.trim().to_owned()
}

/// The `kargs` lists of bootc's kargs.d files: every quoted string of the array.
pub fn kargs(text: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(default)]
        kargs: Vec<String>,
    }
    toml::from_str::<File>(text)
        .map(|file| file.kargs)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let line = arguments("ro audit=0 dyndbg=\"file a.c +p\" audit=1 quiet");
        assert_eq!(value(&line, "audit"), Some("1"));
        assert_eq!(value(&line, "quiet"), Some(""));
        assert_eq!(value(&line, "dyndbg"), Some("file a.c +p"));
        assert_eq!(value(&line, "aud"), None);
    }

    #[test]
    fn entries() {
        let entry = "title x\noptions $kernelopts $tuned_params debug\n";
        assert_eq!(
            bls_options(entry, "saved_entry=a\nkernelopts=root=/dev/sda1 audit=1 \n"),
            "root=/dev/sda1 audit=1   debug"
        );
        assert_eq!(kargs("kargs = [\"fips=1\"]\n"), ["fips=1"]);
    }
}
