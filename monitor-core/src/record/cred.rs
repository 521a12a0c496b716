//! Records of credential changes.

use super::ecs::{Event, Related, User};
use super::own::{Own, OwnCredentials, OwnCreds};
use super::text::shown;
use super::{Draft, Scene};
use crate::event::CredChange;
use crate::process::capability_names;
use hardpan_abi::{CredIds, CredWitness};

/// A record of changed credentials.
pub fn cred_change(event: &CredChange, scene: &Scene<'_>) -> Draft {
    let mut own = Own::default();
    let mut process = scene.process(&mut own, &event.head.task, &event.new);
    process.executable = scene
        .executable
        .map(|path| shown(&mut own, "process.executable", path));
    let had = event.old.cap_permitted | event.old.cap_effective;
    let has = event.new.cap_permitted | event.new.cap_effective;
    own.credentials = Some(OwnCredentials {
        before: creds(&event.old),
        after: creds(&event.new),
        witness: witness(event.witness),
        gained: capability_names(has & !had),
        lost: capability_names(had & !has),
    });
    let mut user = scene.acting_user(&event.old);
    if event.old.euid != event.new.euid {
        user.changes = Some(Box::new(scene.user(event.new.euid)));
    }
    let fields = Event {
        kind: "event",
        category: vec!["process"],
        types: vec!["change"],
        action: "credentials-changed",
        outcome: Some("success"),
        severity: if raises(event) { 2 } else { 1 },
        dataset: "hardpan.cred",
        provider: "bpf",
        ..Event::default()
    };
    let mut draft = Draft::new(scene.at_us, 1, fields, message(event, process.name.as_deref()));
    let mut names: Vec<String> = [Some(&user), user.changes.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(|user: &User| user.name.clone())
        .collect();
    names.dedup();
    draft.related = Some(Related {
        user: names,
        ..Related::default()
    });
    draft.user = Some(user);
    draft.container = scene.container();
    draft.process = Some(process);
    draft.own = own;
    draft
}

/// More power than before: user 0, or capabilities that were not there.
fn raises(event: &CredChange) -> bool {
    let gained = event.new.cap_effective & !event.old.cap_effective;
    gained != 0 || (event.new.euid == 0 && event.old.euid != 0)
}

fn message(event: &CredChange, name: Option<&str>) -> String {
    let (old, new) = (&event.old, &event.new);
    let who = format!("{} (pid {})", name.unwrap_or("?"), event.head.task.process.tgid);
    let by = match event.witness {
        CredWitness::None => "with no announcing hook",
        CredWitness::SetUid => "by a set*id call",
        CredWitness::CapSet => "by capset",
        CredWitness::Exec => "by exec",
    };
    let mut changes = Vec::new();
    for (name, before, after) in [
        ("uid", old.uid, new.uid),
        ("euid", old.euid, new.euid),
        ("suid", old.suid, new.suid),
        ("fsuid", old.fsuid, new.fsuid),
        ("gid", old.gid, new.gid),
        ("egid", old.egid, new.egid),
        ("sgid", old.sgid, new.sgid),
        ("fsgid", old.fsgid, new.fsgid),
        ("securebits", old.securebits, new.securebits),
        ("user namespace", old.user_ns, new.user_ns),
    ] {
        if before != after {
            changes.push(format!("{name} {before} to {after}"));
        }
    }
    for (name, before, after) in [
        ("effective", old.cap_effective, new.cap_effective),
        ("permitted", old.cap_permitted, new.cap_permitted),
        ("inheritable", old.cap_inheritable, new.cap_inheritable),
        ("ambient", old.cap_ambient, new.cap_ambient),
        ("bounding", old.cap_bset, new.cap_bset),
    ] {
        if before != after {
            changes.push(format!("{name} capabilities {before:x} to {after:x}"));
        }
    }
    // The record holds every field; the message needs the ones that matter most, which come first.
    let more = changes.len().saturating_sub(SHOWN);
    changes.truncate(SHOWN);
    let text = changes.join(", ");
    if more > 0 {
        format!("{who}: {text} and {more} more, {by}")
    } else {
        format!("{who}: {text}, {by}")
    }
}

/// Changes that a message names.
const SHOWN: usize = 3;

const fn witness(witness: CredWitness) -> &'static str {
    match witness {
        CredWitness::None => "none",
        CredWitness::SetUid => "setuid",
        CredWitness::CapSet => "capset",
        CredWitness::Exec => "exec",
    }
}

pub(super) fn creds(ids: &CredIds) -> OwnCreds {
    let set = |bits: u64| format!("{bits:016x}");
    OwnCreds {
        uid: ids.uid.to_string(),
        euid: ids.euid.to_string(),
        suid: ids.suid.to_string(),
        fsuid: ids.fsuid.to_string(),
        gid: ids.gid.to_string(),
        egid: ids.egid.to_string(),
        sgid: ids.sgid.to_string(),
        fsgid: ids.fsgid.to_string(),
        cap_inheritable: set(ids.cap_inheritable),
        cap_permitted: set(ids.cap_permitted),
        cap_effective: set(ids.cap_effective),
        cap_bounding: set(ids.cap_bset),
        cap_ambient: set(ids.cap_ambient),
        securebits: ids.securebits,
        user_ns: Some(ids.user_ns).filter(|ns| *ns != 0),
    }
}
