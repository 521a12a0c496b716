//! A plan as an Ansible playbook, for those who roll out with Ansible and want Hardpan's choice of settings.

use super::edit::{Edit, Locator};
use super::item::Want;
use super::plan::{Entry, MODPROBE_FILE, Plan, SSHD_FILE, SYSCTL_FILE, State};
use std::fmt::Write as _;

/// The playbook. Only items that differ on this host are in it; each task is idempotent.
pub fn playbook(plan: &Plan, title: &str) -> String {
    let mut out = format!(
        "---\n# Made by `hardpan harden plan --format ansible`.\n- name: {}\n  hosts: all\n  become: true\n  tasks:\n",
        scalar(&format!("Hardpan hardening, {title}"))
    );
    let changes: Vec<&Entry> = plan
        .entries
        .iter()
        .filter(|entry| matches!(entry.state, State::Differs { .. }))
        .collect();
    if changes.is_empty() {
        out.push_str("    []\n");
    }
    for entry in changes {
        tasks(&mut out, entry);
    }
    out
}

#[expect(clippy::too_many_lines, reason = "one short arm for each kind of item")]
fn tasks(out: &mut String, entry: &Entry) {
    let item = &entry.item;
    let mut comment = String::new();
    if let Some(breaks) = &item.breaks {
        let _infallible = writeln!(comment, "    # may break: {}", plain(breaks));
    }
    if !item.controls.is_empty() {
        let _infallible = writeln!(comment, "    # satisfies: {}", plain(&item.controls.join(", ")));
    }
    let name = |more: &str| scalar(&format!("{}{more}: {}", item.id, item.reason));
    match &item.want {
        Want::Sysctl { name: key, value } => {
            let _infallible = write!(
                out,
                "{comment}    - name: {}\n      ansible.posix.sysctl:\n        name: {}\n        value: {}\n        sysctl_file: {SYSCTL_FILE}\n        state: present\n        reload: true\n",
                name(""),
                scalar(key),
                scalar(value)
            );
        }
        Want::ModuleDenied { name: module } => {
            for line in [
                format!("install {module} /bin/false"),
                format!("blacklist {module}"),
            ] {
                let verb = line.split(' ').next().unwrap_or_default().to_owned();
                line_in_file(out, &comment, &name(&format!(" {verb}")), MODPROBE_FILE, &line);
            }
        }
        Want::BootArgument {
            name: argument,
            value,
        } => {
            let word = match value.as_deref() {
                Some("") | None => argument.clone(),
                Some(value) => format!("{argument}={value}"),
            };
            let option = if value.is_some() {
                "--args"
            } else {
                "--remove-args"
            };
            let test = if value.is_some() { "not in" } else { "in" };
            let _infallible = write!(
                out,
                "{comment}    - name: {}\n      ansible.builtin.command:\n        cmd: grubby --info=ALL\n      register: hardpan_boot\n      changed_when: false\n",
                name(" (look)")
            );
            let _infallible = write!(
                out,
                "    - name: {}\n      ansible.builtin.command:\n        argv: [grubby, --update-kernel=ALL, {}]\n      when: {}\n      changed_when: true\n",
                name(""),
                scalar(&format!("{option}={word}")),
                scalar(&format!("'{word}' {test} hardpan_boot.stdout"))
            );
        }
        Want::ServiceMasked { unit } => {
            let _infallible = write!(
                out,
                "{comment}    - name: {}\n      ansible.builtin.systemd_service:\n        name: {}\n        masked: true\n        state: stopped\n",
                name(""),
                scalar(unit)
            );
        }
        Want::SetIdReduced { path, wheel } => {
            let (mode, group) = if *wheel {
                ("4710", "wheel")
            } else {
                ("0700", "root")
            };
            let _infallible = write!(
                out,
                "{comment}    - name: {}\n      ansible.builtin.file:\n        path: {}\n        mode: \"{mode}\"\n        owner: root\n        group: {group}\n",
                name(""),
                scalar(path)
            );
        }
        Want::MountOptions { .. } => {
            for edit in &entry.edits {
                if let Edit::Line { path, line } = edit
                    && let (Locator::Mount { target }, Some(after)) = (&line.locator, &line.after)
                {
                    let _infallible = write!(
                        out,
                        "{comment}    - name: {}\n      ansible.builtin.lineinfile:\n        path: {}\n        regexp: {}\n        line: {}\n",
                        name(""),
                        scalar(path),
                        scalar(&format!("^[^#\\s]+\\s+{}\\s", escape(target))),
                        scalar(after)
                    );
                }
            }
        }
        Want::Sshd { keyword, value } => {
            line_in_file(out, &comment, &name(""), SSHD_FILE, &format!("{keyword} {value}"));
        }
        Want::CryptoPolicy { policy } => {
            let _infallible = write!(
                out,
                "{comment}    - name: {}\n      ansible.builtin.command:\n        cmd: update-crypto-policies --show\n      register: hardpan_crypto\n      changed_when: false\n    - name: {}\n      ansible.builtin.command:\n        argv: [update-crypto-policies, --set, {}]\n      when: {}\n      changed_when: true\n",
                name(" (look)"),
                name(""),
                scalar(policy),
                scalar(&format!("hardpan_crypto.stdout != '{policy}'"))
            );
        }
    }
}

fn line_in_file(out: &mut String, comment: &str, name: &str, path: &str, line: &str) {
    let _infallible = write!(
        out,
        "{comment}    - name: {name}\n      ansible.builtin.lineinfile:\n        path: {path}\n        line: {}\n        create: true\n        mode: \"0644\"\n",
        scalar(line)
    );
}

/// A YAML double-quoted scalar.
fn scalar(text: &str) -> String {
    crate::policy::value::quote(text)
}

/// Text for a comment: one line.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// A path as a regular expression.
fn escape(path: &str) -> String {
    let mut out = String::new();
    for c in path.chars() {
        if !c.is_ascii_alphanumeric() && !"/_-".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
