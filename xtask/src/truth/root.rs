//! A made-up Enterprise Linux root, from `tests/audit/root.toml`: files, unit links, and an rpm database that rpm wrote.

use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::sh;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of the two roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As benchmarks ask.
    Good,
    /// The wrong way round.
    Broken,
}

impl Variant {
    /// Its name in folders and tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Broken => "broken",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    packages: Packages,
    units: Units,
    modules: Modules,
    sysctl: Both,
    audit: Audit,
    dir: Vec<Dir>,
    file: Vec<File>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packages {
    both: Vec<String>,
    good: Vec<String>,
    broken: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Units {
    all: Vec<String>,
    good: Vec<String>,
    broken: Vec<String>,
    good_masked: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Modules {
    built: Vec<String>,
    denied: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Both {
    good: String,
    broken: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Audit {
    keys: BTreeMap<String, Vec<String>>,
    programs: Vec<String>,
    watches: Vec<String>,
    lines: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dir {
    paths: Vec<String>,
    good: String,
    broken: String,
    #[serde(default)]
    good_owner: u32,
    #[serde(default)]
    broken_owner: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    text: Option<String>,
    good: Option<String>,
    broken: Option<String>,
    mode: Option<String>,
    good_mode: Option<String>,
    broken_mode: Option<String>,
    #[serde(default)]
    good_owner: u32,
    #[serde(default)]
    broken_owner: u32,
    el: Option<u8>,
}

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Enterprise Linux release.
    pub(crate) el: u8,
    /// Which of the two.
    pub(crate) variant: Variant,
}

impl Plan {
    /// A kernel of that release.
    const fn kernel(self) -> &'static str {
        match self.el {
            8 => "4.18.0-553.1.1.el8_10.x86_64",
            9 => "5.14.0-570.12.1.el9_6.x86_64",
            _ => "6.12.0-55.40.1.el10_0.x86_64",
        }
    }

    fn filled(self, text: &str) -> String {
        text.replace("@EL@", &self.el.to_string())
            .replace("@KERNEL@", self.kernel())
    }

    fn pick<T>(self, good: T, broken: T) -> T {
        match self.variant {
            Variant::Good => good,
            Variant::Broken => broken,
        }
    }
}

/// Puts a root below `root`, which may hold other things already. `work` is for packages under construction.
pub(crate) fn make(places: &Places, root: &Path, work: &Path, plan: Plan) -> Done {
    let source = places.root.join("tests/audit/root.toml");
    let text = place::read(&source)?;
    let description: Description = toml::from_str(&String::from_utf8_lossy(&text)).map_err(|error| {
        TaskError::cannot(
            format!("{}: {error}", source.display()),
            "this is a bug in the file",
        )
    })?;
    for path in ["usr/lib", "etc/modprobe.d", "etc/sysctl.d", "var/lib/rpm"] {
        place::make_dir(&root.join(path))?;
    }
    link("usr/lib", &root.join("lib"))?;
    units(root, &description.units, plan)?;
    modules(root, &description.modules, plan)?;
    let sysctl = plan.pick(&description.sysctl.good, &description.sysctl.broken);
    place::write(&root.join("etc/sysctl.d/60-x.conf"), sysctl.trim_start())?;
    audit(root, &description.audit, plan)?;
    for file in &description.file {
        if file.el.is_none_or(|el| el == plan.el) {
            write(root, file, plan)?;
        }
    }
    for dir in &description.dir {
        for path in &dir.paths {
            let path = root.join(path);
            place::make_dir(&path)?;
            mode(&path, plan.pick(&dir.good, &dir.broken))?;
            owner(&path, plan.pick(dir.good_owner, dir.broken_owner))?;
        }
    }
    packages(root, work, &description.packages, plan)
}

fn units(root: &Path, units: &Units, plan: Plan) -> Done {
    for unit in &units.all {
        place::write(&root.join("usr/lib/systemd/system").join(unit), "[Unit]\n")?;
    }
    let etc = root.join("etc/systemd/system");
    let wants = etc.join("multi-user.target.wants");
    place::make_dir(&wants)?;
    for unit in plan.pick(&units.good, &units.broken) {
        link(&format!("/usr/lib/systemd/system/{unit}"), &wants.join(unit))?;
    }
    if plan.variant == Variant::Good {
        for unit in &units.good_masked {
            link("/dev/null", &etc.join(unit))?;
        }
    }
    link(
        plan.pick(
            "/usr/lib/systemd/system/multi-user.target",
            "/usr/lib/systemd/system/graphical.target",
        ),
        &etc.join("default.target"),
    )
}

fn modules(root: &Path, modules: &Modules, plan: Plan) -> Done {
    let list: Vec<String> = modules.built.iter().map(|path| format!("{path}:\n")).collect();
    let dep = root.join(format!("usr/lib/modules/{}/modules.dep", plan.kernel()));
    place::write(&dep, list.concat())?;
    let denied = match plan.variant {
        Variant::Good => modules
            .denied
            .iter()
            .map(|name| format!("install {name} /bin/false\nblacklist {name}\n"))
            .collect::<Vec<_>>()
            .concat(),
        Variant::Broken => "blacklist usb-storage\n".to_owned(),
    };
    place::write(&root.join("etc/modprobe.d/x.conf"), denied)
}

fn audit(root: &Path, audit: &Audit, plan: Plan) -> Done {
    let dir = root.join("etc/audit/rules.d");
    if plan.variant == Variant::Broken {
        return place::write(
            &dir.join("a.rules"),
            "-w /etc/passwd -p r -k i\n-a always,exit -F arch=b64 -S chmod -F auid>=1000 -F auid!=unset -F key=perm_mod\n",
        );
    }
    let mut rules = String::from("-D\n-b 8192\n-f 2\n--backlog_wait_time 60000\n--loginuid-immutable\n");
    // Writing to a String can't fail.
    for (key, calls) in &audit.keys {
        for call in calls {
            for arch in ["b32", "b64"] {
                let _never = writeln!(
                    rules,
                    "-a always,exit -F arch={arch} -S {call} -F auid>=1000 -F auid!=unset -F key={key}"
                );
            }
        }
    }
    // EL 10's benchmarks write each rule for both architectures, and watches as system call rules.
    let archs: &[&str] = match plan.el {
        10.. => &[" -F arch=b32", " -F arch=b64"],
        _ => &[""],
    };
    for arch in archs {
        for program in &audit.programs {
            let _never = writeln!(
                rules,
                "-a always,exit{arch} -F path={program} -F perm=x -F auid>=1000 -F auid!=unset -k privileged"
            );
        }
        for path in &audit.watches {
            let what = if path.ends_with('/') { "dir" } else { "path" };
            let _never = if arch.is_empty() {
                writeln!(rules, "-w {path} -p wa -k watch")
            } else {
                writeln!(
                    rules,
                    "-a always,exit{arch} -F {what}={path} -F perm=wa -F key=watch"
                )
            };
        }
    }
    rules.push_str(audit.lines.trim_start());
    let path = dir.join("a.rules");
    place::write(&path, rules)?;
    mode(&path, "0600")?;
    let path = dir.join("z.rules");
    place::write(&path, "-e 2\n")?;
    mode(&path, "0600")
}

fn write(root: &Path, file: &File, plan: Plan) -> Done {
    let of_variant = plan.pick(&file.good, &file.broken);
    let Some(text) = of_variant.as_ref().or(file.text.as_ref()) else {
        return Ok(());
    };
    let path = root.join(plan.filled(&file.path));
    place::write(&path, plan.filled(text.strip_prefix('\n').unwrap_or(text)))?;
    let of_variant = plan.pick(&file.good_mode, &file.broken_mode);
    // The owner first: changing it takes set-id bits away.
    owner(&path, plan.pick(file.good_owner, file.broken_owner))?;
    mode(
        &path,
        of_variant
            .as_ref()
            .or(file.mode.as_ref())
            .map_or("0644", String::as_str),
    )
}

fn mode(path: &Path, octal: &str) -> Done {
    let bits = u32::from_str_radix(octal, 8)
        .map_err(|_error| TaskError::cannot(format!("{octal} is no mode"), "see tests/audit/root.toml"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(bits))
        .map_err(TaskError::file("changing the mode of", path))
}

fn owner(path: &Path, uid: u32) -> Done {
    chown(path, Some(uid), Some(uid)).map_err(TaskError::file("changing the owner of", path))
}

fn link(target: &str, path: &Path) -> Done {
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path).map_err(TaskError::file("removing", path))?;
    }
    symlink(target, path).map_err(TaskError::file("linking", path))
}

/// One spec with an empty sub-package for each name: rpm's database is what counts.
fn packages(root: &Path, work: &Path, packages: &Packages, plan: Plan) -> Done {
    let names: Vec<&String> = packages
        .both
        .iter()
        .chain(plan.pick(&packages.good, &packages.broken))
        .collect();
    let mut spec = format!(
        "Name: made-up\nVersion: {el}.6\nRelease: 1.el{el}\nSummary: made up\nLicense: none\nVendor: Red Hat, Inc.\n\
         AutoReqProv: no\n%description\nmade up\n",
        el = plan.el
    );
    for name in &names {
        let _never = write!(
            spec,
            "%package -n {name}\nSummary: made up\nAutoReqProv: no\n%description -n {name}\nmade up\n%files -n {name}\n"
        );
    }
    let spec_file = work.join("made-up.spec");
    place::write(&spec_file, spec)?;
    let define = |name: &str, value: String| ["--define".to_owned(), format!("{name} {value}")];
    sh::quiet(
        Command::new("rpmbuild")
            .args(["-bb", "--quiet", "--target", "x86_64-linux", "--nodebuginfo"])
            .args(define("_topdir", work.display().to_string()))
            .args(define("_rpmdir", work.display().to_string()))
            .args(define("_build_name_fmt", "%%{NAME}.rpm".into()))
            .arg(&spec_file),
    )?;
    let files: Vec<PathBuf> = names
        .iter()
        .map(|name| work.join(format!("{name}.rpm")))
        .collect();
    sh::quiet(
        Command::new("rpm")
            .arg("--root")
            .arg(root)
            .args(["--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite"])
            .args(["--define", "_pkgverify_level none"])
            .args([
                "-i",
                "--replacepkgs",
                "--nodeps",
                "--noscripts",
                "--notriggers",
                "--ignoreos",
                "--ignorearch",
                "--nosignature",
            ])
            .args(&files),
    )
}
