//! A policy's hardening items.

use crate::policy::origin::Origin;
use crate::policy::resolve::Resolved;
use crate::policy::value::Value;
use serde::Serialize;

/// What an item wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Want {
    /// A sysctl at run time and in sysctl.d.
    Sysctl {
        /// Its name, with dots.
        name: String,
        /// Its value.
        value: String,
    },
    /// modprobe must not load a module.
    ModuleDenied {
        /// The module.
        name: String,
    },
    /// An argument on every boot entry's command line; no value: the argument must not be there.
    BootArgument {
        /// Name.
        name: String,
        /// Value; empty for an argument without one.
        value: Option<String>,
    },
    /// A unit linked to /dev/null.
    ServiceMasked {
        /// The unit.
        unit: String,
    },
    /// Fewer people may use a set-id program's privileges.
    SetIdReduced {
        /// The program.
        path: String,
        /// Members of wheel still may.
        wheel: bool,
    },
    /// Options of a mount in fstab.
    MountOptions {
        /// Where it is mounted.
        target: String,
        /// Options it must have.
        options: Vec<String>,
    },
    /// A keyword of sshd_config.
    Sshd {
        /// Keyword.
        keyword: String,
        /// Its value.
        value: String,
    },
    /// The system-wide crypto policy.
    CryptoPolicy {
        /// `POLICY[:MODULE…]`.
        policy: String,
    },
}

/// One thing to harden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// `sysctl:kernel.kptr_restrict`: stable, for `--only` and the journal.
    pub id: String,
    /// What it wants.
    pub want: Want,
    /// Why.
    pub reason: String,
    /// What may stop working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaks: Option<String>,
    /// Control ids it satisfies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<String>,
    /// It cannot be undone before the next boot.
    pub one_way: bool,
    /// It takes effect at the next boot only.
    pub needs_reboot: bool,
    /// It could lock people out: on a running host it needs `--confirm-within`.
    pub needs_confirmation: bool,
    /// Why it does not apply to this release or hardware, as the policy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_applicable: Option<String>,
    /// Where the wanted value comes from.
    pub origin: Origin,
}

/// The items of a policy, sorted by id.
#[expect(clippy::too_many_lines, reason = "one short block for each table of a policy")]
pub fn items(resolved: &Resolved) -> Vec<Item> {
    let mut items = Vec::new();
    for name in resolved.entries("sysctl") {
        let entry = Fields {
            resolved,
            section: "sysctl",
            name,
        };
        if let Some((value, origin)) = entry.main("value") {
            let mut item = entry.item(
                Want::Sysctl {
                    name: name.to_owned(),
                    value: value.to_plain(),
                },
                origin,
            );
            item.one_way = entry.flag("one_way") == Some(true);
            if let Some(place) = entry.denied("exists") {
                item.not_applicable = Some(format!("kernels of this release do not have it ({place})"));
            }
            items.push(item);
        }
    }
    for name in resolved.entries("module") {
        let entry = Fields {
            resolved,
            section: "module",
            name,
        };
        if let Some((Value::Bool(true), origin)) = entry.main("deny") {
            let mut item = entry.item(
                Want::ModuleDenied {
                    name: name.to_owned(),
                },
                origin,
            );
            if let Some(place) = entry.denied("built") {
                item.not_applicable = Some(format!("this release's kernel does not build it ({place})"));
            }
            items.push(item);
        }
    }
    for name in resolved.entries("boot") {
        let entry = Fields {
            resolved,
            section: "boot",
            name,
        };
        let absent = entry
            .main("absent")
            .filter(|(value, _)| value.as_bool() == Some(true));
        let want = match (entry.main("value"), absent) {
            (Some((value, origin)), _) => Some((Some(value.to_plain()), origin)),
            (None, Some((_, origin))) => Some((None, origin)),
            (None, None) => None,
        };
        if let Some((value, origin)) = want {
            let mut item = entry.item(
                Want::BootArgument {
                    name: name.to_owned(),
                    value,
                },
                origin,
            );
            item.needs_reboot = true;
            if let Some(place) = entry.denied("exists") {
                item.not_applicable = Some(format!("this kernel or processor does not know it ({place})"));
            }
            items.push(item);
        }
    }
    for name in resolved.entries("service") {
        let entry = Fields {
            resolved,
            section: "service",
            name,
        };
        if let Some((_, origin)) = entry
            .main("state")
            .filter(|(state, _)| state.as_text() == Some("masked"))
        {
            items.push(entry.item(
                Want::ServiceMasked {
                    unit: name.to_owned(),
                },
                origin,
            ));
        }
    }
    for name in resolved.entries("suid") {
        let entry = Fields {
            resolved,
            section: "suid",
            name,
        };
        if let Some((access, origin)) = entry
            .main("access")
            .filter(|(access, _)| access.as_text() != Some("public"))
        {
            let wheel = access.as_text() == Some("wheelonly");
            items.push(entry.item(
                Want::SetIdReduced {
                    path: name.to_owned(),
                    wheel,
                },
                origin,
            ));
        }
    }
    for name in resolved.entries("mount") {
        let entry = Fields {
            resolved,
            section: "mount",
            name,
        };
        if let Some((options, origin)) = entry.main("options") {
            let want = Want::MountOptions {
                target: name.to_owned(),
                options: options.to_texts(),
            };
            let mut item = entry.item(want, origin);
            item.needs_reboot = true;
            items.push(item);
        }
    }
    for name in resolved.entries("sshd") {
        let entry = Fields {
            resolved,
            section: "sshd",
            name,
        };
        if let Some((value, origin)) = entry.main("value") {
            let want = Want::Sshd {
                keyword: name.to_owned(),
                value: value.to_plain(),
            };
            let mut item = entry.item(want, origin);
            item.needs_confirmation = true;
            items.push(item);
        }
    }
    items.extend(crypto(resolved));
    items.sort_by(|left, right| left.id.cmp(&right.id));
    items
}

