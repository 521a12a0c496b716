//! `cargo xtask truth`: Hardpan's audits beside OpenSCAP's on the same made-up roots, check by check.
//!
//! Each disagreement must have an entry in `tests/audit/differences.toml`; docs/AUDIT-DIFFERENCES.md lists them.

mod compare;
mod oscap;
mod root;

pub(crate) use oscap::Oscap;
pub(crate) use root::{Plan, Variant, make};

use crate::error::{Done, TaskError};
use crate::place::{self, Places, program};
use crate::{sh, ui};
use clap::Args;
use compare::{Comparison, Differences, Question};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Args)]
pub(crate) struct TruthArgs {
    /// Only this release
    #[arg(long, value_name = "8|9|10", value_parser = clap::value_parser!(u8).range(8..=10))]
    el: Option<u8>,
    /// Only this profile
    #[arg(long, value_name = "cis|stig", value_parser = ["cis", "stig"])]
    profile: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Look with the ssg-rhel*-ds.xml in this folder
    #[arg(long, value_name = "DIR")]
    content: Option<PathBuf>,
    /// Keep the roots in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Releases.
const RELEASES: [u8; 3] = [8, 9, 10];

pub(crate) fn run(args: &TruthArgs) -> Done {
    let places = Places::find()?;
    if program("rpmbuild").is_none() {
        return Err(TaskError::cannot(
            "rpmbuild is not installed: no rpm database can be made",
            "run `cargo xtask setup`",
        ));
    }
    let differences = Differences::read(&places)?;
    let hardpan = built(&places)?;
    let work = tempfile::tempdir().map_err(TaskError::file("creating a folder in", "/tmp"))?;
    let mut comparisons = Vec::new();
    for el in RELEASES
        .into_iter()
        .filter(|el| args.el.is_none_or(|only| only == *el))
    {
        let content = content(&places, args.content.as_deref(), el)?;
        let oscap = Oscap::with_content(el, &content, &work.path().join("home"))?;
        for variant in [Variant::Good, Variant::Broken] {
            let roots = args.keep.as_deref().unwrap_or_else(|| work.path());
            let root = roots.join(format!("el{el}-{}", variant.name()));
            let plan = Plan { el, variant };
            make(&places, &root, &work.path().join("packages"), plan)?;
            for profile in ["cis", "stig"] {
                if args.profile.as_deref().is_some_and(|only| only != profile) {
                    continue;
                }
                ui::step(&format!("EL {el}, {profile}, {}", variant.name()));
                let questions = Question::of_benchmark(&places, profile, el)?;
                let ours = ours(&places, &hardpan, &root, work.path(), &questions)?;
                let theirs = oscap.results(&root, profile)?;
                comparisons.push(Comparison::new(
                    el,
                    profile,
                    variant,
                    &questions,
                    &ours,
                    &theirs,
                    &differences,
                ));
            }
        }
    }
    if args.json {
        let text = serde_json::to_string_pretty(&comparisons)
            .map_err(|error| TaskError::cannot(format!("writing JSON: {error}"), "this is a bug"))?;
        ui::data(&text);
    } else {
        compare::print(&comparisons);
    }
    let open: usize = comparisons
        .iter()
        .map(|comparison| comparison.unexplained.len())
        .sum();
    if open == 0 {
        return Ok(());
    }
    Err(TaskError::Found {
        what: format!("{open} disagreements without a reason in tests/audit/differences.toml"),
    })
}

/// The folder with SCAP Security Guide's content for a release: the one asked for, the installed one, or a newer one that
/// Debian has.
fn content(places: &Places, asked: Option<&Path>, el: u8) -> Done<PathBuf> {
    if let Some(asked) = asked {
        return Ok(asked.to_owned());
    }
    let installed = Path::new(oscap::CONTENT);
    if installed.join(format!("ssg-rhel{el}-ds.xml")).is_file() {
        return Ok(installed.to_owned());
    }
    crate::vm::newer_content(places)
}

/// Hardpan's answers, check by check: a benchmark is made up that has one control for each.
fn ours(
    places: &Places,
    hardpan: &Path,
    root: &Path,
    work: &Path,
    questions: &[Question],
) -> Done<BTreeMap<String, (String, String)>> {
    let content = work.join("content");
    if content.exists() {
        fs::remove_dir_all(&content).map_err(TaskError::file("removing", &content))?;
    }
    place::make_dir(&content)?;
    let checks = content.join("checks");
    std::os::unix::fs::symlink(places.root.join("policies/audit/checks"), &checks)
        .map_err(TaskError::file("linking", &checks))?;
    let controls: Vec<String> = questions
        .iter()
        .map(|question| {
            format!(
                "[[controls]]\nid = \"{0}\"\ntitle = \"{0}\"\nchecks = [\"{0}\"]\n",
                question.check
            )
        })
        .collect();
    place::write(
        &content.join("benchmarks/truth.toml"),
        format!(
            "id = \"truth\"\nfamily = \"hardening\"\nversion = \"1\"\ntitle = \"truth\"\nsource = \"own\"\n{}",
            controls.concat()
        ),
    )?;
    let report = work.join("report.json");
    let mut command = Command::new(hardpan);
    command
        .args(["audit", "--profile", "hardening", "--format", "csv", "--content"])
        .arg(&content)
        .arg("--root")
        .arg(root)
        .arg("-o")
        .arg(format!("json={}", report.display()));
    // 1: findings; 3: something could not be read, which is an answer here.
    let out = command.output().map_err(|source| TaskError::Start {
        command: sh::shown(&command),
        source,
    })?;
    if !matches!(out.status.code(), Some(0 | 1 | 3)) || !report.exists() {
        return Err(TaskError::Command {
            command: sh::shown(&command),
            ended: format!("ended with {}", out.status),
            said: String::from_utf8_lossy(&out.stderr).into_owned(),
        });
    }
    let text = place::read(&report)?;
    compare::our_results(&String::from_utf8_lossy(&text))
}

/// `hardpan` as under development: answers are compared, not times.
fn built(places: &Places) -> Done<PathBuf> {
    ui::step("hardpan");
    sh::run(
        Command::new("cargo")
            .args(["build", "--package", "hardpan", "--bin", "hardpan"])
            .current_dir(&places.root),
    )?;
    Ok(places.target().join("debug/hardpan"))
}
