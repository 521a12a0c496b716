use super::super::testkit::tree;
use super::super::waiver::Waivers;
use super::*;

const CHECKS: &str = r#"
[[check]]
id = "hp-good"
title = "good"
ssg = ["rule_good"]
kind = "lines"
files = ["/etc/x"]
must = ["a"]
[[check]]
id = "hp-bad"
title = "bad"
ssg = ["rule_bad"]
fix = "echo b >> /etc/x"
kind = "lines"
files = ["/etc/x"]
must = ["zzz"]
[[check]]
id = "hp-ask"
title = "ask"
kind = "manual"
question = "Is it so?"
"#;

const MAP: &str = r#"
id = "cis-test"
family = "cis"
version = "1"
el = 9
title = "Test"
source = "own"
controls = [
  { id = "1.1", title = "good", chapter = "1", server = 1, checks = ["hp-good"] },
  { id = "1.2", title = "both", chapter = "1", server = 1, checks = ["hp-good", "hp-bad"] },
  { id = "2.1", title = "ask", chapter = "2", server = 1, automated = false, checks = ["hp-ask"] },
  { id = "2.2", title = "none", chapter = "2", server = 1 },
]
"#;

pub(super) fn report(selection: &Selection, waivers: &str) -> Report {
    let checks = Checks::parse([("c", CHECKS)]).unwrap();
    let benchmark = Benchmark::parse("b", MAP, &checks).unwrap();
    let mut facts = tree(&[]);
    let mut run = Run::new(&checks, &benchmark, Profile::CisServer(1), selection);
    let wants = run.step(&facts);
    assert!(
        wants.iter().all(|want| *want == Want::Text("/etc/x".into())),
        "{wants:?}"
    );
    facts.texts.insert("/etc/x".into(), Ok(Some("a\n".into())));
    assert!(run.step(&facts).is_empty());
    let results = run.results(&Waivers::parse(waivers).unwrap(), "cis-test", "2026-11-22");
    Report {
        schema: "hardpan-audit/1".into(),
        tool_version: "0".into(),
        profile: "cis-l1-server".into(),
        profile_title: "t".into(),
        benchmark: "cis-test".into(),
        benchmark_title: "Test".into(),
        benchmark_version: "1".into(),
        host: Host::default(),
        addresses: vec!["192.0.2.7".into(), "2001:db8::7".into()],
        root: "/".into(),
        live: false,
        started: "2026-11-22T00:00:00Z".into(),
        finished: "2026-11-22T00:00:01Z".into(),
        coverage: coverage(&checks, &benchmark.select(Profile::CisServer(1))),
        counts: counts(&results),
        score: score(&results),
        warnings: Vec::new(),
        results,
    }
}

fn words(report: &Report) -> Vec<&str> {
    report.results.iter().map(|result| result.result.word()).collect()
}

#[test]
fn controls_join_their_checks() {
    let report = report(&Selection::default(), "");
    assert_eq!(words(&report), ["pass", "fail", "notchecked", "notchecked"]);
    assert_eq!(report.score.to_string(), "50");
    assert_eq!(report.exit_code(), 1);
    assert_eq!(
        report.coverage,
        Coverage {
            controls: 4,
            implemented: 2,
            manual: 1
        }
    );
    assert_eq!(report.results[1].remedies(), ["echo b >> /etc/x"]);
    assert_eq!(report.chapters().len(), 2);
}

#[test]
fn operators_select() {
    let only = Selection {
        only: vec!["1.1".into()],
        ..Selection::default()
    };
    assert_eq!(
        words(&report(&only, "")),
        ["pass", "notselected", "notselected", "notselected"]
    );
    let chapter = Selection {
        skip: vec!["2".into()],
        ..Selection::default()
    };
    assert_eq!(words(&report(&chapter, ""))[2..], ["notselected", "notselected"]);
    let check = Selection {
        skip: vec!["hp-bad".into()],
        ..Selection::default()
    };
    assert_eq!(
        words(&report(&check, ""))[1],
        "notchecked",
        "half an answer must not pass"
    );
    let text = r#"<Tailoring><Profile id="p"><select idref="xccdf_org.ssgproject.content_rule_rule_good" selected="false"/></Profile></Tailoring>"#;
    let tailored = Selection {
        tailoring: Some(Tailoring::parse(text, None).unwrap()),
        ..Selection::default()
    };
    assert_eq!(words(&report(&tailored, ""))[..2], ["notselected", "fail"]);
}

#[test]
fn a_waived_failure_stays_a_failure() {
    let waiver = |control: &str, expires: &str| {
        format!(
            "[[waiver]]\ncontrol = \"{control}\"\nreason = \"r\"\nowner = \"o\"\nexpires = \"{expires}\"\n"
        )
    };
    for (control, expires, exit) in [
        ("1.2", "2026-11-22", 0),
        ("1.2", "2026-11-21", 1),
        ("hp-bad", "2030-01-01", 0),
        ("hp-good", "2030-01-01", 1),
    ] {
        let report = report(&Selection::default(), &waiver(control, expires));
        assert_eq!(report.results[1].result, Verdict::Fail);
        assert_eq!(report.exit_code(), exit, "{control} until {expires}");
    }
}