fn crypto(resolved: &Resolved) -> Option<Item> {
    let setting = resolved.setting(&["crypto", "policy"])?;
    let policy = setting.value.to_plain();
    if policy.is_empty() {
        return None;
    }
    let text = |field| {
        resolved
            .setting(&["crypto", field])
            .map(|setting| setting.value.to_plain())
    };
    Some(Item {
        id: "crypto-policy".to_owned(),
        want: Want::CryptoPolicy { policy },
        reason: text("reason").unwrap_or_default(),
        breaks: text("breaks"),
        controls: resolved
            .setting(&["crypto", "controls"])
            .map(|list| list.value.to_texts())
            .unwrap_or_default(),
        one_way: false,
        needs_reboot: false,
        needs_confirmation: true,
        not_applicable: None,
        origin: setting.origin.clone(),
    })
}

/// The fields of one entry.
struct Fields<'p> {
    resolved: &'p Resolved,
    section: &'p str,
    name: &'p str,
}

impl<'p> Fields<'p> {
    fn main(&self, field: &str) -> Option<(&'p Value, &'p Origin)> {
        let setting = self.resolved.setting(&[self.section, self.name, field])?;
        Some((&setting.value, &setting.origin))
    }

    fn text(&self, field: &str) -> Option<String> {
        self.main(field).map(|(value, _)| value.to_plain())
    }

    fn flag(&self, field: &str) -> Option<bool> {
        self.main(field).and_then(|(value, _)| value.as_bool())
    }

    /// Where a flag is set to false.
    fn denied(&self, field: &str) -> Option<&'p Origin> {
        self.main(field)
            .filter(|(value, _)| value.as_bool() == Some(false))
            .map(|(_, origin)| origin)
    }

    fn item(&self, want: Want, origin: &Origin) -> Item {
        let managed = self.flag("managed") != Some(false);
        Item {
            id: format!("{}:{}", self.section, self.name),
            want,
            reason: self.text("reason").unwrap_or_default(),
            breaks: self.text("breaks"),
            controls: self
                .main("controls")
                .map(|(list, _)| list.to_texts())
                .unwrap_or_default(),
            one_way: false,
            needs_reboot: false,
            needs_confirmation: false,
            not_applicable: (!managed).then(|| "the policy leaves it alone (managed = false)".to_owned()),
            origin: origin.clone(),
        }
    }
}
