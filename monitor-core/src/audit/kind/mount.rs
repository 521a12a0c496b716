//! Separate file systems and mount options.

use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::Outcome;
use super::super::parse::mounts::{Mount, at, fstab, mountinfo};
use serde::{Deserialize, Serialize};

/// A directory that must be a file system of its own, with options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountPoint {
    /// The directory.
    pub path: String,
    /// Options it must be mounted with; without any, that it is a mount point is the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

struct Tables {
    fstab: Vec<Mount>,
    running: Option<Vec<Mount>>,
}

fn tables(ctx: &Ctx<'_>) -> Result<Tables, Stop> {
    if ctx.facts.live {
        ctx.prefetch([Want::Text("/proc/self/mountinfo".into())]);
    }
    let table = ctx.text("/etc/fstab")?.map(fstab).unwrap_or_default();
    let running = match ctx.text("/proc/self/mountinfo") {
        Ok(Some(text)) => Some(mountinfo(text)),
        Ok(None) => {
            return Err(Stop::unreadable(
                "/proc/self/mountinfo",
                "no such file; is /proc mounted?",
            ));
        }
        Err(Stop::Offline) => None,
        Err(stop) => return Err(stop),
    };
    Ok(Tables {
        fstab: table,
        running,
    })
}

impl MountPoint {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        if self.path == "/tmp" {
            ctx.prefetch([Want::Unit("tmp.mount".into())]);
        }
        let tables = tables(ctx)?;
        let listed = at(&tables.fstab, &self.path);
        let running = tables.running.as_deref().map(|mounts| at(mounts, &self.path));
        // systemd mounts /dev/shm itself, and /tmp where tmp.mount is enabled.
        let by_systemd = match self.path.as_str() {
            "/dev/shm" => true,
            "/tmp" => !ctx.unit("tmp.mount")?.enabled_by.is_empty(),
            _ => false,
        };
        let mut outcome = Outcome::start();
        if self.options.is_empty() {
            let fstab_says = listed.map_or("not listed", |_| "listed");
            if let Some(mount) = running {
                let found = mount.map_or_else(
                    || "not a mount point".to_owned(),
                    |m| format!("{} ({})", m.fs, m.source),
                );
                outcome.expect(
                    mount.is_some(),
                    format!("mountinfo: {}", self.path),
                    "a mount point",
                    found,
                );
                outcome.note(format!("/etc/fstab: {}", self.path), fstab_says);
            } else {
                let ok = listed.is_some() || by_systemd;
                outcome.expect(ok, format!("/etc/fstab: {}", self.path), "listed", fstab_says);
                outcome = outcome.configured();
            }
            return Ok(outcome.because("is a file system of its own"));
        }
        let mounted = running.map_or_else(|| listed.is_some() || by_systemd, |mount| mount.is_some());
        if !mounted {
            return Ok(Outcome::not_applicable(format!(
                "{} is not a file system of its own",
                self.path
            )));
        }
        for option in &self.options {
            if let Some(mount) = running.flatten() {
                let found = mount.options.join(",");
                outcome.expect(
                    mount.has(option),
                    format!("mountinfo: {}", self.path),
                    option,
                    found,
                );
            }
            if let Some(mount) = listed {
                let place = format!("/etc/fstab:{}", mount.line);
                outcome.expect(mount.has(option), place, option, mount.options.join(","));
            } else if running.is_none() {
                self.systemd_default(ctx, option, &mut outcome)?;
            }
        }
        if running.is_none() {
            outcome = outcome.configured();
        }
        Ok(outcome.because(format!("mounted with {}", self.options.join(","))))
    }

    /// Options systemd gives to its own mounts when fstab says nothing.
    fn systemd_default(&self, ctx: &Ctx<'_>, option: &str, outcome: &mut Outcome) -> Result<(), Stop> {
        if self.path == "/tmp" {
            let unit = ctx.unit("tmp.mount")?.file.clone().unwrap_or_default();
            let text = ctx.text(&unit)?.unwrap_or_default();
            let options = text
                .lines()
                .find_map(|line| line.trim().strip_prefix("Options="))
                .unwrap_or_default();
            outcome.expect(options.split(',').any(|o| o == option), unit, option, options);
        } else {
            let options = ["nosuid", "nodev"];
            outcome.expect(
                options.contains(&option),
                "systemd's default for /dev/shm",
                option,
                options.join(","),
            );
        }
        Ok(())
    }
}

