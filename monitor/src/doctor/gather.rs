//! Reads the host and asks the kernel.

use super::{
    CpuFlag, Finding, Hint, Hook, Host, Kernel, Options, Probe, Report, Security, Sensors, TierReport,
    TrustState, platform,
};
use crate::{
    chain::chain,
    probe,
    sensor::{Objects, Sensor, SensorOptions},
};
use hardpan_core::platform::{
    Fips, Hardware, HookReport, HookState, Outcome, Probes, Release, SeLinux, Tier, tier, virtualisation,
};
use std::{fs, path::Path, time::Duration};

/// How long the self-test may wait for its events.
const SELF_TEST: Duration = Duration::from_secs(10);

/// Gathers everything. Needs a tokio runtime when the self-test is wanted. Takes a second or two.
pub fn gather(options: &Options) -> Report {
    let root = options.root.as_path();
    let mut hints = Vec::new();
    let mut probes = probe::probe();
    platform::configured(options, &mut probes, &mut hints);
    let decision = tier(&probes);
    let is_root = nix::unistd::Uid::effective().is_root();
    let release = release(root);
    let hardware = Hardware::parse(&text("/proc/cpuinfo".as_ref()).unwrap_or_default(), &probes.arch);
    let sensors = sensors(&probes, options, is_root, &mut hints);
    let trust = trust(options, &mut hints);
    let security = security(root, &probes, &hardware);
    let now = jiff::Zoned::now();
    let support = platform::support(&release, now.date(), &mut hints);
    let known_tier = is_root.then_some(decision.tier);
    let policy = platform::policy(
        options,
        &hardware,
        known_tier,
        now.timestamp().as_second(),
        &mut hints,
    );
    platform::leftovers(options, &mut hints);
    let vulnerabilities = platform::vulnerabilities(&mut hints);
    hint_platform(
        &probes,
        &release,
        decision.tier,
        options.least_tier,
        is_root,
        &mut hints,
    );
    let finding = if !is_root {
        Finding::CouldNotLook
    } else if decision.tier < options.least_tier {
        Finding::BelowTier
    } else {
        Finding::Fine
    };
    Report {
        host: Host {
            vendor: release.vendor.name().to_owned(),
            supported: release.supported_el().is_some(),
            el: release.supported_el(),
            minor: release.minor,
            pretty: release.pretty.clone(),
            hardware_level: hardware.level.to_string(),
            built_for: platform::built_for(root, &probes.kernel_release),
            cpu: hardware.model.clone(),
            cpu_features: hardware
                .features
                .iter()
                .map(|feature| CpuFlag {
                    name: feature.flag.to_owned(),
                    present: feature.present,
                    meaning: feature.meaning.to_owned(),
                })
                .collect(),
        },
        kernel: Kernel {
            release: probes.kernel_release.clone(),
            arch: probes.arch.clone(),
            command_line: text("/proc/cmdline".as_ref()).map(|line| line.trim().to_owned()),
            lsm: probes.lsm_list.clone(),
            lockdown: probes.lockdown.word().to_owned(),
        },
        security,
        support,
        policy,
        vulnerabilities,
        probes: probe_rows(&probes),
        tier: TierReport {
            tier: if is_root {
                decision.tier.name().to_owned()
            } else {
                "unknown".to_owned()
            },
            meaning: if is_root {
                decision.tier.meaning().to_owned()
            } else {
                "probing needs root".to_owned()
            },
            gate_proven: decision.gate_proven,
            wanted: options.least_tier.name().to_owned(),
            why: if is_root {
                decision.why.iter().map(ToString::to_string).collect()
            } else {
                Vec::new()
            },
        },
        sensors,
        trust,
        hints,
        finding,
    }
}

