//! Fills the programs' globals from BTF.

use super::{Btf, Kind};
use hardpan_abi::{ABSENT, ENUM_CONSTANTS, FIELDS, FieldNeed};

/// A global whose field or constant this kernel does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// Name of the global.
    pub global: &'static str,
    /// What was looked for, e.g. `task_struct.start_boottime|real_start_time`.
    pub looked_for: String,
    /// What is missing from records without it; `None` if programs can't be loaded at all.
    pub consequence: Option<&'static str>,
}

/// Values for all globals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Global name and value, in table order; [`ABSENT`] where nothing was found.
    pub globals: Vec<(&'static str, u32)>,
    /// What was not found.
    pub missing: Vec<Unresolved>,
}

impl Resolved {
    /// The missing things without which no program may be loaded.
    pub fn fatal(&self) -> impl Iterator<Item = &Unresolved> {
        self.missing
            .iter()
            .filter(|missing| missing.consequence.is_none())
    }

    /// Value of a global.
    pub fn value(&self, global: &str) -> Option<u32> {
        self.globals
            .iter()
            .find(|(name, value)| *name == global && *value != ABSENT)
            .map(|&(_, value)| value)
    }
}

/// Looks every field of [`FIELDS`] and every constant of [`ENUM_CONSTANTS`] up.
pub fn resolve(btf: &Btf) -> Resolved {
    let mut globals = Vec::with_capacity(FIELDS.len() + ENUM_CONSTANTS.len());
    let mut missing = Vec::new();
    let mut note = |global, value: Option<u32>, looked_for: String, need: FieldNeed| {
        globals.push((global, value.unwrap_or(ABSENT)));
        if value.is_none() && need != FieldNeed::IfThere {
            let consequence = match need {
                FieldNeed::Optional(what) => Some(what),
                FieldNeed::Required | FieldNeed::IfThere => None,
            };
            missing.push(Unresolved {
                global,
                looked_for,
                consequence,
            });
        }
    };
    // Structs come in runs in the table, so remembering the last one saves nearly all searches.
    let mut last: Option<(&str, Option<u32>)> = None;
    for field in FIELDS {
        let owner = match last {
            Some((name, id)) if name == field.owner => id,
            _ => btf.find(field.owner, Kind::Struct),
        };
        last = Some((field.owner, owner));
        let value = owner.and_then(|id| field.members.iter().find_map(|member| btf.member(id, member)));
        note(
            field.global,
            value,
            format!("{}.{}", field.owner, field.members.join("|")),
            field.need,
        );
    }
    for constant in ENUM_CONSTANTS {
        let value = btf
            .enumerator(constant.owner, constant.constant)
            .and_then(|value| u32::try_from(value).ok());
        note(
            constant.global,
            value,
            format!("enum {}.{}", constant.owner, constant.constant),
            constant.need,
        );
    }
    Resolved { globals, missing }
}
