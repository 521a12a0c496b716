//! Users, groups and password ages.

use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::Outcome;
use super::super::parse::accounts::{self, Group, Shadow, User, no_login};
use super::super::parse::keyvalue::plain_lines;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A question about the account databases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// The question.
    pub ask: AccountQuestion,
    /// Bound of the questions that have one, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<i64>,
    /// Names the question is about (hash methods, groups).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountQuestion {
    /// No two users share a number.
    UniqueUid,
    /// No two users share a name.
    UniqueUserName,
    /// No two groups share a number.
    UniqueGid,
    /// No two groups share a name.
    UniqueGroupName,
    /// Only root has user number 0.
    OnlyRootUidZero,
    /// Only root has primary group 0 (and the login shells of sync, shutdown, halt, operator).
    OnlyRootGidZero,
    /// Only group root has number 0.
    OnlyRootGroupZero,
    /// Every primary group exists.
    PrimaryGroupsExist,
    /// Every password stands in shadow.
    Shadowed,
    /// No user can log in without a password.
    NoEmptyPassword,
    /// Password hashes use one of the named methods.
    HashMethod,
    /// Last password change is not in the future.
    LastChangePast,
    /// Maximum password age of users with a password is at most `days`.
    MaxDays,
    /// Minimum password age is at least `days`.
    MinDays,
    /// Warning time is at least `days`.
    WarnDays,
    /// Accounts lock at most `days` after the password expired.
    InactiveDays,
    /// System accounts have no login shell.
    SystemNoShell,
    /// System accounts have no password.
    SystemNoPassword,
    /// Accounts whose shell is not listed in /etc/shells are locked.
    InvalidShellLocked,
    /// root has a password or is locked.
    RootPassword,
    /// The named group exists and has no member.
    EmptyGroup,
    /// Interactive users have a home directory named in passwd.
    HomeDefined,
    /// Interactive users, listed for review.
    ListUsers,
    /// Accounts of temporary use expire within `days` (listed for review).
    ListExpiry,
}

struct Db {
    users: Vec<User>,
    groups: Vec<Group>,
    shadows: BTreeMap<String, Shadow>,
    uid_min: u32,
    today: Option<i64>,
}

fn read(ctx: &Ctx<'_>, needs_shadow: bool) -> Result<Db, Stop> {
    let mut paths = vec!["/etc/passwd", "/etc/group", "/etc/login.defs"];
    if needs_shadow {
        paths.push("/etc/shadow");
    }
    ctx.prefetch(paths.iter().map(|path| Want::Text((*path).to_owned())));
    let need = |path: &str| {
        ctx.text(path)?
            .ok_or_else(|| Stop::unreadable(path, "no such file"))
    };
    let users = accounts::passwd(need("/etc/passwd")?);
    if let Some(line) = users.bad.first() {
        return Err(Stop::unreadable(
            format!("/etc/passwd:{line}"),
            "not a passwd line",
        ));
    }
    let groups = accounts::group(need("/etc/group")?);
    if let Some(line) = groups.bad.first() {
        return Err(Stop::unreadable(format!("/etc/group:{line}"), "not a group line"));
    }
    let shadows = if needs_shadow {
        accounts::shadow(need("/etc/shadow")?).entries
    } else {
        Vec::new()
    };
    Ok(Db {
        users: users.entries,
        groups: groups.entries,
        shadows: shadows
            .into_iter()
            .map(|shadow| (shadow.name.clone(), shadow))
            .collect(),
        uid_min: uid_min(ctx.text("/etc/login.defs")?.unwrap_or_default()),
        today: ctx.facts.today,
    })
}

/// `UID_MIN` of login.defs; 1000 where it is not set.
pub(super) fn uid_min(login_defs: &str) -> u32 {
    plain_lines(login_defs)
        .filter_map(|(_, line)| line.strip_prefix("UID_MIN"))
        .find_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(1000)
}

/// Users that log in: number from UID_MIN, not nobody, a login shell.
pub(super) fn interactive(ctx: &Ctx<'_>) -> Result<Vec<User>, Stop> {
    let db = read(ctx, false)?;
    Ok(db
        .users
        .into_iter()
        .filter(|user| is_person(user, db.uid_min))
        .collect())
}

fn is_person(user: &User, uid_min: u32) -> bool {
    user.uid >= uid_min && user.uid != 65534 && user.name != "nfsnobody" && !no_login(&user.shell)
}

fn is_system(user: &User, uid_min: u32) -> bool {
    (user.uid < uid_min || user.uid == 65534)
        && user.uid != 0
        && !["sync", "shutdown", "halt", "nfsnobody", "operator"].contains(&user.name.as_str())
}

