//! Shell hints for kinds whose remedy follows from their parameters.

use super::kind::Kind;
use super::kind::accounts::AccountQuestion;
use super::kind::fips::FipsQuestion;
use super::kind::home::HomeQuestion;
use super::kind::package::{Presence, UnitWanted};
use super::kind::shell::ShellQuestion;

/// How hints begin that name an item of `hardpan harden`.
pub(super) const HARDEN: &str = "hardpan harden plan";

/// A hint, or nothing where there is nothing to put right (facts, questions).
pub(super) fn hint(kind: &Kind) -> String {
    match kind {
        Kind::Sysctl(sysctl) => format!("{HARDEN} (sysctl {})", sysctl.key),
        Kind::Kmod(kmod) => format!("{HARDEN} (modprobe {})", kmod.module),
        Kind::BootArg(arg) => format!("{HARDEN} (kernel command line {})", arg.arg),
        Kind::CryptoPolicy(_) => format!("{HARDEN} (crypto policy)"),
        Kind::All(several) => joined(several.of.iter().map(hint), "; "),
        Kind::Any(several) => joined(several.of.iter().map(hint), ", or: "),
        Kind::FileAttr(file) => {
            let target = file.paths.join(" ");
            let mut steps = Vec::new();
            if file.exists == Some(false) {
                steps.push(format!("rm {target}"));
            } else if file.exists == Some(true) {
                steps.push(format!("touch {target}"));
            }
            if let (Some(uid), Some(gid)) = (file.uid.first(), file.gid.first()) {
                steps.push(format!("chown {uid}:{gid} {target}"));
            } else if let Some(uid) = file.uid.first() {
                steps.push(format!("chown {uid} {target}"));
            } else if let Some(gid) = file.gid.first() {
                steps.push(format!("chgrp {gid} {target}"));
            }
            if let Some(mode) = &file.mode_max {
                steps.push(format!("chmod {mode} {target}"));
            }
            if file.below > 0 {
                format!("{} (for the files in it)", steps.join("; "))
            } else {
                steps.join("; ")
            }
        }
        Kind::Package(package) => match package.state {
            Presence::Present => format!("dnf install {}", package.names.first().map_or("", String::as_str)),
            Presence::Absent => format!("dnf remove {}", package.names.join(" ")),
        },
        Kind::Unit(unit) => {
            let units = unit.units.join(" ");
            match unit.state {
                UnitWanted::Enabled => format!(
                    "systemctl enable --now {}",
                    unit.units.first().map_or("", String::as_str)
                ),
                UnitWanted::Disabled | UnitWanted::Masked => format!("systemctl mask --now {units}"),
            }
        }
        Kind::Mount(mount) if mount.options.is_empty() => format!(
            "give {} a file system of its own and list it in /etc/fstab",
            mount.path
        ),
        Kind::Mount(mount) => format!(
            "add {} to the options of {} in /etc/fstab; mount -o remount {}",
            mount.options.join(","),
            mount.path,
            mount.path
        ),
        Kind::Sshd(sshd) => match sshd.keys.as_slice() {
            [key] => format!(
                "set {key} ({}) in a file of /etc/ssh/sshd_config.d that sorts first; systemctl reload sshd",
                sshd.expect.describe()
            ),
            keys => format!(
                "set one of {} in /etc/ssh/sshd_config.d; systemctl reload sshd",
                keys.join(", ")
            ),
        },
        Kind::Config(config) => format!(
            "set {} to {} in {}",
            config.keys.first().map_or("", String::as_str),
            config.expect.describe(),
            config
                .files
                .first()
                .or_else(|| config.dropins.first())
                .map_or("", String::as_str)
        ),
        Kind::AuditRule(_) => "add the missing rules to /etc/audit/rules.d; augenrules --load".to_owned(),
        Kind::Authselect(_) | Kind::Pam(_) => {
            "change the authselect profile (authselect select, authselect enable-feature)".to_owned()
        }
        Kind::Dconf(_) => "write the key and its lock below /etc/dconf/db; dconf update".to_owned(),
        Kind::Bootloader(_) => "grub2-setpassword".to_owned(),
        Kind::Sudoers(_) => "visudo".to_owned(),
        _ => hint_by_evidence(kind),
    }
}

