//! Checks with the values that a tailoring file sets.

use super::check::{Check, Checks};
use super::tailoring::Tailoring;
use serde::Deserialize;
use serde_json::Value;
use std::sync::LazyLock;

/// Which variable becomes which parameter.
const MAPPING: &str = include_str!("../../../policies/audit/tailoring.toml");

#[derive(Deserialize)]
struct Mapping {
    value: Vec<Variable>,
}

/// A variable of SSG.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    id: String,
    /// Short names of the rules that take it.
    rules: Vec<String>,
    /// Paths of parameters; the first that a check has is set.
    sets: Vec<String>,
}

/// None if the file is broken, which a test would tell.
static VARIABLES: LazyLock<Vec<Variable>> = LazyLock::new(|| {
    toml::from_str(MAPPING).map_or_else(|_broken| Vec::new(), |mapping: Mapping| mapping.value)
});

impl Checks {
    /// The checks as a tailoring file wants them, and what of it could not be done: its values replace the parameters
    /// of the checks for the rules that take them.
    pub fn tailored(&self, tailoring: &Tailoring) -> (Self, Vec<String>) {
        let mut checks = self.clone();
        let mut warnings = Vec::new();
        for (name, selector) in &tailoring.selectors {
            warnings.push(format!(
                "the tailoring file chooses {selector:?} for {name}, a name that only SSG's data stream explains: \
                 the benchmark's value stays; set the value itself (set-value)"
            ));
        }
        for (name, value) in &tailoring.values {
            match set(&mut checks, name, value) {
                Ok(0) => warnings.push(format!(
                    "the tailoring file sets {name} to {value:?}, which no check takes: the benchmark's value stays"
                )),
                Ok(_) => {}
                Err(why) => warnings.push(format!(
                    "the tailoring file sets {name} to {value:?}: {why}; the benchmark's value stays"
                )),
            }
        }
        (checks, warnings)
    }
}

/// Sets a variable in all checks that take it; gives their number. With an error none is changed.
fn set(checks: &mut Checks, name: &str, value: &str) -> Result<usize, String> {
    let sysctl;
    let variable = match VARIABLES.iter().find(|variable| variable.id == name) {
        Some(variable) => variable,
        None => match name
            .strip_suffix("_value")
            .filter(|rule| rule.starts_with("sysctl_"))
        {
            Some(rule) => {
                sysctl = Variable {
                    id: name.to_owned(),
                    rules: vec![rule.to_owned()],
                    sets: vec!["expect.eq".to_owned(), "expect.any".to_owned()],
                };
                &sysctl
            }
            None => return Ok(0),
        },
    };
    let mut changed = Vec::new();
    for check in checks.iter() {
        if check.ssg.iter().any(|rule| variable.rules.contains(rule))
            && let Some(check) = with_value(check, variable, value)?
        {
            changed.push(check);
        }
    }
    let n_changed = changed.len();
    for check in changed {
        checks.replace(check);
    }
    Ok(n_changed)
}

