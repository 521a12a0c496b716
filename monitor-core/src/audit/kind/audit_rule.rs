//! Audit rules, on disk and loaded.

use super::super::facts::{Ctx, FileKind, Stop, Tool, Want};
use super::super::outcome::Outcome;
use super::super::parse::audit_rules::{Rule, rules};
use super::super::sweep::SweepQuery;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Something that must be audited. Exactly one of the groups of fields is used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditRule {
    /// Files and directories to be watched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watch: Vec<String>,
    /// Permissions to be watched; `wa` where nothing is said, `x` for programs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub perms: String,
    /// Programs whose runs by users are to be audited; any one of several spellings of a path will do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<String>,
    /// System calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<String>,
    /// Fields the rule must have, as `auid>=1000`; any of several rules may satisfy one set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// One rule for each of these exit codes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<String>,
    /// Comparisons the rule must have, as `euid!=uid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compares: Vec<String>,
    /// Only 64-bit rules (system calls that 32-bit programs do not have).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only64: bool,
    /// A control line: flag and value, such as `["-e", "2"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<String>,
    /// Every set-id program on local file systems is to be audited.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub setid_programs: bool,
}

impl AuditRule {
    pub(super) fn validate(&self) -> Result<(), String> {
        let groups = [
            !self.watch.is_empty(),
            !self.exec.is_empty(),
            !self.syscalls.is_empty(),
            !self.control.is_empty(),
            self.setid_programs,
        ];
        if groups.iter().filter(|used| **used).count() == 1 {
            Ok(())
        } else {
            Err("exactly one of watch, exec, syscalls, control, setid_programs".into())
        }
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        if ctx.facts.live {
            ctx.prefetch([Want::Output(Tool::AuditRules), Want::Output(Tool::AuditStatus)]);
        }
        let programs = if self.setid_programs {
            setid_programs(ctx)?
        } else {
            Vec::new()
        };
        let disk = on_disk(ctx)?;
        let mut outcome = Outcome::start();
        self.compare(&disk, "rules.d", &programs, &mut outcome);
        let loaded = if self.control.is_empty() {
            Self::loaded(ctx)
        } else {
            self.status(ctx, &mut outcome).map(|()| None)
        };
        match loaded {
            Ok(Some(loaded)) => self.compare(&loaded, "auditctl -l", &programs, &mut outcome),
            Ok(None) => {}
            Err(Stop::Offline) => outcome = outcome.configured(),
            Err(stop) => return Err(stop),
        }
        Ok(outcome.because("audited"))
    }

    fn loaded(ctx: &Ctx<'_>) -> Result<Option<Arc<Vec<Rule>>>, Stop> {
        let text = ctx.output(Tool::AuditRules)?.unwrap_or_default();
        let parse = || rules("auditctl -l", text);
        Ok(Some(ctx.facts.memo.audit_rules("loaded", text.to_owned(), parse)))
    }

