//! Kernel modules that must not be loadable.

use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::Outcome;
use super::super::parse::keyvalue::plain_lines;
use serde::{Deserialize, Serialize};

/// A kernel module that must not be loadable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kmod {
    /// Module name; `-` and `_` are the same.
    pub module: String,
}

/// Directories of modprobe.d, the stronger last.
const DIRS: [&str; 4] = [
    "/usr/lib/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/run/modprobe.d",
    "/etc/modprobe.d",
];

impl Kmod {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let name = canonical(&self.module);
        let mut outcome = Outcome::start();
        if ctx.facts.live {
            ctx.prefetch([Want::Text("/proc/modules".into())]);
        }
        ctx.prefetch(DIRS.map(|dir| Want::Dir(dir.to_owned())));
        let built = Self::built(ctx, &name)?;
        let loaded = match ctx.text("/proc/modules") {
            Ok(text) => {
                let text = text.unwrap_or_default();
                text.lines()
                    .any(|line| line.split(' ').next().is_some_and(|m| canonical(m) == name))
            }
            Err(Stop::Offline) => {
                outcome = outcome.configured();
                false
            }
            Err(stop) => return Err(stop),
        };
        if loaded {
            outcome.expect(false, "/proc/modules", format!("{name} not loaded"), "loaded");
        }
        match built {
            Built::No(place) => {
                outcome.note(place, "no such module");
                return Ok(outcome.because(format!(
                    "{name} is not built for (or not installed with) this kernel"
                )));
            }
            Built::In(place) => {
                outcome.expect(
                    false,
                    place,
                    "a module that can be denied",
                    "built into the kernel",
                );
                return Ok(outcome);
            }
            Built::Module(place) => outcome.note(place, "built as a module"),
            Built::NoKernel => outcome.note("/lib/modules", "no kernel is installed here"),
        }
        let (install, blacklist) = denied(ctx, &name)?;
        let shown = |found: &Option<String>| found.clone().unwrap_or_else(|| "no such line".to_owned());
        outcome.expect(
            install.is_some(),
            "modprobe.d",
            format!("install {name} /bin/false"),
            shown(&install),
        );
        outcome.expect(
            blacklist.is_some(),
            "modprobe.d",
            format!("blacklist {name}"),
            shown(&blacklist),
        );
        Ok(outcome.because(format!("{name} is denied and not loaded")))
    }

    fn built(ctx: &Ctx<'_>, name: &str) -> Result<Built, Stop> {
        let kernels: Vec<String> = if ctx.facts.host.kernel.is_empty() {
            ctx.dir("/lib/modules")?.unwrap_or_default().to_vec()
        } else {
            vec![ctx.facts.host.kernel.clone()]
        };
        let file = |kernel: &String, file: &str| format!("/lib/modules/{kernel}/{file}");
        ctx.prefetch(kernels.iter().flat_map(|kernel| {
            ["modules.dep", "modules.builtin"].map(|name| Want::Text(file(kernel, name)))
        }));
        let mut place = None;
        for kernel in &kernels {
            let path = file(kernel, "modules.builtin");
            if ctx.text(&path)?.is_some_and(|text| lists(text, name)) {
                return Ok(Built::In(path));
            }
            let path = file(kernel, "modules.dep");
            if let Some(text) = ctx.text(&path)? {
                if lists(text, name) {
                    return Ok(Built::Module(path));
                }
                place = Some(path);
            }
        }
        Ok(place.map_or(Built::NoKernel, Built::No))
    }
}

enum Built {
    Module(String),
    In(String),
    No(String),
    NoKernel,
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether modules.dep or modules.builtin lists the module.
fn lists(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let path = line.split(':').next().unwrap_or(line);
        let file = path.rsplit('/').next().unwrap_or(path);
        file.split(".ko")
            .next()
            .is_some_and(|module| canonical(module) == name)
    })
}

/// Where modprobe.d makes loading the module fail, and where it stops loading by alias.
fn denied(ctx: &Ctx<'_>, name: &str) -> Result<(Option<String>, Option<String>), Stop> {
    let (mut install, mut blacklist) = (None, None);
    for (path, text) in ctx.dropins(&DIRS, ".conf")? {
        for (number, line) in plain_lines(text) {
            let mut words = line.split_whitespace();
            let (Some(command), Some(module)) = (words.next(), words.next()) else {
                continue;
            };
            if canonical(module) != name {
                continue;
            }
            let place = format!("{path}:{number}: {line}");
            match command {
                "install" if words.next().is_some_and(does_nothing) => install = Some(place),
                "blacklist" => blacklist = Some(place),
                _ => {}
            }
        }
    }
    Ok((install, blacklist))
}

fn does_nothing(command: &str) -> bool {
    matches!(
        command,
        "/bin/true" | "/bin/false" | "/usr/bin/true" | "/usr/bin/false"
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Fail, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(dep: &str, modprobe: &str, loaded: Option<&str>, expected: Verdict) {
        let mut facts = tree(&[
            ("/lib/modules/5.14/modules.dep", dep),
            ("/etc/modprobe.d/x.conf", modprobe),
        ]);
        if let Some(loaded) = loaded {
            facts.live = true;
            facts.host.kernel = "5.14".into();
            facts
                .texts
                .insert("/proc/modules".into(), Ok(Some(loaded.into())));
        }
        let outcome = outcome_of("kind = \"kmod\"\nmodule = \"usb-storage\"", &facts);
        assert_eq!(outcome.result, expected, "{outcome:?}");
    }

    #[test]
    fn not_built_denied_loaded() {
        let dep = "kernel/drivers/usb/storage/usb-storage.ko.xz: kernel/x.ko.xz\n";
        let deny = "install usb_storage /usr/bin/false\nblacklist usb-storage\n";
        check("kernel/fs/x.ko:\n", "", None, Pass);
        check(dep, deny, None, Pass);
        check(dep, deny, Some("usb_storage 1 0 - Live 0x0\n"), Fail);
        check(
            "kernel/fs/x.ko:\n",
            "",
            Some("usb_storage 1 0 - Live 0x0\n"),
            Fail,
        );
        check(dep, "blacklist usb-storage\n", None, Fail);
        check(
            dep,
            "install usb-storage /sbin/modprobe x\nblacklist usb-storage\n",
            None,
            Fail,
        );
        check(dep, "", Some(""), Fail);
    }
}
