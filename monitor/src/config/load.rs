//! Reading configuration files.

use super::{Config, DEFAULT_DIR, DEFAULT_FILE, KEYS};
use hardpan_core::syntax::line_of;
use nix::unistd::Uid;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Largest configuration file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why the configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A file that others may change is no configuration of root's daemon.
    #[error("{} is refused: {why}", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// Who may change it.
        why: String,
    },
    /// Not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// There is no such key.
    #[error("{}:{line}: unknown key \"{key}\"", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key, dotted.
        key: String,
        /// A key that looks like it.
        like: Option<&'static str>,
    },
    /// A value that the key does not take.
    #[error("{}:{line}: {key} {must}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key, dotted.
        key: String,
        /// What it takes.
        must: String,
    },
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } | Self::Syntax { .. } | Self::Value { .. } => None,
            Self::Unsafe { path, .. } => {
                Some(format!("chown root:root {0} && chmod go-w {0}", path.display()))
            }
            Self::UnknownKey { like: Some(like), .. } => Some(format!("did you mean \"{like}\"?")),
            Self::UnknownKey { like: None, .. } => {
                Some("`hardpand --print-config` shows every key".to_owned())
            }
        }
    }
}

/// Which files to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// `/etc/hardpan/hardpan.toml` and `/etc/hardpan/conf.d/*.toml`; a missing file is no error.
    Default,
    /// This file and no other.
    File(PathBuf),
}

/// Reads the configuration.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    match sources {
        Sources::File(path) => parse_into(&mut config, path, &read_safely(path)?)?,
        Sources::Default => load_from(&mut config, Path::new(DEFAULT_FILE), Path::new(DEFAULT_DIR))?,
    }
    Ok(config)
}

fn load_from(config: &mut Config, file: &Path, dir: &Path) -> Result<(), ConfigError> {
    let mut files = vec![file.to_owned()];
    let read_dir = |source| ConfigError::Read {
        path: dir.to_owned(),
        source,
    };
    match fs::read_dir(dir) {
        Ok(entries) => {
            let mut additions = Vec::new();
            for entry in entries {
                let path = entry.map_err(read_dir)?.path();
                if path.extension().is_some_and(|extension| extension == "toml") {
                    additions.push(path);
                }
            }
            additions.sort();
            files.append(&mut additions);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(read_dir(error)),
    }
    for path in files {
        match read_safely(&path) {
            Ok(text) => parse_into(config, &path, &text)?,
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a file that nobody but its owner may change, and whose owner is root or the caller.
pub fn read_safely(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let refused = |why: &str| ConfigError::Unsafe {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    // Opening a FIFO must not wait for a writer.
    let file = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(refused("it is not a regular file"));
    }
    if meta.uid() != 0 && meta.uid() != Uid::effective().as_raw() {
        return Err(refused("it does not belong to root"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(refused("its group or everybody may change it"));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 1 MiB",
        )));
    }
    Ok(text)
}

/// Puts the keys of a file's text into the configuration. `path` is for messages.
pub fn parse_into(config: &mut Config, path: &Path, text: &str) -> Result<(), ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: line_of(text, error.span()),
        message: error.message().to_owned(),
    })?;
    walk(config, path, text, "", table.get_ref())
}

fn walk(
    config: &mut Config,
    path: &Path,
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        let inner = format!("{key}.");
        let is_table = KEYS.iter().any(|known| known.name.starts_with(&inner));
        match value.get_ref() {
            DeValue::Table(members) if is_table => walk(config, path, text, &key, members)?,
            _ if is_table => {
                return Err(ConfigError::Value {
                    path: path.to_owned(),
                    line: line_of(text, Some(name.span())),
                    must: format!("must be a table: [{key}]"),
                    key,
                });
            }
            _ => apply(config, path, text, &key, name.span(), value)?,
        }
    }
    Ok(())
}

fn apply(
    config: &mut Config,
    path: &Path,
    text: &str,
    key: &str,
    span: Range<usize>,
    value: &Spanned<DeValue<'_>>,
) -> Result<(), ConfigError> {
    let Some(known) = KEYS.iter().find(|known| known.name == key) else {
        return Err(ConfigError::UnknownKey {
            path: path.to_owned(),
            line: line_of(text, Some(span)),
            key: key.to_owned(),
            like: similar(key),
        });
    };
    (known.set)(config, value.get_ref()).map_err(|must| ConfigError::Value {
        path: path.to_owned(),
        line: line_of(text, Some(value.span())),
        key: key.to_owned(),
        must,
    })
}

