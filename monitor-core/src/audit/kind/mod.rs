//! Kinds of check: the parameters of each, and how it is answered from facts.

pub mod accounts;
pub mod audit_rule;
pub mod boot;
pub mod config;
pub mod crypto;
pub mod dconf;
pub mod file_attr;
pub mod fips;
pub mod fips_modules;
pub mod home;
pub mod interfaces;
pub mod kernel_facts;
pub mod kmod;
pub mod manual;
pub mod migration;
pub mod mount;
pub mod package;
pub mod pam;
pub mod shell;
pub mod sshd;
pub mod sudoers;
pub mod sweep_check;
pub mod sysctl;
pub mod system;

use super::facts::{Ctx, Stop};
use super::outcome::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// What a check looks at, with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// Owner, group, mode, existence of files.
    FileAttr(file_attr::FileAttr),
    /// A kernel parameter, running and configured.
    Sysctl(sysctl::Sysctl),
    /// A kernel module that must not be loadable.
    Kmod(kmod::Kmod),
    /// Packages present or absent.
    Package(package::PackageCheck),
    /// A systemd unit.
    Unit(package::UnitCheck),
    /// A mount point and its options.
    Mount(mount::MountPoint),
    /// Options of a class of file systems.
    MountClass(mount::MountClass),
    /// A keyword of sshd.
    Sshd(sshd::Sshd),
    /// A setting with drop-ins.
    Config(config::Config),
    /// Lines of text files.
    Lines(config::Lines),
    /// Audit rules, on disk and loaded.
    AuditRule(audit_rule::AuditRule),
    /// A module in PAM stacks.
    Pam(pam::Pam),
    /// The authselect profile.
    Authselect(pam::Authselect),
    /// Users, groups, password ages.
    Accounts(accounts::Accounts),
    /// Home directories.
    Home(home::Home),
    /// sudo's policy.
    Sudoers(sudoers::Sudoers),
    /// The system-wide crypto policy.
    CryptoPolicy(crypto::CryptoPolicy),
    /// GNOME settings.
    Dconf(dconf::Dconf),
    /// An argument of the kernel command line.
    BootArg(boot::BootArg),
    /// Protection of the boot menu.
    Bootloader(boot::Bootloader),
    /// SELinux mode.
    Selinux(system::Selinux),
    /// Texts before and after login.
    Banner(system::Banner),
    /// The host firewall.
    Firewall(system::Firewall),
    /// Sockets that may listen on loopback only.
    Listening(system::Listening),
    /// Wireless interfaces.
    Wireless(interfaces::Wireless),
    /// Interfaces that listen to everything.
    Promiscuous(interfaces::Promiscuous),
    /// AIDE.
    Aide(system::Aide),
    /// A file of the kernel that holds one value.
    KernelFile(system::KernelFile),
    /// Where a symbolic link points.
    Link(system::Link),
    /// Shell start-up files.
    Shell(shell::Shell),
    /// A question to the file-system walk.
    Sweep(sweep_check::SweepCheck),
    /// The FIPS report.
    Fips(fips::Fips),
    /// Facts about the kernel.
    KernelFacts(kernel_facts::KernelFacts),
    /// What a move left behind.
    Migration(migration::Migration),
    /// A question for a person.
    Manual(manual::Manual),
    /// All of several.
    All(Several),
    /// Any of several.
    Any(Several),
    /// No check has been written.
    Unimplemented(manual::Unimplemented),
}

/// Several checks under one id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Several {
    /// The parts.
    pub of: Vec<Kind>,
}

impl Kind {
    /// Whether the parameters make sense.
    pub fn validate(&self) -> Result<(), String> {
        match self {
            Self::FileAttr(kind) => kind.validate(),
            Self::Sysctl(kind) => kind.validate(),
            Self::Sshd(kind) => kind.validate(),
            Self::Config(kind) => kind.validate(),
            Self::Lines(kind) => kind.validate(),
            Self::AuditRule(kind) => kind.validate(),
            Self::Pam(kind) => kind.validate(),
            Self::Home(kind) => kind.validate(),
            Self::Sudoers(kind) => kind.validate(),
            Self::Dconf(kind) => kind.validate(),
            Self::BootArg(kind) => kind.validate(),
            Self::KernelFile(kind) => kind.validate(),
            Self::Link(kind) => kind.validate(),
            Self::Shell(kind) => kind.validate(),
            Self::Migration(kind) => kind.validate(),
            Self::All(kinds) | Self::Any(kinds) if kinds.of.is_empty() => Err("no parts".into()),
            Self::All(kinds) | Self::Any(kinds) => kinds.of.iter().try_for_each(Self::validate),
            _ => Ok(()),
        }
    }

