//! Checks with the values that a tailoring file sets.

use super::check::{Check, Checks};
use super::tailoring::Tailoring;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Which variable becomes which parameter.
const MAPPING: &str = include_str!("../../../policies/audit/tailoring.toml");

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    /// Values by name that the variables of sysctl rules have in common.
    sysctl: BTreeMap<String, String>,
    value: Vec<Variable>,
}

/// A variable of SSG.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    id: String,
    /// Short names of the rules that take it.
    rules: Vec<String>,
    /// Paths of parameters; the first that a check has is set.
    sets: Vec<String>,
    /// Values that SSG lists, by name.
    #[serde(default)]
    choices: BTreeMap<String, String>,
}

/// Empty if the file is broken, which a test would tell.
static MAPPED: LazyLock<Mapping> =
    LazyLock::new(|| toml::from_str(MAPPING).unwrap_or_else(|_broken| Mapping::default()));

impl Variable {
    /// The variable of that name, if a check can take it.
    fn named(name: &str) -> Option<Self> {
        if let Some(known) = MAPPED.value.iter().find(|variable| variable.id == name) {
            return Some(known.clone());
        }
        let rule = name
            .strip_suffix("_value")
            .filter(|rule| rule.starts_with("sysctl_"))?;
        Some(Self {
            id: name.to_owned(),
            rules: vec![rule.to_owned()],
            sets: vec!["expect.eq".to_owned(), "expect.any".to_owned()],
            choices: MAPPED.sysctl.clone(),
        })
    }

    /// The value that SSG lists under a name.
    fn choice(&self, selector: &str) -> Result<&str, String> {
        let name = if selector.is_empty() { "default" } else { selector };
        self.choices.get(name).map(String::as_str).ok_or_else(|| {
            let known: Vec<&str> = self.choices.keys().map(String::as_str).collect();
            format!(
                "no value of that name is known (known: {}); set the value itself (set-value)",
                known.join(", ")
            )
        })
    }
}

impl Checks {
    /// The checks as a tailoring file wants them, and what of it could not be done: its values replace the parameters
    /// of the checks for the rules that take them. A value that is set goes before one that is chosen.
    pub fn tailored(&self, tailoring: &Tailoring) -> (Self, Vec<String>) {
        const KEPT: &str = "the benchmark's value stays";
        let mut checks = self.clone();
        let mut warnings = Vec::new();
        for (name, selector) in &tailoring.selectors {
            if tailoring.values.contains_key(name) {
                continue;
            }
            let said = format!("the tailoring file chooses {selector:?} for {name}");
            let done = match Variable::named(name) {
                None => Ok(0),
                Some(variable) => variable
                    .choice(selector)
                    .and_then(|value| set(&mut checks, &variable, value)),
            };
            warnings.extend(complaint(&said, done, KEPT));
        }
        for (name, value) in &tailoring.values {
            let said = format!("the tailoring file sets {name} to {value:?}");
            let done = Variable::named(name).map_or(Ok(0), |variable| set(&mut checks, &variable, value));
            warnings.extend(complaint(&said, done, KEPT));
        }
        (checks, warnings)
    }
}

/// What the reader has to know about a value that was, or was not, taken by a number of checks.
fn complaint(said: &str, done: Result<usize, String>, kept: &str) -> Option<String> {
    match done {
        Ok(0) => Some(format!("{said}, which no check takes: {kept}")),
        Ok(_) => None,
        Err(why) => Some(format!("{said}: {why}; {kept}")),
    }
}