impl Accounts {
    fn needs_shadow(&self) -> bool {
        use AccountQuestion as Q;
        matches!(
            self.ask,
            Q::NoEmptyPassword
                | Q::HashMethod
                | Q::LastChangePast
                | Q::MaxDays
                | Q::MinDays
                | Q::WarnDays
                | Q::InactiveDays
                | Q::SystemNoPassword
                | Q::InvalidShellLocked
                | Q::RootPassword
                | Q::ListExpiry
        )
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        use AccountQuestion as Q;
        let db = read(ctx, self.needs_shadow())?;
        let mut outcome = Outcome::start();
        match self.ask {
            Q::UniqueUid => unique(
                &mut outcome,
                "uid",
                db.users.iter().map(|u| (u.uid.to_string(), u.name.as_str())),
            ),
            Q::UniqueUserName => unique(
                &mut outcome,
                "user name",
                db.users.iter().map(|u| (u.name.clone(), u.name.as_str())),
            ),
            Q::UniqueGid => unique(
                &mut outcome,
                "gid",
                db.groups.iter().map(|g| (g.gid.to_string(), g.name.as_str())),
            ),
            Q::UniqueGroupName => unique(
                &mut outcome,
                "group name",
                db.groups.iter().map(|g| (g.name.clone(), g.name.as_str())),
            ),
            Q::HomeDefined
            | Q::OnlyRootUidZero
            | Q::OnlyRootGidZero
            | Q::OnlyRootGroupZero
            | Q::PrimaryGroupsExist
            | Q::Shadowed
            | Q::SystemNoShell
            | Q::EmptyGroup
            | Q::ListUsers => self.structure(&db, &mut outcome),
            Q::InvalidShellLocked => invalid_shells(ctx, &db, &mut outcome)?,
            _ => self.passwords(&db, &mut outcome)?,
        }
        Ok(outcome.because(format!(
            "{} users and {} groups looked at",
            db.users.len(),
            db.groups.len()
        )))
    }

    fn structure(&self, db: &Db, outcome: &mut Outcome) {
        use AccountQuestion as Q;
        let gids: BTreeSet<u32> = db.groups.iter().map(|group| group.gid).collect();
        let allowed_zero = ["root", "sync", "shutdown", "halt", "operator"];
        for user in &db.users {
            let place = format!("/etc/passwd:{} {}", user.line, user.name);
            match self.ask {
                Q::OnlyRootUidZero if user.uid == 0 && user.name != "root" => {
                    outcome.expect(false, place, "uid other than 0", "0");
                }
                Q::OnlyRootGidZero if user.gid == 0 && !allowed_zero.contains(&user.name.as_str()) => {
                    outcome.expect(false, place, "primary group other than 0", "0");
                }
                Q::OnlyRootGidZero if user.name == "root" && user.gid != 0 => {
                    outcome.expect(false, place, "primary group 0", user.gid.to_string());
                }
                Q::PrimaryGroupsExist if !gids.contains(&user.gid) => {
                    outcome.expect(false, place, "a group of /etc/group", user.gid.to_string());
                }
                Q::Shadowed if user.password != "x" => {
                    let found = if user.password.is_empty() {
                        "empty"
                    } else {
                        "a hash or a lock mark"
                    };
                    outcome.expect(false, place, "x (password in shadow)", found);
                }
                Q::SystemNoShell if is_system(user, db.uid_min) && !no_login(&user.shell) => {
                    outcome.expect(false, place, "nologin or false", &user.shell);
                }
                Q::HomeDefined if is_person(user, db.uid_min) && !user.home.starts_with('/') => {
                    outcome.expect(false, place, "a home directory", &user.home);
                }
                Q::ListUsers if is_person(user, db.uid_min) => {
                    outcome.note(place, format!("uid {} shell {}", user.uid, user.shell));
                }
                _ => {}
            }
        }
        for group in &db.groups {
            if self.ask == Q::OnlyRootGroupZero && group.gid == 0 && group.name != "root" {
                outcome.expect(
                    false,
                    format!("/etc/group {}", group.name),
                    "gid other than 0",
                    "0",
                );
            }
            if self.ask == Q::EmptyGroup && self.names.contains(&group.name) {
                outcome.expect(
                    group.members.is_empty(),
                    format!("/etc/group {}", group.name),
                    "no member",
                    group.members.join(","),
                );
            }
        }
        if self.ask == Q::EmptyGroup && !db.groups.iter().any(|group| self.names.contains(&group.name)) {
            outcome.expect(
                false,
                "/etc/group",
                format!("group {}", self.names.join(" or ")),
                "no such group",
            );
        }
    }

