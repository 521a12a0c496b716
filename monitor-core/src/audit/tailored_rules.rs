//! What a tailoring file asks beyond a profile, and what of it cannot be followed.

use super::benchmark::{Control, Profile};
use super::check::{Check, Checks};
use super::tailoring::Tailoring;
use std::collections::BTreeSet;

/// Names listed in one warning.
const NAMES_MAX: usize = 12;

/// SSG's profiles for ours.
const PROFILES: [(&str, Profile); 6] = [
    ("cis", Profile::CisServer(2)),
    ("cis_server_l1", Profile::CisServer(1)),
    ("cis_workstation_l1", Profile::CisWorkstation(1)),
    ("cis_workstation_l2", Profile::CisWorkstation(2)),
    ("stig", Profile::Stig),
    ("stig_gui", Profile::Stig),
];

impl Tailoring {
    /// Controls for rules that the file selects and the profile does not have (chapter `tailoring`, the rule's name as
    /// id), and what the reader should know about the rest.
    pub fn beyond(
        &self,
        checks: &Checks,
        controls: &[&Control],
        profile: Profile,
        el: u32,
    ) -> (Vec<Control>, Vec<String>) {
        let within: BTreeSet<&str> = controls
            .iter()
            .flat_map(|control| control.checks.iter().map(String::as_str))
            .collect();
        let mut more: Vec<Control> = Vec::new();
        let mut unknown = BTreeSet::new();
        for rule in &self.added {
            let standing: Vec<&Check> = checks.iter().filter(|check| check.ssg.contains(rule)).collect();
            if standing.iter().any(|check| within.contains(check.id.as_str())) {
                continue;
            }
            match best(&standing, profile.family(), el) {
                Some(check) => more.push(control(rule, check)),
                None => drop(unknown.insert(rule.as_str())),
            }
        }
        let partly: BTreeSet<&str> = within
            .iter()
            .filter_map(|id| checks.get(id))
            .filter(|check| !self.removes(check))
            .flat_map(|check| check.ssg.iter().filter(|rule| self.removed.contains(*rule)))
            .map(String::as_str)
            .collect();
        let mut warnings = self.base(profile);
        let mut warn = |names: BTreeSet<&str>, what: &str, so: &str| {
            if !names.is_empty() {
                warnings.push(format!("the tailoring file {what} {}: {so}", list(&names)));
            }
        };
        warn(unknown, "selects rules without a check", "they are not looked at");
        warn(
            partly,
            "leaves out rules that a check asks together with others",
            "the check stays",
        );
        warn(
            self.groups.iter().map(String::as_str).collect(),
            "selects or leaves out groups",
            "only SSG's data stream tells which rules lie in them; name the rules themselves",
        );
        warn(
            self.refined_rules.iter().map(String::as_str).collect(),
            "changes severity, weight or role of",
            "in Hardpan's score all controls weigh the same",
        );
        (more, warnings)
    }

    /// Whether the file was written for another profile than the one asked for.
    fn base(&self, profile: Profile) -> Vec<String> {
        let extends = self.extends.as_str();
        let ours = PROFILES
            .iter()
            .find(|(name, _)| *name == extends)
            .map(|(_, ours)| *ours);
        match ours {
            Some(ours) if ours == profile => Vec::new(),
            _ if extends.is_empty() => Vec::new(),
            Some(ours) => vec![format!(
                "the tailoring file extends SSG's profile {extends}, which is {} here; this audit is {}",
                ours.name(),
                profile.name()
            )],
            None => vec![format!(
                "the tailoring file extends SSG's profile {extends}, which Hardpan does not have: its changes are applied to {}",
                profile.name()
            )],
        }
    }
}

/// Of several checks for one rule (with the values of different benchmarks and releases) the release's and the
/// family's own, else the plainest.
fn best<'a>(checks: &[&'a Check], family: &str, el: u32) -> Option<&'a Check> {
    let el = el.to_string();
    checks
        .iter()
        .min_by_key(|check| {
            let (id, releases) = check.id.rsplit_once("-el").unwrap_or((&check.id, ""));
            let other_release = !releases.is_empty() && releases.split('-').all(|release| release != el);
            (
                other_release,
                !id.ends_with(&format!("-{family}")),
                check.id.len(),
            )
        })
        .copied()
}

fn control(rule: &str, check: &Check) -> Control {
    Control {
        id: rule.to_owned(),
        title: check.title.clone(),
        chapter: "tailoring".to_owned(),
        server: 0,
        workstation: 0,
        severity: String::new(),
        automated: true,
        checks: vec![check.id.clone()],
        cce: Vec::new(),
    }
}