/// Hints for kinds whose evidence names what has to change.
fn hint_by_evidence(kind: &Kind) -> String {
    match kind {
        Kind::Aide(aide) if aide.database => {
            "aide --init; mv /var/lib/aide/aide.db.new.gz /var/lib/aide/aide.db.gz".to_owned()
        }
        Kind::Aide(aide) if aide.scheduled || aide.mailed => {
            "run `aide --check` from a timer or a file of /etc/cron.d, its output mailed to root".to_owned()
        }
        Kind::Aide(_) => "name the paths and attributes in /etc/aide.conf; aide --update".to_owned(),
        Kind::Lines(lines) => {
            let files = lines.files.join(" or ");
            if lines.must.is_empty() && lines.one_of.is_empty() {
                format!("take the lines shown as evidence out of {files}")
            } else if lines.wanted.is_empty() {
                format!("add the line shown as expected to {files}")
            } else {
                format!("{files}: {}", lines.wanted)
            }
        }
        Kind::Accounts(accounts) => account(accounts.ask).to_owned(),
        Kind::Home(home) => in_home(home.ask).to_owned(),
        Kind::Shell(shell) => match shell.ask {
            ShellQuestion::Tmout => {
                "write `declare -xr TMOUT=…` (see expected) to a file of /etc/profile.d; take other lines out"
            }
            ShellQuestion::Umask | ShellQuestion::UmaskIfSet => {
                "set umask (see expected) in the files shown as evidence"
            }
            _ => "take the parts of root's search path shown as evidence out of root's start-up files, or chown root and chmod go-w them",
        }
        .to_owned(),
        Kind::Sweep(_) => {
            "correct owner or mode of the files shown as evidence (chown, chgrp, chmod), or remove them".to_owned()
        }
        Kind::Migration(_) => {
            "dnf distro-sync, then remove what has no newer build (packages, kernels), disable repositories and \
             rpm -e keys (gpg-pubkey-…) that belong to the system before; see evidence"
                .to_owned()
        }
        Kind::Selinux(selinux) => format!(
            "set SELINUX={} in /etc/selinux/config; setenforce 1; reboot where it was disabled",
            selinux.modes.first().map_or("enforcing", String::as_str)
        ),
        Kind::Banner(banner) => format!(
            "write the site's text to {}, without release and kernel escapes",
            banner.file
        ),
        Kind::Firewall(_) => {
            "set rules with firewall-cmd --permanent (or in /etc/nftables), then reload; see expected".to_owned()
        }
        Kind::Listening(_) => {
            "bind the service to loopback (postfix: inet_interfaces = loopback-only) or stop it".to_owned()
        }
        Kind::Promiscuous(_) => "ip link set INTERFACE promisc off; end the program that listens".to_owned(),
        Kind::Wireless(_) => "nmcli radio all off; deny the module in /etc/modprobe.d".to_owned(),
        Kind::KernelFile(file) => match file.path.as_str() {
            "/proc/sys/crypto/fips_enabled" => {
                "install with fips=1 (EL 10), or fips-mode-setup --enable and reboot (EL 8, 9)".to_owned()
            }
            "/sys/kernel/security/lockdown" => format!("{HARDEN} (kernel command line lockdown)"),
            "/sys/kernel/security/lsm" => format!("{HARDEN} (kernel command line lsm)"),
            "/sys/module/module/parameters/sig_enforce" => {
                format!("{HARDEN} (kernel command line module.sig_enforce)")
            }
            path => format!("see what sets {path}"),
        },
        Kind::MountClass(class) => format!(
            "add {} to the options of the lines of /etc/fstab shown as evidence; mount -o remount",
            class.options.join(",")
        ),
        Kind::Link(link) => match link.paths.first() {
            Some(path) if path.ends_with("default.target") => {
                "systemctl set-default multi-user.target".to_owned()
            }
            _ => format!("ln -sfn TARGET {} (see expected)", link.paths.join(" ")),
        },
        Kind::Fips(fips) => match fips.ask {
            FipsQuestion::BootEntries => format!("{HARDEN} (kernel command line fips)"),
            FipsQuestion::Policy => format!("{HARDEN} (crypto policy)"),
            FipsQuestion::SelfTests => "boot a kernel of the vendor in FIPS mode; see its log".to_owned(),
            FipsQuestion::HmacFiles => "dnf reinstall the package that owns the file".to_owned(),
            FipsQuestion::Modules | FipsQuestion::OtherCrypto => String::new(),
        },
        Kind::KernelFacts(facts) if facts.vulnerabilities => {
            "dnf update kernel microcode_ctl linux-firmware; reboot; take mitigations=off off the command line".to_owned()
        }
        _ => String::new(),
    }
}