    fn passwords(&self, db: &Db, outcome: &mut Outcome) -> Result<(), Stop> {
        use AccountQuestion as Q;
        let bound = self.days.unwrap_or(0);
        for shadow in db.shadows.values() {
            let place = format!("/etc/shadow {}", shadow.name);
            let shown =
                |days: Option<i64>| days.map_or_else(|| "not set".to_owned(), |days| days.to_string());
            let user = db.users.iter().find(|user| user.name == shadow.name);
            match self.ask {
                Q::NoEmptyPassword if shadow.hash.is_empty() => {
                    outcome.expect(false, place, "a password or a lock", "empty");
                }
                Q::SystemNoPassword
                    if user.is_some_and(|user| is_system(user, db.uid_min)) && shadow.has_password() =>
                {
                    outcome.expect(false, place, "no password", "a password is set");
                }
                Q::RootPassword if shadow.name == "root" => {
                    let locked = shadow.hash.starts_with(['!', '*']);
                    let found = if locked {
                        "locked"
                    } else if shadow.hash.is_empty() {
                        "empty"
                    } else {
                        "set"
                    };
                    outcome.expect(!shadow.hash.is_empty(), place, "a password or a lock", found);
                }
                Q::ListExpiry if user.is_some_and(|user| is_person(user, db.uid_min)) => {
                    outcome.note(place, format!("expires: {}", shown(shadow.expires)));
                }
                _ if !shadow.has_password() => {}
                Q::HashMethod => {
                    let method = hash_method(&shadow.hash);
                    let ok = self.names.iter().any(|name| name.eq_ignore_ascii_case(method));
                    outcome.expect(ok, place, self.names.join(" or "), method);
                }
                Q::LastChangePast => {
                    let today = db
                        .today
                        .ok_or_else(|| Stop::unreadable("the date", "not known"))?;
                    let ok = shadow.last_change.is_none_or(|day| day <= today);
                    outcome.expect(
                        ok,
                        place,
                        "a last change that is not in the future",
                        shown(shadow.last_change),
                    );
                }
                Q::MaxDays => {
                    let ok = shadow.max_days.is_some_and(|days| (1..=bound).contains(&days));
                    outcome.expect(
                        ok,
                        place,
                        format!("maximum age 1 to {bound}"),
                        shown(shadow.max_days),
                    );
                }
                Q::MinDays => {
                    let ok = shadow.min_days.is_some_and(|days| days >= bound);
                    outcome.expect(
                        ok,
                        place,
                        format!("minimum age at least {bound}"),
                        shown(shadow.min_days),
                    );
                }
                Q::WarnDays => {
                    let ok = shadow.warn_days.is_some_and(|days| days >= bound);
                    outcome.expect(
                        ok,
                        place,
                        format!("warning at least {bound} days"),
                        shown(shadow.warn_days),
                    );
                }
                Q::InactiveDays => {
                    let ok = shadow
                        .inactive_days
                        .is_some_and(|days| (0..=bound).contains(&days));
                    outcome.expect(
                        ok,
                        place,
                        format!("inactive 0 to {bound}"),
                        shown(shadow.inactive_days),
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn unique<'a>(outcome: &mut Outcome, what: &str, entries: impl Iterator<Item = (String, &'a str)>) {
    let mut by_key: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (key, name) in entries {
        by_key.entry(key).or_default().push(name);
    }
    for (key, names) in by_key.into_iter().filter(|(_, names)| names.len() > 1) {
        outcome.expect(false, format!("{what} {key}"), "used once", names.join(", "));
    }
}

fn invalid_shells(ctx: &Ctx<'_>, db: &Db, outcome: &mut Outcome) -> Result<(), Stop> {
    let shells = ctx.text("/etc/shells")?.unwrap_or_default();
    let valid: BTreeSet<&str> = shells
        .lines()
        .map(str::trim)
        .filter(|l| l.starts_with('/'))
        .collect();
    for user in db.users.iter().filter(|user| user.name != "root") {
        let usable = valid.contains(user.shell.as_str()) && !no_login(&user.shell);
        let open = db
            .shadows
            .get(&user.name)
            .is_some_and(|shadow| !shadow.hash.starts_with(['!', '*']));
        if !usable && open {
            let place = format!("/etc/shadow {}", user.name);
            outcome.expect(
                false,
                place,
                "locked, since the shell is not valid",
                format!("shell {}", user.shell),
            );
        }
    }
    Ok(())
}

fn hash_method(hash: &str) -> &'static str {
    match hash.split('$').nth(1) {
        Some("6") => "sha512",
        Some("5") => "sha256",
        Some("y") => "yescrypt",
        Some("7") => "scrypt",
        Some("1") => "md5",
        Some("2a" | "2b" | "2y") => "bcrypt",
        Some(_) => "unknown",
        None => "des",
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Error, Fail, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/bash\nbin:x:1:1::/bin:/sbin/nologin\nann:x:1000:1000::/home/ann:/bin/bash\n";
    const GROUP: &str = "root:x:0:\nbin:x:1:\nann:x:1000:\nsugroup:x:50:\n";
    const SHADOW: &str =
        "root:$6$a$b:19000:1:365:7:45::\nbin:*:19000:0:99999:7:::\nann:$y$j9T$x:19000:1:365:7:30::\n";

    fn check(ask: &str, extra: [&str; 3], expected: Verdict) {
        let mut facts = tree(&[
            ("/etc/passwd", &format!("{PASSWD}{}", extra[0])),
            ("/etc/group", &format!("{GROUP}{}", extra[1])),
            ("/etc/shadow", &format!("{SHADOW}{}", extra[2])),
            ("/etc/shells", "/bin/bash\n"),
        ]);
        facts.today = Some(20000);
        let outcome = outcome_of(&format!("kind = \"accounts\"\n{ask}"), &facts);
        assert_eq!(outcome.result, expected, "{ask} {extra:?}\n{outcome:?}");
    }

    #[test]
    fn questions_with_a_good_and_a_bad_answer() {
        for (ask, bad) in [
            (
                "ask = \"unique_uid\"",
                ["bob:x:1000:1000::/h:/bin/bash\n", "", ""],
            ),
            (
                "ask = \"unique_user_name\"",
                ["ann:x:1001:1000::/h:/bin/bash\n", "", ""],
            ),
            ("ask = \"unique_gid\"", ["", "two:x:1000:\n", ""]),
            ("ask = \"unique_group_name\"", ["", "ann:x:1009:\n", ""]),
            (
                "ask = \"only_root_uid_zero\"",
                ["toor:x:0:1::/:/bin/bash\n", "", ""],
            ),
            (
                "ask = \"only_root_gid_zero\"",
                ["bob:x:1001:0::/:/bin/bash\n", "", ""],
            ),
            ("ask = \"only_root_group_zero\"", ["", "wheel:x:0:\n", ""]),
            (
                "ask = \"primary_groups_exist\"",
                ["bob:x:1001:77::/:/bin/bash\n", "", ""],
            ),
            ("ask = \"shadowed\"", ["bob::1001:1000::/:/bin/bash\n", "", ""]),
            ("ask = \"no_empty_password\"", ["", "", "bob::19000:::::\n"]),
            ("ask = \"last_change_past\"", ["", "", "bob:$6$:29000:::::\n"]),
            (
                "ask = \"max_days\"\ndays = 365",
                ["", "", "bob:$6$:19000:1:400:7:30:\n"],
            ),
            (
                "ask = \"min_days\"\ndays = 1",
                ["", "", "bob:$6$:19000:0:400:7:30:\n"],
            ),
            (
                "ask = \"warn_days\"\ndays = 7",
                ["", "", "bob:$6$:19000:0:400::30:\n"],
            ),
            (
                "ask = \"inactive_days\"\ndays = 45",
                ["", "", "bob:$6$:19000:0:400:7::\n"],
            ),
            (
                "ask = \"system_no_shell\"",
                ["svc:x:200:1::/:/bin/bash\n", "", ""],
            ),
            (
                "ask = \"system_no_password\"",
                ["svc:x:200:1::/:/sbin/nologin\n", "", "svc:$6$a:19000:::::\n"],
            ),
            (
                "ask = \"invalid_shell_locked\"",
                ["x:x:1009:1::/:/opt/sh\n", "", "x:$6$a:19000:::::\n"],
            ),
            (
                "ask = \"hash_method\"\nnames = [\"sha512\", \"yescrypt\"]",
                ["", "", "bob:$1$a:19000:::::\n"],
            ),
            (
                "ask = \"empty_group\"\nnames = [\"sugroup\"]",
                ["", "sugroup:x:51:ann\n", ""],
            ),
            (
                "ask = \"home_defined\"",
                ["bob:x:1001:1000:::/bin/bash\n", "", ""],
            ),
        ] {
            check(ask, ["", "", ""], Pass);
            check(ask, bad, Fail);
        }
        check("ask = \"unique_uid\"", ["broken\n", "", ""], Error);
        check(
            "ask = \"empty_group\"\nnames = [\"nobodyhere\"]",
            ["", "", ""],
            Fail,
        );
    }
}