    /// Of control lines the kernel shows `enabled` only; the others are on disk alone.
    fn status(&self, ctx: &Ctx<'_>, outcome: &mut Outcome) -> Result<(), Stop> {
        if self.control.first().is_none_or(|flag| flag != "-e") {
            return Ok(());
        }
        let wanted = self.control.get(1).map_or("", String::as_str);
        let text = ctx.output(Tool::AuditStatus)?.unwrap_or_default();
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix("enabled "))
            .unwrap_or("no audit")
            .trim();
        outcome.expect(found == wanted, "auditctl -s: enabled", wanted, found);
        Ok(())
    }

    fn compare(&self, rules: &[Rule], place: &str, programs: &[String], outcome: &mut Outcome) {
        if !self.control.is_empty() {
            let wanted = (
                self.control.first().cloned().unwrap_or_default(),
                self.control.get(1).cloned().unwrap_or_default(),
            );
            let last = rules
                .iter()
                .rev()
                .find(|rule| rule.control.as_ref().is_some_and(|(flag, _)| *flag == wanted.0));
            let ok = last.is_some_and(|rule| rule.control.as_ref() == Some(&wanted));
            let expected = format!("{} {}", wanted.0, wanted.1);
            show(outcome, ok, last, place, expected.trim());
        } else if !self.watch.is_empty() {
            let perms = if self.perms.is_empty() { "wa" } else { &self.perms };
            for path in &self.watch {
                let path = path.trim_end_matches('/');
                let found = rules.iter().find(|rule| watches(rule, path, perms));
                show(
                    outcome,
                    found.is_some(),
                    found,
                    place,
                    &format!("-w {path} -p {perms}"),
                );
            }
        } else if self.setid_programs {
            for program in programs {
                let found = rules
                    .iter()
                    .find(|rule| execs(rule, std::slice::from_ref(program)));
                if found.is_none() {
                    show(outcome, false, None, place, &exec_text(program));
                }
            }
            outcome.note(place, format!("{} set-id programs looked at", programs.len()));
        } else if let Some(first) = self.exec.first() {
            let found = rules.iter().find(|rule| execs(rule, &self.exec));
            show(outcome, found.is_some(), found, place, &exec_text(first));
        } else {
            self.compare_calls(rules, place, outcome);
        }
    }

    fn compare_calls(&self, rules: &[Rule], place: &str, outcome: &mut Outcome) {
        let arches: &[&str] = if self.only64 { &["b64"] } else { &["b64", "b32"] };
        let no_exit = [String::new()];
        let exits = if self.exits.is_empty() {
            &no_exit[..]
        } else {
            &self.exits
        };
        for arch in arches {
            for call in &self.syscalls {
                for exit in exits {
                    let found = rules.iter().find(|rule| self.calls(rule, arch, call, exit));
                    let mut expected = format!("-a always,exit -F arch={arch} -S {call}");
                    for compare in &self.compares {
                        expected.extend([" -C ", compare.as_str()]);
                    }
                    if !exit.is_empty() {
                        expected.extend([" -F exit=", exit.as_str()]);
                    }
                    for field in &self.fields {
                        expected.extend([" -F ", field.as_str()]);
                    }
                    show(outcome, found.is_some(), found, place, &expected);
                }
            }
        }
    }

    /// Whether the rule records this call, and no field narrows it further than wanted.
    fn calls(&self, rule: &Rule, arch: &str, call: &str, exit: &str) -> bool {
        let wanted: Vec<(String, String, String)> =
            self.fields.iter().filter_map(|text| split_field(text)).collect();
        let list_ok = rule
            .list
            .as_ref()
            .is_some_and(|(list, action)| list == "exit" && action == "always");
        let call_ok = rule.syscalls.contains(call) || rule.syscalls.contains("all");
        let exit_field = ("exit".to_owned(), "=".to_owned(), exit.to_owned());
        list_ok
            && call_ok
            && rule.path.is_none()
            && rule.fields.contains(&("arch".into(), "=".into(), arch.into()))
            && (exit.is_empty() || rule.fields.contains(&exit_field))
            && self.compares.iter().all(|compare| compares(rule, compare))
            && (!self.compares.is_empty() || rule.compares.is_empty())
            && rule.fields.iter().all(|field| {
                field.0 == "arch" || (!exit.is_empty() && *field == exit_field) || wanted.contains(field)
            })
            && (self.compares.is_empty() || wanted.iter().all(|field| rule.fields.contains(field)))
    }
}

fn compares(rule: &Rule, wanted: &str) -> bool {
    let turned = wanted.split_once("!=").map(|(one, two)| format!("{two}!={one}"));
    rule.compares.contains(wanted) || turned.is_some_and(|turned| rule.compares.contains(&turned))
}

fn split_field(text: &str) -> Option<(String, String, String)> {
    ["!=", ">=", "<=", "="].iter().find_map(|operator| {
        let (name, value) = text.split_once(operator)?;
        Some((name.to_owned(), (*operator).to_owned(), value.to_owned()))
    })
}

fn show(outcome: &mut Outcome, ok: bool, rule: Option<&Rule>, place: &str, expected: &str) {
    match rule {
        Some(rule) => outcome.expect(ok, &rule.place, expected, &rule.text),
        None => outcome.expect(ok, place, expected, "no such rule"),
    }
}