/// The first few names, and how many there are.
fn list(names: &BTreeSet<&str>) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).copied().collect();
    let rest = names.len() - shown.len();
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!("({}{more})", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::benchmark::Benchmark;
    use super::*;

    const CHECKS: &str = r#"
[[check]]
id = "hp-a"
title = "a"
ssg = ["rule_a"]
kind = "kmod"
module = "a"
[[check]]
id = "hp-b-stig"
title = "b as the STIG has it"
ssg = ["rule_b"]
kind = "kmod"
module = "b"
[[check]]
id = "hp-b-cis"
title = "b as CIS has it"
ssg = ["rule_b"]
kind = "kmod"
module = "b"
[[check]]
id = "hp-c"
title = "c and d"
ssg = ["rule_c", "rule_d"]
kind = "kmod"
module = "c"
"#;
    const BENCHMARK: &str = r#"
id = "cis-x"
family = "cis"
version = "1"
title = "x"
source = "x"
controls = [
  { id = "1.1", title = "a", server = 1, checks = ["hp-a"] },
  { id = "1.2", title = "c", server = 1, checks = ["hp-c"] },
]
"#;

    fn beyond(profile: &str, content: &str) -> (Vec<(String, String)>, Vec<String>) {
        let checks = Checks::parse([("f", CHECKS)]).unwrap();
        let benchmark = Benchmark::parse("f", BENCHMARK, &checks).unwrap();
        let text = format!(
            "<Tailoring><Profile id=\"p\" extends=\"xccdf_org.ssgproject.content_profile_{profile}\">{content}</Profile></Tailoring>"
        );
        let tailoring = Tailoring::parse(&text, None).unwrap();
        let profile = Profile::CisServer(1);
        let (more, warnings) = tailoring.beyond(&checks, &benchmark.select(profile), profile, 9);
        let more = more
            .into_iter()
            .map(|control| (control.id, control.checks.join(" ")));
        (more.collect(), warnings)
    }

    #[test]
    fn the_release_s_own_check_goes_first() {
        let text = ["hp-x-el8", "hp-x-el9-10", "hp-x-cis-el8-9"]
            .map(|id| format!("[[check]]\nid = \"{id}\"\ntitle = \"x\"\nkind = \"kmod\"\nmodule = \"x\"\n"))
            .concat();
        let checks = Checks::parse([("f", text.as_str())]).unwrap();
        let all: Vec<&Check> = checks.iter().collect();
        let chosen = |family, el| best(&all, family, el).unwrap().id.as_str();
        assert_eq!(chosen("stig", 8), "hp-x-el8");
        assert_eq!(chosen("stig", 10), "hp-x-el9-10");
        assert_eq!(chosen("cis", 9), "hp-x-cis-el8-9");
    }

    #[test]
    fn selected_rules_are_added_once() {
        let select = |rule: &str, selected: &str| {
            format!("<select idref=\"xccdf_org.ssgproject.content_rule_{rule}\" selected=\"{selected}\"/>")
        };
        let text = select("rule_a", "true") + &select("rule_b", "true");
        let (more, warnings) = beyond("cis_server_l1", &text);
        assert_eq!(more, [("rule_b".to_owned(), "hp-b-cis".to_owned())]);
        assert_eq!(warnings, [""; 0]);
        let text = select("rule_c", "false")
            + &select("rule_z", "true")
            + "<select idref=\"x_group_g\" selected=\"false\"/><refine-rule idref=\"x_rule_r\" weight=\"2\"/>";
        let (more, warnings) = beyond("cis", &text);
        assert!(more.is_empty());
        assert_eq!(
            warnings,
            [
                "the tailoring file extends SSG's profile cis, which is cis-l2-server here; this audit is cis-l1-server",
                "the tailoring file selects rules without a check (rule_z): they are not looked at",
                "the tailoring file leaves out rules that a check asks together with others (rule_c): the check stays",
                "the tailoring file selects or leaves out groups (g): only SSG's data stream tells which rules lie in them; name the rules themselves",
                "the tailoring file changes severity, weight or role of (r): in Hardpan's score all controls weigh the same",
            ]
        );
        let (_, warnings) = beyond("ospp", "");
        assert!(
            warnings[0].contains("ospp, which Hardpan does not have"),
            "{warnings:?}"
        );
    }
}