/// The hints that say something, each once.
fn joined(hints: impl Iterator<Item = String>, between: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for hint in hints {
        if !hint.is_empty() && !parts.contains(&hint) {
            parts.push(hint);
        }
    }
    parts.join(between)
}

fn account(ask: AccountQuestion) -> &'static str {
    use AccountQuestion as Q;
    match ask {
        Q::UniqueUid | Q::UniqueUserName => "give one of them another number or name (usermod), or remove it",
        Q::UniqueGid | Q::UniqueGroupName => {
            "give one of them another number or name (groupmod), or remove it"
        }
        Q::OnlyRootUidZero => "usermod --uid NUMBER USER, or userdel USER",
        Q::OnlyRootGidZero => "usermod --gid GROUP USER",
        Q::OnlyRootGroupZero => "groupmod --gid NUMBER GROUP",
        Q::PrimaryGroupsExist => "groupadd --gid NUMBER GROUP, or usermod --gid GROUP USER",
        Q::Shadowed => "pwconv",
        Q::NoEmptyPassword => "passwd --lock USER, or have a password set",
        Q::HashMethod => {
            "have the password set again (chage --lastday 0 USER) after login.defs and PAM name the method"
        }
        Q::LastChangePast => "chage --lastday DATE USER",
        Q::MaxDays => "chage --maxdays DAYS USER (see expected)",
        Q::MinDays => "chage --mindays DAYS USER (see expected)",
        Q::WarnDays => "chage --warndays DAYS USER (see expected)",
        Q::InactiveDays => "chage --inactive DAYS USER (see expected)",
        Q::SystemNoShell => "usermod --shell /usr/sbin/nologin USER",
        Q::SystemNoPassword | Q::InvalidShellLocked => "passwd --lock USER",
        Q::RootPassword => "passwd root",
        Q::EmptyGroup => "groupadd GROUP if it is missing; gpasswd --delete USER GROUP",
        Q::HomeDefined => "usermod --home DIR USER",
        Q::ListUsers | Q::ListExpiry => "userdel those nobody needs; chage --expiredate DATE USER",
    }
}

fn in_home(ask: HomeQuestion) -> &'static str {
    use HomeQuestion as Q;
    match ask {
        Q::Exists => "mkhomedir_helper USER",
        Q::Owner | Q::FileOwner => "chown USER PATH (see evidence)",
        Q::Group | Q::FileGroup => "chgrp GROUP PATH (see evidence)",
        Q::Mode | Q::FileMode => "chmod MODE PATH (see expected)",
        Q::NoFile => "remove the files shown as evidence",
        Q::KeysProtected => "ssh-keygen -p -f FILE",
        Q::PathInside | Q::Umask | Q::NoWorldWritableProgram => {
            "change the lines of start-up files shown as evidence, or chmod o-w the program"
        }
        Q::SeparateFileSystem => "give /home a file system of its own and list it in /etc/fstab",
    }
}