/// Sets a variable in all checks that take it; gives their number. With an error none is changed.
fn set(checks: &mut Checks, variable: &Variable, value: &str) -> Result<usize, String> {
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
        *place = like(place, value)?;
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

/// A value in the form of the one that it replaces.
fn like(old: &Value, value: &str) -> Result<Value, String> {
    let number = |text: &str| {
        text.trim()
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_| "not a number".to_owned())
    };
    Ok(match old {
        Value::Number(_) => number(value)?,
        Value::Array(items) if items.iter().all(Value::is_number) => {
            let numbers: Vec<Value> = value.split(':').map(number).collect::<Result<_, _>>()?;
            if numbers.len() != items.len() {
                return Err(format!("not {} numbers parted by colons", items.len()));
            }
            numbers.into()
        }
        Value::Array(_) => value.split(['|', ',']).map(str::trim).collect(),
        _ => Value::from(value),
    })
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
        assert!(MAPPED.value.len() >= 51);
        for variable in &MAPPED.value {
            for rule in &variable.rules {
                let taking: Vec<&Check> = checks.iter().filter(|check| check.ssg.contains(rule)).collect();
                assert!(!taking.is_empty(), "{}: no check for {rule}", variable.id);
                let changed = taking
                    .iter()
                    // Numbers in a row take as many.
                    .filter_map(|check| {
                        let one = with_value(check, variable, "77");
                        one.or_else(|_| with_value(check, variable, "77:77:77")).unwrap()
                    })
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
            ("var_sshd_set_maxstartups", "10:30"),
            ("var_no_such_thing", "1"),
            ("sysctl_no_such_thing_value", "1"),
        ]);
        for (name, selector) in [
            ("var_accounts_tmout", "a_while"),
            ("var_no_such_choice", "x"),
            ("sysctl_kernel_kptr_restrict_value", "often"),
        ] {
            tailoring.selectors.insert(name.into(), selector.into());
        }
        let (tailored, warnings) = checks.tailored(&tailoring);
        assert_eq!(
            warnings,
            [
                "the tailoring file chooses \"often\" for sysctl_kernel_kptr_restrict_value: no value of that name is known \
                 (known: 0, 1, 2, disabled, enabled, loose); set the value itself (set-value); the benchmark's value stays",
                "the tailoring file chooses \"a_while\" for var_accounts_tmout: no value of that name is known \
                 (known: 10_min, 15_min, 30_min, 5_min, default); set the value itself (set-value); the benchmark's value stays",
                "the tailoring file chooses \"x\" for var_no_such_choice, which no check takes: the benchmark's value stays",
                "the tailoring file sets sysctl_no_such_thing_value to \"1\", which no check takes: the benchmark's value stays",
                "the tailoring file sets var_no_such_thing to \"1\", which no check takes: the benchmark's value stays",
                "the tailoring file sets var_password_pam_minlen to \"many\": not a number; the benchmark's value stays",
                "the tailoring file sets var_sshd_set_maxstartups to \"10:30\": not 3 numbers parted by colons; the benchmark's value stays",
            ]
        );
        assert!(tailored.iter().eq(checks.iter()));
    }

    #[test]
    fn chosen_values_are_looked_up_and_set_ones_go_before() {
        let checks = shipped();
        let check = |name: &str, selector: &str, id: &str, pointer: &str, expected: Value| {
            let mut tailoring = Tailoring::default();
            tailoring.selectors.insert(name.into(), selector.into());
            let (tailored, warnings) = checks.tailored(&tailoring);
            assert_eq!(warnings, [""; 0]);
            let found = serde_json::to_value(tailored.get(id).unwrap()).unwrap();
            assert_eq!(found.pointer(pointer), Some(&expected), "{id}");
            tailoring.values.insert(name.into(), "1".into());
            let (tailored, _) = checks.tailored(&tailoring);
            let found = serde_json::to_value(tailored.get(id).unwrap()).unwrap();
            assert_ne!(
                found.pointer(pointer),
                Some(&expected),
                "{id}: what is set goes first"
            );
        };
        check(
            "var_accounts_tmout",
            "15_min",
            "hp-account-tmout-cis",
            "/bound",
            "900".into(),
        );
        check(
            "var_system_crypto_policy",
            "default_nosha1",
            "hp-configure-crypto-policy",
            "/base",
            ["DEFAULT:NO-SHA1"].into_iter().collect(),
        );
        check(
            "sysctl_net_ipv4_conf_all_rp_filter_value",
            "loose",
            "hp-sysctl-net-ipv4-conf-all-rp-filter-el9",
            "/expect/eq",
            "2".into(),
        );
        check(
            "var_sshd_set_maxstartups",
            "default",
            "hp-sshd-set-maxstartups",
            "/at_most",
            [10, 30, 100].into_iter().collect(),
        );
        // Every value that SSG lists has the form of the parameter it becomes.
        for variable in &MAPPED.value {
            for (selector, value) in &variable.choices {
                set(&mut checks.clone(), variable, value)
                    .unwrap_or_else(|why| panic!("{} {selector}: {why}", variable.id));
            }
        }
    }
}