    /// Answers from facts.
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        match self {
            Self::FileAttr(kind) => kind.evaluate(ctx),
            Self::Sysctl(kind) => kind.evaluate(ctx),
            Self::Kmod(kind) => kind.evaluate(ctx),
            Self::Package(kind) => kind.evaluate(ctx),
            Self::Unit(kind) => kind.evaluate(ctx),
            Self::Mount(kind) => kind.evaluate(ctx),
            Self::MountClass(kind) => kind.evaluate(ctx),
            Self::Sshd(kind) => kind.evaluate(ctx),
            Self::Config(kind) => kind.evaluate(ctx),
            Self::Lines(kind) => kind.evaluate(ctx),
            Self::AuditRule(kind) => kind.evaluate(ctx),
            Self::Pam(kind) => kind.evaluate(ctx),
            Self::Authselect(kind) => kind.evaluate(ctx),
            Self::Accounts(kind) => kind.evaluate(ctx),
            Self::Home(kind) => kind.evaluate(ctx),
            Self::Sudoers(kind) => kind.evaluate(ctx),
            Self::CryptoPolicy(kind) => kind.evaluate(ctx),
            Self::Dconf(kind) => kind.evaluate(ctx),
            Self::BootArg(kind) => kind.evaluate(ctx),
            Self::Bootloader(kind) => kind.evaluate(ctx),
            Self::Selinux(kind) => kind.evaluate(ctx),
            Self::Banner(kind) => kind.evaluate(ctx),
            Self::Firewall(kind) => kind.evaluate(ctx),
            Self::Listening(kind) => kind.evaluate(ctx),
            Self::Wireless(_) => interfaces::Wireless::evaluate(ctx),
            Self::Promiscuous(_) => interfaces::Promiscuous::evaluate(ctx),
            Self::Aide(kind) => kind.evaluate(ctx),
            Self::KernelFile(kind) => kind.evaluate(ctx),
            Self::Link(kind) => kind.evaluate(ctx),
            Self::Shell(kind) => kind.evaluate(ctx),
            Self::Sweep(kind) => kind.evaluate(ctx),
            Self::Fips(kind) => kind.evaluate(ctx),
            Self::KernelFacts(kind) => kind.evaluate(ctx),
            Self::Migration(kind) => kind.evaluate(ctx),
            Self::Manual(kind) => kind.evaluate(ctx),
            Self::All(kinds) => several(ctx, &kinds.of, Verdict::and),
            Self::Any(kinds) => several(ctx, &kinds.of, Verdict::or),
            Self::Unimplemented(kind) => Ok(Outcome::of(
                Verdict::NotChecked,
                format!("not implemented: {}", kind.why),
            )),
        }
    }

    /// Whether a check has been written.
    pub fn implemented(&self) -> bool {
        !matches!(self, Self::Unimplemented(_))
    }

    /// Whether a person has to answer.
    pub fn manual(&self) -> bool {
        matches!(self, Self::Manual(manual) if !manual.question.is_empty())
    }

    /// Whether answering needs the walk over all local file systems.
    pub fn sweeps(&self) -> bool {
        match self {
            Self::Sweep(_) => true,
            Self::AuditRule(rule) => rule.setid_programs,
            Self::Manual(manual) => manual.setid,
            Self::Home(home) => home.ask == home::HomeQuestion::NoWorldWritableProgram,
            Self::All(kinds) | Self::Any(kinds) => kinds.of.iter().any(Self::sweeps),
            _ => false,
        }
    }
}

fn several(ctx: &Ctx<'_>, kinds: &[Kind], join: fn(Verdict, Verdict) -> Verdict) -> Result<Outcome, Stop> {
    let mut outcomes = Vec::new();
    let mut missing = false;
    for kind in kinds {
        match answer(kind, ctx) {
            Ok(outcome) => outcomes.push(outcome),
            Err(Stop::Missing) => missing = true,
            Err(stop) => return Err(stop),
        }
    }
    if missing {
        return Err(Stop::Missing);
    }
    let result = outcomes
        .iter()
        .map(|outcome| outcome.result)
        .reduce(join)
        .unwrap_or(Verdict::Unknown);
    let reason = outcomes
        .iter()
        .find(|outcome| outcome.result == result)
        .map_or(String::new(), |o| o.reason.clone());
    let configured_only = outcomes.iter().any(|outcome| outcome.configured_only);
    let omitted = outcomes.iter().map(|outcome| outcome.omitted).sum();
    let evidence = outcomes
        .into_iter()
        .flat_map(|outcome| outcome.evidence)
        .collect();
    Ok(Outcome {
        result,
        reason,
        configured_only,
        evidence,
        omitted,
    })
}

/// Answers one kind; what cannot be read is an error, what needs a running system is not checked.
pub(super) fn answer(kind: &Kind, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    match kind.evaluate(ctx) {
        Err(Stop::Offline) => Ok(Outcome::of(
            Verdict::NotChecked,
            "needs the running system; this is an image",
        )),
        Err(Stop::Unreadable { what, why }) => Ok(Outcome::of(Verdict::Error, format!("{what}: {why}"))),
        other => other,
    }
}
