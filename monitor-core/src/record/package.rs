//! Records of packages that package managers open.

use super::ecs::{Event, File};
use super::own::Own;
use super::parts::{file_fields, package_fields};
use super::text::shown;
use super::{Draft, Scene};
use crate::event::PackageOpened;
use crate::verdict::{Package, TrustOrigin};

/// A record of a package that a package manager opened. `found` is the package, whose key signed it and how many of its
/// files may execute from now on; or why nothing of it is trusted.
pub fn package_opened(
    event: &PackageOpened,
    found: Result<(&Package, &str, usize), &str>,
    scene: &Scene<'_>,
) -> Draft {
    let mut own = Own::default();
    let mut process = scene.process(&mut own, &event.head.task, &event.creds);
    process.executable = scene
        .executable
        .map(|path| shown(&mut own, "process.executable", path));
    let path = shown(&mut own, "file.path", &event.path);
    let message = match found {
        Ok((package, signer, files)) => format!(
            "{package} (signed by {signer}) is being looked at or installed: while it is being installed {files} of its files may run \
             before the package database lists them"
        ),
        Err(why) => format!("{path} is being looked at or installed, and nothing of it is trusted: {why}"),
    };
    let fields = Event {
        kind: "event",
        category: vec!["package"],
        types: vec!["access"],
        action: "package-opened",
        outcome: Some(if found.is_ok() { "success" } else { "failure" }),
        severity: if found.is_ok() { 1 } else { 3 },
        dataset: "hardpan.package",
        provider: "bpf",
        ..Event::default()
    };
    let mut draft = Draft::new(scene.at_us, 1, fields, message);
    draft.file = Some(File {
        path: Some(path),
        name: Some(event.path.file_name().text().into_owned()),
        ..file_fields(&event.file)
    });
    draft.package = found
        .ok()
        .map(|(package, _, _)| package_fields(package, TrustOrigin::Verified));
    draft.user = Some(scene.acting_user(&event.creds));
    draft.container = scene.container();
    draft.process = Some(process);
    draft.own = own;
    draft
}