/// The check with this value; `None` if it has no parameter for it.
fn with_value(check: &Check, variable: &Variable, value: &str) -> Result<Option<Check>, String> {
    let mut data = serde_json::to_value(check).map_err(|error| error.to_string())?;
    let pointers = variable
        .sets
        .iter()
        .map(|path| format!("/{}", path.replace('.', "/")));
    let Some(pointer) = pointers
        .into_iter()
        .find(|pointer| data.pointer(pointer).is_some())
    else {
        return Ok(None);
    };
    if let Some(place) = data.pointer_mut(&pointer) {
        *place = match place {
            Value::Number(_) => Value::from(value.parse::<i64>().map_err(|_| "not a number".to_owned())?),
            Value::Array(_) => value.split('|').map(str::trim).collect(),
            _ => Value::from(value),
        };
    }
    // The written hint names the benchmark's value; the one made from the parameters does not.
    if let Some(fields) = data.as_object_mut() {
        fields.remove("fix");
    }
    let mut changed: Check = serde_json::from_value(data).map_err(|error| error.to_string())?;
    changed.validate().map_err(|error| error.to_string())?;
    changed.title = format!("{} (tailored: {} = {value})", check.title, variable.id);
    Ok(Some(changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn shipped() -> Checks {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/audit/checks");
        let files: Vec<(String, String)> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (
                    path.display().to_string(),
                    std::fs::read_to_string(&path).unwrap(),
                )
            })
            .collect();
        Checks::parse(files.iter().map(|(name, text)| (name.as_str(), text.as_str()))).unwrap()
    }

    fn tailoring(values: &[(&str, &str)]) -> Tailoring {
        let mut text = "<Tailoring><Profile id=\"p\">".to_owned();
        for (name, value) in values {
            for part in [
                "<set-value idref=\"xccdf_org.ssgproject.content_value_",
                name,
                "\">",
                value,
                "</set-value>",
            ] {
                text.push_str(part);
            }
        }
        Tailoring::parse(&(text + "</Profile></Tailoring>"), None).unwrap()
    }

    /// Every line of the mapping changes a parameter of a shipped check.
    #[test]
    fn every_variable_belongs_to_a_check() {
        let checks = shipped();
        assert!(VARIABLES.len() >= 39);
        for variable in VARIABLES.iter() {
            for rule in &variable.rules {
                let taking: Vec<&Check> = checks.iter().filter(|check| check.ssg.contains(rule)).collect();
                assert!(!taking.is_empty(), "{}: no check for {rule}", variable.id);
                let changed = taking
                    .iter()
                    .filter_map(|check| with_value(check, variable, "77").unwrap())
                    .filter(|changed| taking.iter().all(|check| check.kind != changed.kind))
                    .count();
                assert!(
                    changed > 0,
                    "{}: {rule} takes nothing of {:?}",
                    variable.id,
                    variable.sets
                );
            }
        }
    }

    #[test]
    fn values_change_what_is_expected() {
        let checks = shipped();
        let check = |name: &str, value: &str, id: &str, pointer: &str, expected: Value| {
            let (tailored, warnings) = checks.tailored(&tailoring(&[(name, value)]));
            assert_eq!(warnings, [""; 0]);
            let found = serde_json::to_value(tailored.get(id).unwrap()).unwrap();
            assert_eq!(found.pointer(pointer), Some(&expected), "{id}");
            let title = tailored.get(id).unwrap().title.clone();
            assert!(
                title.ends_with(&format!("(tailored: {name} = {value})")),
                "{title}"
            );
        };
        check(
            "var_password_pam_minlen",
            "20",
            "hp-pwquality-minlen-cis",
            "/expect/min",
            20.into(),
        );
        check(
            "var_password_pam_minlen",
            "20",
            "hp-pwquality-minlen-stig",
            "/expect/min",
            20.into(),
        );
        check(
            "var_accounts_tmout",
            "300",
            "hp-account-tmout-cis",
            "/bound",
            "300".into(),
        );
        check(
            "var_accounts_maximum_age_login_defs",
            "90",
            "hp-account-password-set-max-life-existing-cis",
            "/days",
            90.into(),
        );
        check(
            "var_auditd_space_left_action",
            "email|single",
            "hp-auditd-retention-space-left-action-cis",
            "/expect/any",
            ["email", "single"].into_iter().collect(),
        );
        check(
            "sysctl_net_ipv4_conf_all_log_martians_value",
            "0",
            "hp-sysctl-net-ipv4-conf-all-log-martians",
            "/expect/eq",
            "0".into(),
        );
    }

    #[test]
    fn what_cannot_be_applied_is_said() {
        let checks = shipped();
        let mut tailoring = tailoring(&[
            ("var_password_pam_minlen", "many"),
            ("var_no_such_thing", "1"),
            ("sysctl_no_such_thing_value", "1"),
        ]);
        tailoring
            .selectors
            .insert("var_accounts_tmout".into(), "15_min".into());
        let (tailored, warnings) = checks.tailored(&tailoring);
        assert_eq!(
            warnings,
            [
                "the tailoring file chooses \"15_min\" for var_accounts_tmout, a name that only SSG's data stream explains: \
                 the benchmark's value stays; set the value itself (set-value)",
                "the tailoring file sets sysctl_no_such_thing_value to \"1\", which no check takes: the benchmark's value stays",
                "the tailoring file sets var_no_such_thing to \"1\", which no check takes: the benchmark's value stays",
                "the tailoring file sets var_password_pam_minlen to \"many\": not a number; the benchmark's value stays",
            ]
        );
        assert!(tailored.iter().eq(checks.iter()));
    }
}
