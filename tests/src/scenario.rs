//! Scenarios: `tests/scenarios/NAME/scenario.toml`.

use crate::plan::{Group, Part, Role};
use crate::predicate::Where;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// One scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name of its folder.
    #[serde(skip)]
    pub name: String,
    /// What it shows, in one line.
    pub summary: String,
    /// What the kernel must bring along; a kernel without it does not run the scenario.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// Tiers (`A`, `B`, `C`) at which it makes sense; empty: all.
    #[serde(default)]
    pub tiers: Vec<String>,
    /// Each part gets a daemon of its own, whose start and stop records belong to the part.
    #[serde(default)]
    pub fresh: bool,
    /// With `fresh`: one daemon of their own for both parts, the attack first. Both are prepared alike, and tidied up after
    /// the daemon has ended; records of its start and stop count for both.
    #[serde(default)]
    pub one_daemon: bool,
    /// It does not depend on the kernel: one is enough, the first of those that run.
    #[serde(default)]
    pub any_kernel: bool,
    /// Names of the kernels that it runs on, for what is too long for all; empty: all.
    #[serde(default)]
    pub kernels: Vec<String>,
    /// Those of them that it runs on unless all are asked for (`--everywhere`): a start of the daemon takes half a minute of an
    /// emulated processor, and each start tries every program on its kernel. Empty: all.
    #[serde(default)]
    pub usually: Vec<String>,
    /// It runs only if it is named: what it is about is not ready for everybody.
    #[serde(default)]
    pub only_named: bool,
    /// Seconds until a part is given up. Emulated machines are slow.
    #[serde(default = "default_limit_s")]
    pub limit_s: u64,
    /// The daemon that watches both parts.
    #[serde(default)]
    pub daemon: Daemon,
    /// What Hardpan must notice.
    pub attack: Half,
    /// What looks alike and must not alarm anybody.
    pub twin: Half,
}

fn default_limit_s() -> u64 {
    90
}

/// What a kernel must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// Loadable modules that fit the kernel.
    Modules,
    /// The attack module, built for the kernel.
    AttackModule,
    /// A Debian tree in `/hardpan-vm/lab` with tools that hardening is tried with.
    Lab,
    /// A Debian tree in `/hardpan-vm/peers` with fapolicyd and auditd.
    Peers,
    /// A Debian tree in `/hardpan-vm/sessions` with what makes somebody somebody else: sudo, login, sshd, crun, and an NFS server.
    Sessions,
    /// Signed packages of dnf in `/hardpan-vm/dnf`, to be installed, and a repository in `/hardpan-vm/bulk`.
    Dnf,
}

/// How the daemon is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Daemon {
    /// Content of `hardpan.toml`.
    pub config: String,
    /// The exit code it must end with, when it is asked to stop or when it refuses to run.
    pub exit: i32,
    /// It must refuse to run.
    pub refuses: bool,
}

/// One half of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Half {
    /// Shell text run before the daemon starts (scenarios with `fresh` only).
    pub prepare: Option<String>,
    /// Shell text that undoes `prepare`, run after the daemon stopped.
    pub restore: Option<String>,
    /// Shell text of the part; it must succeed.
    pub run: String,
    /// Records that must be there.
    #[serde(default)]
    pub expect: Vec<Expect>,
    /// Records that must not be there.
    #[serde(default)]
    pub forbid: Vec<Forbid>,
    /// Numbers that must add up.
    #[serde(default)]
    pub balance: Vec<Balance>,
}

/// Records that must be there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Conditions on each record.
    #[serde(rename = "where")]
    pub conditions: Where,
    /// Exactly so many; without it at least one.
    pub count: Option<usize>,
    /// Tiers at which this holds; empty: all.
    #[serde(default)]
    pub tiers: Vec<String>,
}

/// Records that must not be there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forbid {
    /// Conditions on each record.
    #[serde(rename = "where")]
    pub conditions: Where,
    /// Tiers at which this holds; empty: all.
    #[serde(default)]
    pub tiers: Vec<String>,
}

