//! Records of kernel modules.

use super::attack;
use super::ecs::{CodeSignature, Event, File};
use super::own::{Own, OwnModule};
use super::parts::{file_fields, threat};
use super::text::shown;
use super::{Draft, Scene};
use crate::event::{ModuleAction, ModuleChange, SignatureState};
use hardpan_abi::ModuleOrigin;

/// A record of a module that was loaded or is about to be freed. `build_id` is the one in the module's ELF note.
pub fn module_change(event: &ModuleChange, build_id: Option<&[u8]>, scene: &Scene<'_>) -> Draft {
    let mut own = Own::default();
    let mut process = scene.process(&mut own, &event.head.task, &event.creds);
    process.executable = scene
        .executable
        .map(|path| shown(&mut own, "process.executable", path));
    let name = shown(&mut own, "module.name", &event.name);
    let loads = event.action == ModuleAction::Load;
    let alert = loads && event.signature == SignatureState::NotGood;
    let signature = match event.signature {
        SignatureState::Good => "good",
        SignatureState::NotGood => "not-good",
        SignatureState::Unknown => "unknown",
    };
    let message = match (event.action, event.signature) {
        (ModuleAction::Free, _) => format!("kernel module {name} unloaded"),
        (ModuleAction::Load, SignatureState::Good) => format!("kernel module {name} loaded, signature good"),
        (ModuleAction::Load, SignatureState::NotGood) => {
            format!("kernel module {name} loaded without a good signature")
        }
        (ModuleAction::Load, SignatureState::Unknown) => {
            format!("kernel module {name} loaded; the kernel does not check signatures")
        }
    };
    let fields = Event {
        kind: if alert { "alert" } else { "event" },
        category: if alert {
            vec!["driver", "intrusion_detection"]
        } else {
            vec!["driver"]
        },
        types: match (event.action, alert) {
            (ModuleAction::Free, _) => vec!["end"],
            (ModuleAction::Load, false) => vec!["start"],
            (ModuleAction::Load, true) => vec!["start", "info"],
        },
        action: if loads {
            "kernel-module-loaded"
        } else {
            "kernel-module-unloaded"
        },
        outcome: Some("success"),
        severity: if alert { 4 } else { 2 },
        dataset: "hardpan.module",
        provider: "bpf",
        ..Event::default()
    };
    own.module = Some(OwnModule {
        name: name.clone(),
        origin: match event.origin {
            ModuleOrigin::File => "file",
            ModuleOrigin::Memory => "memory",
            ModuleOrigin::Unknown => "unknown",
        },
        signature,
        taints: format!("{:#x}", event.taints),
        build_id: build_id.map(hex::encode),
    });
    let mut draft = Draft::new(scene.at_us, 1, fields, message);
    draft.file = Some(File {
        name: Some(name),
        code_signature: loads.then(|| CodeSignature {
            exists: (event.signature == SignatureState::Good).then_some(true),
            valid: match event.signature {
                SignatureState::Good => Some(true),
                SignatureState::NotGood => Some(false),
                SignatureState::Unknown => None,
            },
            status: signature,
            ..CodeSignature::default()
        }),
        ..event.file.as_ref().map(file_fields).unwrap_or_default()
    });
    draft.threat = alert.then(|| threat(&attack::KERNEL_MODULE));
    draft.user = Some(scene.acting_user(&event.creds));
    draft.container = scene.container();
    draft.process = Some(process);
    draft.own = own;
    draft
}