fn always_exit(rule: &Rule) -> bool {
    rule.list
        .as_ref()
        .is_none_or(|(list, action)| list == "exit" && action == "always")
}

fn watches(rule: &Rule, path: &str, perms: &str) -> bool {
    // /var/run is a link to /run: rules are seen with both.
    let same = |found: &str| {
        found == path
            || found.strip_prefix("/var/run") == path.strip_prefix("/run") && path.starts_with("/run")
            || path.strip_prefix("/var/run") == found.strip_prefix("/run") && found.starts_with("/run")
    };
    let narrowed = rule.fields.iter().any(|field| field.0 != "arch");
    rule.path.as_deref().is_some_and(same)
        && always_exit(rule)
        && !narrowed
        && (rule.perms.is_empty() || perms.chars().all(|perm| rule.perms.contains(perm)))
}

fn execs(rule: &Rule, programs: &[String]) -> bool {
    let users = |field: &(String, String, String)| {
        let (name, operator, value) = (field.0.as_str(), field.1.as_str(), field.2.as_str());
        name == "arch"
            || matches!(
                (name, operator, value),
                ("auid", ">=", "1000") | ("auid", "!=", "unset")
            )
    };
    rule.path
        .as_ref()
        .is_some_and(|path| programs.iter().any(|program| same_program(path, program)))
        && always_exit(rule)
        && (rule.perms.is_empty() || rule.perms.contains('x'))
        && rule.fields.iter().all(users)
}

/// EL 10 merges /usr/sbin into /usr/bin; a rule may name a program either way, and without /usr.
fn same_program(one: &str, two: &str) -> bool {
    let short = |path: &str| path.trim_start_matches("/usr").replace("/sbin/", "/bin/");
    short(one) == short(two)
}

fn exec_text(program: &str) -> String {
    format!("-a always,exit -F path={program} -F perm=x -F auid>=1000 -F auid!=unset")
}

/// augenrules reads rules.d; without any file there, auditd loads audit.rules.
fn on_disk(ctx: &Ctx<'_>) -> Result<Arc<Vec<Rule>>, Stop> {
    let mut files = ctx.dropins(&["/etc/audit/rules.d"], ".rules")?;
    if files.is_empty() {
        files = ctx.texts(&["/etc/audit/audit.rules".to_owned()])?;
    }
    let all: Vec<&str> = files
        .iter()
        .flat_map(|(path, text)| [path.as_str(), "\n", text, "\n"])
        .collect();
    let parse = || files.iter().flat_map(|(path, text)| rules(path, text)).collect();
    Ok(ctx.facts.memo.audit_rules("on disk", all.concat(), parse))
}

/// The question for set-id programs.
pub(super) fn setid_query() -> SweepQuery {
    SweepQuery {
        kinds: vec![FileKind::File],
        any_mode: 0o6000,
        ..SweepQuery::default()
    }
}

