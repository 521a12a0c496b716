//! What each shipped layer says, as text that is reviewed as a diff (`UPDATE_EXPECT=1` writes it anew).

use super::*;
use crate::policy::show;
use expect_test::expect_file;

#[test]
fn the_base() {
    let files: Vec<(Layer, String, &str)> = shipped::SHIPPED
        .iter()
        .filter(|(name, _)| name.starts_with("base/"))
        .map(|(name, text)| (Layer::Base, format!("policies/{name}"), *text))
        .collect();
    let files: Vec<(Layer, &str, &str)> = files
        .iter()
        .map(|(layer, name, text)| (*layer, name.as_str(), *text))
        .collect();
    let (resolved, problems) = merge(&files);
    assert_eq!(lines(&problems), "");
    expect_file!["golden/base.txt"].assert_eq(&show::text(&resolved));
}

/// The host that layers are compared on.
fn reference() -> Selector {
    selector(9, "rhel", "x86-64-v3", "server", "balanced")
}

/// What one change of the reference host does to its policy.
fn check_difference(name: &str, change: impl Fn(&mut Selector)) {
    let mut changed = reference();
    change(&mut changed);
    let (before, problems) = load(&reference(), &[]);
    assert_eq!(lines(&problems), "");
    let (after, problems) = load(&changed, &[]);
    assert_eq!(lines(&problems), "");
    let text = format!(
        "# from {}\n# to   {}\n{}",
        show::title(&reference()),
        show::title(&changed),
        show::diff_text(&show::diff(&before, &after))
    );
    let path = format!(
        "{}/src/policy/tests/golden/{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    expect_file![path].assert_eq(&text);
}

#[test]
fn each_layer_differs_as_reviewed() {
    for el in [8, 10] {
        check_difference(&format!("el{el}"), |selector| selector.el = el);
    }
    for vendor in shipped::names("vendor") {
        check_difference(&format!("vendor-{vendor}"), |selector| {
            selector.vendor = vendor.to_owned();
        });
    }
    for hardware in shipped::names("hardware") {
        check_difference(&format!("hardware-{hardware}"), |selector| {
            selector.hardware = hardware.to_owned();
        });
    }
    for role in shipped::names("role") {
        check_difference(&format!("role-{role}"), |selector| {
            selector.role = role.to_owned();
        });
    }
    for level in shipped::names("level") {
        check_difference(&format!("level-{level}"), |selector| {
            selector.level = level.to_owned();
        });
    }
    check_difference("aarch64-el8", |selector| {
        selector.el = 8;
        selector.hardware = "aarch64".to_owned();
    });
    check_difference("container-host-locked", |selector| {
        selector.role = "container-host".to_owned();
        selector.level = "locked".to_owned();
    });
    check_difference("hpc-locked", |selector| {
        selector.role = "hpc".to_owned();
        selector.level = "locked".to_owned();
    });
}