/// Numbers that must add up: the sum of `add` less the sum of `subtract` equals `equals`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// A number, with facts (`${execs}`) filled in.
    pub equals: String,
    /// What is added.
    pub add: Vec<Term>,
    /// What is taken away.
    #[serde(default)]
    pub subtract: Vec<Term>,
    /// How far the sum may exceed `equals`.
    #[serde(default)]
    pub slack: i64,
    /// Tiers at which this holds; empty: all.
    #[serde(default)]
    pub tiers: Vec<String>,
}

/// One term of a sum.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Which records.
    #[serde(rename = "where")]
    pub conditions: Where,
    /// The number in each to add up; without it every record counts 1.
    pub field: Option<String>,
}

/// A scenario could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The folder or a file in it cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not a scenario.
    #[error("parsing {}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why and where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A scenario contradicts itself.
    #[error("{}: {what}", path.display())]
    Unsound {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

/// Reads every scenario below `dir`, sorted by name.
pub fn load_all(dir: &Path) -> Result<Vec<Scenario>, ScenarioError> {
    let read = |source| ScenarioError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        if entry.path().join("scenario.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    names.iter().map(|name| load(dir, name)).collect()
}

fn load(dir: &Path, name: &str) -> Result<Scenario, ScenarioError> {
    let path = dir.join(name).join("scenario.toml");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ScenarioError::Read { path, source }),
    };
    parse(name, &text, path)
}

fn parse(name: &str, text: &str, path: PathBuf) -> Result<Scenario, ScenarioError> {
    let mut scenario: Scenario = match toml::from_str(text) {
        Ok(scenario) => scenario,
        Err(source) => {
            return Err(ScenarioError::Parse {
                path,
                source: Box::new(source),
            });
        }
    };
    name.clone_into(&mut scenario.name);
    let halves = [&scenario.attack, &scenario.twin];
    let unsound = |what| {
        Err(ScenarioError::Unsound {
            path: path.clone(),
            what,
        })
    };
    if !scenario.fresh
        && halves
            .iter()
            .any(|half| half.prepare.is_some() || half.restore.is_some())
    {
        return unsound("`prepare` and `restore` need `fresh = true`: other scenarios share the daemon");
    }
    if !scenario.fresh && (scenario.daemon.refuses || scenario.daemon.exit != 0) {
        return unsound(
            "`daemon.refuses` and `daemon.exit` need `fresh = true`: other scenarios share the daemon",
        );
    }
    if scenario.one_daemon && (!scenario.fresh || scenario.attack.prepare != scenario.twin.prepare) {
        return unsound("`one_daemon` needs `fresh = true` and the same `prepare` in both parts");
    }
    let texts = halves.iter().flat_map(|half| {
        [Some(&half.run), half.prepare.as_ref(), half.restore.as_ref()]
            .into_iter()
            .flatten()
    });
    if texts
        .flat_map(|text| text.lines())
        .any(|line| line.trim_start().starts_with("! "))
    {
        return unsound("`! command` never fails a script: write `not command`");
    }
    if scenario.attack.expect.is_empty() && scenario.attack.balance.is_empty() {
        return unsound("the attack expects nothing: the scenario could not fail");
    }
    if halves
        .iter()
        .any(|half| half.balance.iter().any(|balance| balance.add.is_empty()))
    {
        return unsound("a balance adds nothing up");
    }
    Ok(scenario)
}

impl Scenario {
    /// The half with this role.
    pub const fn half(&self, role: Role) -> &Half {
        match role {
            Role::Attack => &self.attack,
            Role::Twin => &self.twin,
        }
    }

    fn part(&self, role: Role) -> Part {
        Part {
            scenario: self.name.clone(),
            role,
            run: self.half(role).run.clone(),
            limit_s: self.limit_s,
            tiers: self.tiers.clone(),
        }
    }
}