/// The known key that differs least, if it differs little: a slip of the finger, or a forgotten table.
fn similar(key: &str) -> Option<&'static str> {
    let last = key.rsplit('.').next().unwrap_or(key);
    KEYS.iter()
        .map(|known| {
            let known_last = known.name.rsplit('.').next().unwrap_or(known.name);
            (
                distance(key, known.name).min(distance(last, known_last).saturating_add(1)),
                known.name,
            )
        })
        .min()
        .filter(|(distance, _)| *distance <= 2.max(last.chars().count() / 3))
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            let here = (diagonal.saturating_add(usize::from(x != *y)))
                .min(left.saturating_add(1))
                .min(above.saturating_add(1));
            diagonal = *above;
            left = here;
            next.push(here);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::{Mode, RecordExec, default_file};
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        parse_into(&mut config, Path::new("/etc/hardpan/hardpan.toml"), text).map(|()| config)
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str, hint: Option<&str>) {
        let error = parse(text).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.hint().as_deref()),
            (expected, hint)
        );
    }

    #[test]
    fn defaults_in_the_table_are_the_defaults() {
        assert_eq!(parse("").unwrap(), Config::default());
        let mut text = String::new();
        for line in default_file().lines() {
            // Uncomment the keys, and only them.
            let key = line
                .strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))
                .unwrap_or(line);
            text.push_str(key);
            text.push('\n');
        }
        assert_eq!(parse(&text).unwrap(), Config::default());
        for key in KEYS {
            let mut config = Config::default();
            let value = DeValue::parse(key.default).unwrap();
            (key.set)(&mut config, value.get_ref()).unwrap();
            assert_eq!(config, Config::default(), "{}", key.name);
        }
    }

    #[test]
    fn values() {
        let config = parse(
            "mode = 'enforce'\n[record]\nexec = 'all'\nheartbeat_s = 0\n[output]\nfile = ''\n\
             [trust]\npins = ['/a', '/b']\nroot = '/mnt'\n",
        )
        .unwrap();
        assert_eq!(config.mode, Mode::Enforce);
        assert_eq!(config.record.exec, Some(RecordExec::All));
        assert_eq!(config.record.heartbeat, Duration::ZERO);
        assert_eq!(config.output.file, None);
        assert_eq!(config.trust.pins.len(), 2);
    }

    #[test]
    fn mistakes_name_file_line_and_remedy() {
        let file = "/etc/hardpan/hardpan.toml";
        check_error(
            "\n[record]\nexce = 'all'\n",
            &format!("{file}:3: unknown key \"record.exce\""),
            Some("did you mean \"record.exec\"?"),
        );
        check_error(
            "exec = 'all'",
            &format!("{file}:1: unknown key \"exec\""),
            Some("did you mean \"record.exec\"?"),
        );
        check_error(
            "[zebra]\nx = 1\n",
            &format!("{file}:1: unknown key \"zebra\""),
            Some("`hardpand --print-config` shows every key"),
        );
        check_error(
            "[record]\n\nexec = 'most'\n",
            &format!("{file}:3: record.exec must be one of \"policy\", \"untrusted\", \"all\""),
            None,
        );
        check_error(
            "[hash]\nthreads = 65\n",
            &format!("{file}:2: hash.threads must be a whole number from 0 to 64"),
            None,
        );
        check_error(
            "[output]\nfile = 'x'\n",
            &format!("{file}:2: output.file must be an absolute path, or \"\""),
            None,
        );
        check_error(
            "record = 5\n",
            &format!("{file}:1: record must be a table: [record]"),
            None,
        );
    }

    #[test]
    fn broken_toml() {
        let error = parse("a = 1\nb = = 2\n").unwrap_err();
        assert!(
            error.to_string().starts_with("/etc/hardpan/hardpan.toml:2: "),
            "{error}"
        );
    }

    #[test]
    fn additions_are_read_in_order_after_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (file, additions) = (dir.path().join("hardpan.toml"), dir.path().join("conf.d"));
        let mut config = Config::default();
        load_from(&mut config, &file, &additions).unwrap();
        assert_eq!(config, Config::default(), "nothing there is no error");
        fs::create_dir(&additions).unwrap();
        fs::write(&file, "[hash]\nthreads = 3\nqueue_files = 7\n").unwrap();
        fs::write(additions.join("20.toml"), "[hash]\nthreads = 5\n").unwrap();
        fs::write(additions.join("10.toml"), "[hash]\nthreads = 4\n").unwrap();
        fs::write(additions.join("ignored.toml.rpmnew"), "nonsense").unwrap();
        load_from(&mut config, &file, &additions).unwrap();
        assert_eq!((config.hash.threads, config.hash.queue_files), (5, 7));
    }

    #[test]
    fn files_that_others_may_change_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hardpan.toml");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
        let error = load(&Sources::File(file.clone())).unwrap_err();
        assert!(matches!(error, ConfigError::Unsafe { .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("chmod go-w")));
        let missing = load(&Sources::File(dir.path().join("none"))).unwrap_err();
        assert!(matches!(missing, ConfigError::Read { .. }));
        let not_a_file = load(&Sources::File(dir.path().to_owned())).unwrap_err();
        assert!(matches!(not_a_file, ConfigError::Unsafe { .. }), "{not_a_file}");
    }
}
