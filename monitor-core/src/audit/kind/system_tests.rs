use super::super::super::facts::{Facts, Stat, Tool};
use super::super::super::outcome::Verdict::{self, Error, Fail, NotChecked, Pass};
use super::super::super::testkit::{outcome_of, tree};

fn check(toml: &str, facts: &Facts, expected: Verdict) {
    let outcome = outcome_of(toml, facts);
    assert_eq!(outcome.result, expected, "{toml}\n{outcome:?}");
}

#[test]
fn selinux_needs_both_halves() {
    let toml = "kind = \"selinux\"\nmodes = [\"enforcing\"]";
    let mut facts = tree(&[("/etc/selinux/config", "SELINUX=enforcing\n")]);
    check(toml, &facts, Pass);
    facts.live = true;
    facts
        .texts
        .insert("/sys/fs/selinux/enforce".into(), Ok(Some("0".into())));
    check(toml, &facts, Fail);
    check(
        toml,
        &tree(&[("/etc/selinux/config", "SELINUX=permissive\n")]),
        Fail,
    );
}

#[test]
fn banners_tell_nothing() {
    let issue = "kind = \"banner\"\nfile = \"/etc/issue\"\nneeds_text = true";
    check(issue, &tree(&[("/etc/issue", "Authorized users only.\n")]), Pass);
    check(
        issue,
        &tree(&[("/etc/issue", "\\S\nKernel \\r on an \\m\n")]),
        Fail,
    );
    check(
        issue,
        &tree(&[("/etc/issue", "Welcome to Rocky Linux 9\n")]),
        Fail,
    );
    check(issue, &tree(&[("/etc/issue", "\n")]), Fail);
    check(issue, &tree(&[]), Fail);
    check("kind = \"banner\"\nfile = \"/etc/motd\"", &tree(&[]), Pass);
}

#[test]
fn listening_addresses() {
    let toml = "kind = \"listening\"\nports = [25]";
    let head = "  sl  local_address rem_address   st\n";
    let mut facts = tree(&[]);
    facts.live = true;
    let set = |facts: &mut Facts, line: &str| {
        facts
            .texts
            .insert("/proc/net/tcp".into(), Ok(Some(format!("{head}{line}").into())));
    };
    set(&mut facts, "   0: 0100007F:0019 00000000:0000 0A 0 0 0\n");
    check(toml, &facts, Pass);
    set(&mut facts, "   0: 00000000:0019 00000000:0000 0A 0 0 0\n");
    check(toml, &facts, Fail);
    set(&mut facts, "   0: 00000000:0019 00000000:0000 01 0 0 0\n");
    check(toml, &facts, Pass);
    check(toml, &tree(&[]), NotChecked);
}

#[test]
fn firewalls() {
    let trusted = "kind = \"firewall\"\nask = \"loopback_trusted\"";
    let zone = "<zone target=\"ACCEPT\"><interface name=\"lo\"/></zone>";
    check(
        trusted,
        &tree(&[("/etc/firewalld/zones/trusted.xml", zone)]),
        Pass,
    );
    check(trusted, &tree(&[]), NotChecked);
    let mut facts = tree(&[]);
    facts.live = true;
    facts.outputs.insert(
        Tool::Nft,
        Ok(Some(
            "table inet f {\n chain i { type filter hook input priority 0; policy drop; }\n}\n".into(),
        )),
    );
    check("kind = \"firewall\"\nask = \"nft_base_chains\"", &facts, Fail);
    check(trusted, &facts, Fail);
    facts.outputs.insert(Tool::Nft, Ok(None));
    check(trusted, &facts, Error);
    let public = (
        "/usr/lib/firewalld/zones/public.xml",
        "<zone><service name=\"ssh\"/></zone>",
    );
    check(
        "kind = \"firewall\"\nask = \"default_deny\"",
        &tree(&[public]),
        Pass,
    );
}

#[test]
fn aide_rules() {
    let conf = "@@define DBDIR /var/lib/aide\ndatabase_in=file:@@{DBDIR}/aide.db.gz\nNORMAL = p+i+n+u+g+s+m+c+acl+selinux+xattrs+sha512\n/sbin/auditctl NORMAL\n/etc p+i\n";
    let mut facts = tree(&[
        ("/etc/aide.conf", conf),
        ("/etc/cron.d/aide", "0 5 * * * root /usr/sbin/aide --check\n"),
    ]);
    let database = "kind = \"aide\"\ndatabase = true";
    check(database, &facts, Fail);
    facts.stats.insert(
        "/var/lib/aide/aide.db.gz".into(),
        Ok(Some(Stat {
            size: 5,
            ..Stat::default()
        })),
    );
    check(database, &facts, Pass);
    check("kind = \"aide\"\nscheduled = true", &facts, Pass);
    check("kind = \"aide\"\nmailed = true", &facts, Fail);
    check(
        "kind = \"aide\"\npaths = [\"/sbin/auditctl\"]\nattributes = [\"sha512\", \"acl\"]",
        &facts,
        Pass,
    );
    check(
        "kind = \"aide\"\npaths = [\"/sbin/auditd\"]\nattributes = [\"sha512\"]",
        &facts,
        Fail,
    );
    check("kind = \"aide\"\nattributes = [\"acl\"]", &facts, Fail);
}

#[test]
fn kernel_files() {
    let toml = "kind = \"kernel_file\"\npath = \"/proc/sys/crypto/fips_enabled\"\nexpect = { eq = \"1\" }";
    let mut facts = tree(&[]);
    check(toml, &facts, NotChecked);
    facts.live = true;
    facts
        .texts
        .insert("/proc/sys/crypto/fips_enabled".into(), Ok(Some("0\n".into())));
    check(toml, &facts, Fail);
}

#[test]
fn links() {
    let toml = "kind = \"link\"\npaths = [\"/etc/systemd/system/default.target\"]\nexpect = { regex = \"multi-user[.]target$\" }";
    let mut facts = tree(&[]);
    check(toml, &facts, Verdict::NotApplicable);
    let path = "/etc/systemd/system/default.target";
    facts.links.insert(
        path.into(),
        Ok(Some("/usr/lib/systemd/system/graphical.target".into())),
    );
    check(toml, &facts, Fail);
    facts.links.insert(
        path.into(),
        Ok(Some("/usr/lib/systemd/system/multi-user.target".into())),
    );
    check(toml, &facts, Pass);
}