/// Puts scenarios into groups: those with the same configuration share a daemon, `fresh` ones get two of their own, or one.
pub fn groups(scenarios: &[&Scenario]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for scenario in scenarios {
        if scenario.one_daemon {
            let restores = [&scenario.attack.restore, &scenario.twin.restore];
            let restores: Vec<&str> = restores.into_iter().flatten().map(String::as_str).collect();
            groups.push(Group {
                name: scenario.name.clone(),
                config: scenario.daemon.config.clone(),
                scenario: Some(scenario.name.clone()),
                prepare: scenario.attack.prepare.clone(),
                restore: (!restores.is_empty()).then(|| restores.join("\n")),
                may_refuse: scenario.daemon.refuses,
                parts: [Role::Attack, Role::Twin].map(|role| scenario.part(role)).into(),
            });
            continue;
        }
        if scenario.fresh {
            for role in [Role::Attack, Role::Twin] {
                let half = scenario.half(role);
                groups.push(Group {
                    name: format!("{}-{}", scenario.name, role.name()),
                    config: scenario.daemon.config.clone(),
                    scenario: Some(scenario.name.clone()),
                    prepare: half.prepare.clone(),
                    restore: half.restore.clone(),
                    may_refuse: scenario.daemon.refuses,
                    parts: vec![scenario.part(role)],
                });
            }
            continue;
        }
        let parts = [Role::Attack, Role::Twin].map(|role| scenario.part(role));
        let shared = groups
            .iter_mut()
            .find(|group| group.scenario.is_none() && group.config == scenario.daemon.config);
        match shared {
            Some(group) => group.parts.extend(parts),
            None => groups.push(Group {
                name: format!("shared-{}", groups.len()),
                config: scenario.daemon.config.clone(),
                scenario: None,
                prepare: None,
                restore: None,
                may_refuse: false,
                parts: parts.into(),
            }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect as Golden, expect};

    const MINIMAL: &str =
        "summary = 's'\n[attack]\nrun = 'true'\n[[attack.expect]]\nwhere.'a' = 'b'\n[twin]\nrun = ''\n";

    fn check_refused(text: &str, expected: &Golden) {
        let error = parse("x", text, "x/scenario.toml".into()).unwrap_err();
        let cause = std::error::Error::source(&error)
            .map(|cause| format!("\n{cause}"))
            .unwrap_or_default();
        expected.assert_eq(&format!("{error}{cause}"));
    }

    #[test]
    fn the_scenarios_in_the_tree_are_sound() {
        for folder in ["scenarios", "upgrade"] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let all = load_all(&dir)
                .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
            assert!(!all.is_empty());
        }
    }

    #[test]
    fn unsound_scenarios_are_refused_with_a_reason() {
        check_refused(
            "summary = 's'\n[attack]\nrun = 'true'\n[twin]\nrun = ''\n",
            &expect!["x/scenario.toml: the attack expects nothing: the scenario could not fail"],
        );
        check_refused(
            &format!("{MINIMAL}prepare = 'rm /x'\n"),
            &expect![
                "x/scenario.toml: `prepare` and `restore` need `fresh = true`: other scenarios share the daemon"
            ],
        );
        check_refused(
            &MINIMAL.replace("run = 'true'", "run = '''\nset -e\n  ! grep -q x y\n'''"),
            &expect!["x/scenario.toml: `! command` never fails a script: write `not command`"],
        );
        check_refused(
            &format!("fresh = true\none_daemon = true\n{MINIMAL}prepare = 'rm /x'\n"),
            &expect![
                "x/scenario.toml: `one_daemon` needs `fresh = true` and the same `prepare` in both parts"
            ],
        );
        check_refused(
            &format!("{MINIMAL}[daemon]\nexit = 3\n"),
            &expect![
                "x/scenario.toml: `daemon.refuses` and `daemon.exit` need `fresh = true`: other scenarios share the daemon"
            ],
        );
    }

    #[test]
    fn equal_configurations_share_a_daemon() {
        let one = |name: &str, extra: &str| parse(name, &format!("{extra}\n{MINIMAL}"), "x".into()).unwrap();
        let all = [
            one("a", ""),
            one("b", ""),
            one("c", "fresh = true"),
            one("d", "daemon.config = 'k = 1'"),
            one("e", "fresh = true\none_daemon = true"),
        ];
        let groups = groups(&all.iter().collect::<Vec<_>>());
        let names: Vec<_> = groups
            .iter()
            .map(|group| (group.name.as_str(), group.parts.len()))
            .collect();
        assert_eq!(
            names,
            [
                ("shared-0", 4),
                ("c-attack", 1),
                ("c-twin", 1),
                ("shared-3", 2),
                ("e", 2)
            ]
        );
    }
}
