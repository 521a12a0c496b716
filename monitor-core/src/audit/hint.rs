//! Shell hints for kinds whose remedy follows from their parameters.

use super::kind::Kind;
use super::kind::package::{Presence, UnitWanted};

/// A hint, or nothing where a person has to decide.
pub(super) fn hint(kind: &Kind) -> String {
    match kind {
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
        Kind::Aide(aide) if aide.database => {
            "aide --init; mv /var/lib/aide/aide.db.new.gz /var/lib/aide/aide.db.gz".to_owned()
        }
        _ => String::new(),
    }
}