fn probe_rows(probes: &Probes) -> Vec<Probe> {
    probes
        .rows()
        .iter()
        .map(|row| Probe {
            name: row.name.to_owned(),
            title: row.title.to_owned(),
            state: row.outcome.word().to_owned(),
            detail: row.outcome.detail(),
            consequence: if row.outcome.works() {
                String::new()
            } else {
                row.consequence.to_owned()
            },
        })
        .collect()
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn release(root: &Path) -> Release {
    let os_release = text(&root.join("etc/os-release")).or_else(|| text(&root.join("usr/lib/os-release")));
    Release::parse(&os_release.unwrap_or_default())
}

fn security(root: &Path, probes: &Probes, hardware: &Hardware) -> Security {
    let dmi = |name: &str| text(&Path::new("/sys/class/dmi/id").join(name)).unwrap_or_default();
    Security {
        lockdown: probes.lockdown.word().to_owned(),
        selinux: SeLinux::parse(text("/sys/fs/selinux/enforce".as_ref()).as_deref())
            .word()
            .to_owned(),
        fips: Fips::parse(
            text("/proc/sys/crypto/fips_enabled".as_ref()).as_deref(),
            text(&root.join("etc/crypto-policies/state/current")).as_deref(),
            // An image's mounts are not known.
            text("/proc/self/mountinfo".as_ref())
                .filter(|_| root == Path::new("/"))
                .as_deref(),
        )
        .words()
        .to_owned(),
        secure_boot: platform::secure_boot(Path::new("/sys")),
        virtualisation: virtualisation(&dmi("sys_vendor"), &dmi("product_name"), hardware.hypervisor)
            .unwrap_or_else(|| "none seen".to_owned()),
        image_mode: platform::image_mode(root),
        tpm: platform::tpm(Path::new("/sys")),
    }
}

fn sensors(probes: &Probes, options: &Options, is_root: bool, hints: &mut Vec<Hint>) -> Sensors {
    let not_tried = |why: &str| Sensors {
        objects: why.to_owned(),
        error: None,
        hooks: Vec::new(),
    };
    if !options.self_test {
        return not_tried("not loaded (--no-load)");
    }
    if !is_root {
        return not_tried("not loaded: needs root");
    }
    let objects = match Objects::find() {
        Ok(objects) => objects,
        Err(error) => {
            hints.push(Hint::new(
                "no eBPF programs to load",
                "install the hardpan package, or build with `cargo xtask ebpf` and set HARDPAN_BPF_OBJECT",
            ));
            return Sensors {
                objects: "missing".to_owned(),
                error: Some(chain(&error)),
                hooks: Vec::new(),
            };
        }
    };
    match Sensor::start(&objects, probes, &SensorOptions::default()) {
        Err(error) => Sensors {
            objects: objects.origin.clone(),
            error: Some(chain(&error)),
            hooks: Vec::new(),
        },
        Ok(mut sensor) => {
            sensor.self_test(SELF_TEST);
            Sensors {
                objects: objects.origin.clone(),
                error: None,
                hooks: sensor.hooks().iter().map(hook).collect(),
            }
        }
    }
}

fn hook(report: &HookReport) -> Hook {
    let works = matches!(report.state, HookState::Attached | HookState::SelfTested);
    Hook {
        family: report.family.name().to_owned(),
        hook: report.hook.clone(),
        variant: report.variant.clone(),
        state: report.state.word().to_owned(),
        detail: report.state.detail(),
        consequence: if works {
            String::new()
        } else {
            report.consequence.clone()
        },
    }
}

fn trust(options: &Options, hints: &mut Vec<Hint>) -> TrustState {
    use hardpan_rpm::{db::locate, root::Root};
    let located = Root::open(&options.root)
        .map_err(|error| format!("{}: {error}", options.root.display()))
        .and_then(|root| locate(&root, options.dbpath.as_deref()).map_err(|error| chain(&error)));
    match located {
        Ok(found) => TrustState {
            database: Some(found.path.display().to_string()),
            backend: Some(found.backend.name().to_owned()),
            error: None,
        },
        Err(error) => {
            hints.push(Hint::new(
                "no package database: every file is unverified",
                "on an RPM system check /usr/lib/sysimage/rpm and /var/lib/rpm, or name the directory with --dbpath",
            ));
            TrustState {
                database: None,
                backend: None,
                error: Some(error),
            }
        }
    }
}

fn hint_platform(
    probes: &Probes,
    release: &Release,
    tier: Tier,
    least: Tier,
    is_root: bool,
    hints: &mut Vec<Hint>,
) {
    if !is_root {
        hints.push(Hint::new(
            "the kernel was not asked",
            "run `hardpan doctor` as root",
        ));
        return;
    }
    if release.supported_el().is_none() {
        hints.push(Hint::new(
            format!("{} is not Enterprise Linux 8, 9 or 10", release.pretty),
            "Hardpan runs, but policies and audits are made for RHEL, Rocky Linux, AlmaLinux, CentOS Stream and Oracle Linux",
        ));
    }
    if probes.lsm.works() && probes.lsm_fires.failed() {
        let mut list = probes.lsm_list.clone().unwrap_or_default();
        list.push("bpf".to_owned());
        hints.push(Hint::new(
            "BPF LSM programs do not run",
            format!(
                "add bpf to the active LSMs and reboot: grubby --update-kernel=ALL --args=lsm={}",
                list.join(",")
            ),
        ));
    }
    if let Outcome::Refused { errno: 1, .. } = probes.lsm {
        hints.push(Hint::new(
            "the kernel refuses LSM programs (EPERM)",
            "a container, a seccomp filter or the hypervisor's kernel forbids them; Hardpan watches by tracepoints",
        ));
    }
    if tier < least {
        hints.push(Hint::new(
            format!("tier {tier} is below the wanted tier {least}"),
            "fix what is named above, or lower sensor.least_tier in /etc/hardpan/hardpan.toml",
        ));
    }
}