fn setid_programs(ctx: &Ctx<'_>) -> Result<Vec<String>, Stop> {
    let result = ctx.sweep(&setid_query())?;
    if let Some(why) = result.incomplete() {
        return Err(Stop::unreadable("file-system walk", why));
    }
    Ok(result
        .hits
        .iter()
        .filter(|hit| hit.stat.mode & 0o111 != 0)
        .map(|hit| hit.path.clone())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Tool;
    use super::super::super::outcome::Verdict::{self, Error, Fail, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(toml: &str, disk: &str, loaded: Option<&str>, expected: Verdict) {
        let mut facts = tree(&[("/etc/audit/rules.d/x.rules", disk)]);
        if let Some(loaded) = loaded {
            facts.live = true;
            facts.outputs.insert(Tool::AuditRules, Ok(Some(loaded.into())));
            facts
                .outputs
                .insert(Tool::AuditStatus, Ok(Some("enabled 2\nfailure 1\n".into())));
        }
        let outcome = outcome_of(&format!("kind = \"audit_rule\"\n{toml}"), &facts);
        assert_eq!(outcome.result, expected, "{toml}\n{disk}\n{outcome:?}");
    }

    #[test]
    fn watches_and_programs() {
        let sudoers = "watch = [\"/etc/sudoers\"]";
        check(sudoers, "-w /etc/sudoers -p wa -k scope\n", None, Pass);
        check(sudoers, "-w /etc/sudoers -p w -k scope\n", None, Fail);
        check(
            sudoers,
            "-a always,exit -F arch=b64 -F path=/etc/sudoers -F perm=wa -F key=x\n",
            None,
            Pass,
        );
        check(sudoers, "-w /etc/sudoers -p wa\n", Some("No rules\n"), Fail);
        check(
            sudoers,
            "-w /etc/sudoers -p wa\n",
            Some("-w /etc/sudoers -p rwxa -k x\n"),
            Pass,
        );
        check("watch = [\"/var/run/utmp\"]", "-w /run/utmp -p wa\n", None, Pass);
        let su = "exec = [\"/usr/bin/su\"]";
        check(
            su,
            "-a always,exit -F path=/usr/bin/su -F perm=x -F auid>=1000 -F auid!=unset -k p\n",
            None,
            Pass,
        );
        check(
            su,
            "-a always,exit -F path=/usr/bin/su -F perm=x -F auid=1000 -k p\n",
            None,
            Fail,
        );
        check(su, "-a never,exit -F path=/usr/bin/su -F perm=x\n", None, Fail);
    }

    #[test]
    fn system_calls() {
        let chmod = "syscalls = [\"chmod\"]\nfields = [\"auid>=1000\", \"auid!=unset\"]";
        let both = "-a always,exit -F arch=b64 -S fchmod,chmod -F auid>=1000 -F auid!=-1 -F key=x\n-a always,exit -F arch=b32 -S chmod -F auid>=1000 -F auid!=4294967295\n";
        check(chmod, both, None, Pass);
        check(chmod, both.lines().next().unwrap(), None, Fail);
        check(chmod, &both.replace("auid>=1000", "auid>=1001"), None, Fail);
        check(
            &format!("{chmod}\nonly64 = true"),
            both.lines().next().unwrap(),
            None,
            Pass,
        );
        let open = "only64 = true\nsyscalls = [\"open\"]\nexits = [\"-EACCES\", \"-EPERM\"]\nfields = [\"auid>=1000\", \"auid!=unset\"]";
        check(
            open,
            "-a always,exit -F arch=b64 -S open -F exit=-EACCES -F auid>=1000 -F auid!=unset\n-a always,exit -F arch=b64 -S open -F exit=-EPERM -F auid>=1000 -F auid!=unset\n",
            None,
            Pass,
        );
        check(
            open,
            "-a always,exit -F arch=b64 -S open -F exit=-EACCES -F auid>=1000 -F auid!=unset\n",
            None,
            Fail,
        );
        let emulation =
            "only64 = true\nsyscalls = [\"execve\"]\ncompares = [\"euid!=uid\"]\nfields = [\"auid!=unset\"]";
        check(
            emulation,
            "-a always,exit -F arch=b64 -C uid!=euid -F auid!=unset -S execve -k x\n",
            None,
            Pass,
        );
    }

    #[test]
    fn control_lines() {
        let locked = "control = [\"-e\", \"2\"]";
        check(locked, "-e 1\n-e 2\n", None, Pass);
        check(locked, "-e 2\n-e 1\n", None, Fail);
        check(locked, "-e 2\n", Some(""), Pass);
        check(locked, "", Some(""), Fail);
    }

    #[test]
    fn refused_answers_are_errors() {
        let mut facts = tree(&[("/etc/audit/rules.d/x.rules", "-w /a -p wa\n")]);
        facts.live = true;
        facts
            .outputs
            .insert(Tool::AuditRules, Err("operation not permitted".into()));
        let outcome = outcome_of("kind = \"audit_rule\"\nwatch = [\"/a\"]", &facts);
        assert_eq!(outcome.result, Error);
    }
}