/// Options for every file system of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountClass {
    /// Which file systems.
    pub class: Class,
    /// Options each must have.
    pub options: Vec<String>,
}

/// A class of file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// On a local disk, but not the root.
    LocalNonRoot,
    /// On another host.
    Remote,
    /// On removable media (as fstab names them).
    Removable,
}

impl MountClass {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let tables = tables(ctx)?;
        let mut outcome = Outcome::start();
        let mut count = 0;
        let running = tables.running.as_deref().unwrap_or_default();
        let all = tables
            .fstab
            .iter()
            .map(|m| ("/etc/fstab", m))
            .chain(running.iter().map(|m| ("mountinfo", m)));
        for (file, mount) in all.filter(|(_, mount)| self.covers(mount)) {
            count += 1;
            for option in &self.options {
                let ok = mount.options.iter().any(|set| set == option);
                let place = format!("{file}:{} {}", mount.line, mount.target);
                outcome.expect(ok, place, option, mount.options.join(","));
            }
        }
        if count == 0 {
            return Ok(Outcome::not_applicable("no such file system"));
        }
        if tables.running.is_none() {
            outcome = outcome.configured();
        }
        Ok(outcome.because(format!("{count} looked at")))
    }

    fn covers(&self, mount: &Mount) -> bool {
        let disk = mount.source.starts_with("/dev/")
            || mount.source.starts_with("UUID=")
            || mount.source.starts_with("LABEL=")
            || mount.source.starts_with("PARTUUID=");
        match self.class {
            Class::LocalNonRoot => {
                disk && mount.target.starts_with('/') && mount.target != "/" && mount.fs != "swap"
            }
            Class::Remote => mount.remote(),
            Class::Removable => {
                let dirs = ["/media/", "/run/media/", "/mnt/cdrom", "/mnt/usb"];
                mount.fs == "iso9660"
                    || mount.fs == "udf"
                    || mount.source.starts_with("/dev/sr")
                    || mount.source.starts_with("/dev/cdrom")
                    || dirs.iter().any(|dir| mount.target.starts_with(dir))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Fail, NotApplicable, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(toml: &str, fstab: &str, info: Option<&str>, expected: Verdict) {
        let mut facts = tree(&[("/etc/fstab", fstab)]);
        if let Some(info) = info {
            facts.live = true;
            facts
                .texts
                .insert("/proc/self/mountinfo".into(), Ok(Some(info.into())));
        }
        let outcome = outcome_of(toml, &facts);
        assert_eq!(outcome.result, expected, "{toml}\n{outcome:?}");
    }

    #[test]
    fn points_and_options() {
        let point = "kind = \"mount\"\npath = \"/home\"";
        let nodev = "kind = \"mount\"\npath = \"/home\"\noptions = [\"nodev\"]";
        let line = "/dev/sda3 /home xfs defaults,nodev 0 0\n";
        let info = "30 1 8:3 / /home rw,nodev - xfs /dev/sda3 rw\n";
        check(point, line, None, Pass);
        check(point, "", None, Fail);
        check(point, "", Some(info), Pass);
        check(nodev, line, Some(info), Pass);
        check(nodev, "", None, NotApplicable);
        check(nodev, "/dev/sda3 /home xfs defaults 0 0\n", Some(info), Fail);
        check(
            nodev,
            line,
            Some("30 1 8:3 / /home rw - xfs /dev/sda3 rw\n"),
            Fail,
        );
        check(
            "kind = \"mount\"\npath = \"/dev/shm\"\noptions = [\"noexec\"]",
            "",
            None,
            Fail,
        );
        check(
            "kind = \"mount\"\npath = \"/dev/shm\"\noptions = [\"nodev\"]",
            "",
            None,
            Pass,
        );
    }

    #[test]
    fn classes() {
        let nfs = "kind = \"mount_class\"\nclass = \"remote\"\noptions = [\"nosuid\"]";
        check(nfs, "", None, NotApplicable);
        check(nfs, "a:/b /c nfs4 rw,nosuid 0 0\n", None, Pass);
        check(nfs, "a:/b /c nfs4 rw 0 0\n", None, Fail);
    }
}
