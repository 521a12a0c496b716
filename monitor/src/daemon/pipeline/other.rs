//! The way of events that are no executions: credentials, modules, findings on tasks, the gate's answers, packages.

use super::Pipeline;
use crate::daemon::packages::Looked;
use crate::daemon::writes::device_path;
use crate::enrich::identity::Identity;
use crate::trust::{ExpectedFiles, SeenTrust};
use hardpan_abi::{GateClass, GateHook, TaskFindingKind, TaskResponse, WriteClass};
use hardpan_core::event::{
    CredChange, GateEvent, ModuleAction, ModuleChange, ObjectEvent, RawText, Task, TaskFinding,
};
use hardpan_core::policy::rule::observed;
use hardpan_core::record::{
    DigestSource, FileDigest, FileFacts, GateFacts, PathSource, Scene, cred_change, gate, module_change,
    object, package_opened, task_finding,
};
use hardpan_core::verdict::{NoDigest, Subject, TrustIndex, Verdict, judge};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use tracing::warn;

/// Files in doubt that wait to be looked at; others are told of again.
const MOST_IN_DOUBT: usize = 64;

impl Pipeline {
    pub(super) fn take_cred(&mut self, event: &CredChange) {
        let task = event.head.task.clone();
        let around = self.scene_of(&task, event.head.boottime_ns);
        let user_name = |uid| self.users.name(uid);
        let draft = cred_change(event, &around.scene(self.recorder.boot_id(), &user_name));
        self.record(&draft);
    }

    pub(super) fn take_module(&mut self, event: &ModuleChange) {
        let task = event.head.task.clone();
        let around = self.scene_of(&task, event.head.boottime_ns);
        let build_id = match event.action {
            ModuleAction::Load => self.proc.module_build_id(&event.name),
            ModuleAction::Free => None,
        };
        let user_name = |uid| self.users.name(uid);
        let mut draft = module_change(
            event,
            build_id.as_deref(),
            &around.scene(self.recorder.boot_id(), &user_name),
        );
        if let Some(policy) = self
            .policy
            .as_ref()
            .filter(|_| event.action == ModuleAction::Load)
        {
            let cgroup = policy.asks_proc.then(|| self.proc.cgroup(task.process)).flatten();
            let seen = observed::Around {
                container: Some(around.container.is_some()),
                parent_executable: around.parent_executable.as_ref(),
                cgroup: cgroup.as_deref(),
                asked: None,
            };
            draft.decided(&policy.module(event, seen));
        }
        self.record(&draft);
    }

    pub(super) fn take_task(&mut self, event: &TaskFinding) {
        let around = self.scene_of(&event.task, event.head.boottime_ns);
        let user_name = |uid| self.users.name(uid);
        let mut draft = task_finding(event, &around.scene(self.recorder.boot_id(), &user_name));
        // Where the response is a record only, and where memory was accessed and nothing tampered with, nothing is frozen.
        let is_answered = event.response != TaskResponse::Record && event.kind != TaskFindingKind::Accessed;
        if let Some(freezer) = &self.freezer
            && is_answered
            && self.policy.as_ref().is_some_and(|policy| policy.freeze_cgroup)
        {
            draft.froze(&freezer.freeze(&self.proc, event.task.process, event.task.cgroup_id));
        }
        if let Some(policy) = &self.policy {
            let cgroup = policy
                .asks_proc
                .then(|| self.proc.cgroup(event.task.process))
                .flatten();
            let seen = observed::Around {
                container: Some(around.container.is_some()),
                parent_executable: around.parent_executable.as_ref(),
                cgroup: cgroup.as_deref(),
                asked: None,
            };
            draft.decided(&policy.task(event, seen));
        }
        warn!("{}", draft.message());
        self.record(&draft);
    }

    pub(super) fn take_gate(&mut self, event: &GateEvent) {
        if let Some(path) = event.path.as_ref().filter(|_| event.doubt)
            && self.in_doubt.len() < MOST_IN_DOUBT
        {
            self.in_doubt
                .insert(PathBuf::from(OsStr::from_bytes(path.as_bytes())));
        }
        let task = event.head.task.clone();
        let around = self.scene_of(&task, event.head.boottime_ns);
        let host_tree = self.proc.saw_host_tree(task.process, task.mnt_ns);
        let source = if event.hook == GateHook::OpenExecPerm {
            DigestSource::UserSpace
        } else if event.digest_cached {
            DigestSource::KernelCache
        } else {
            DigestSource::Kernel
        };
        let digest = match (event.digest.sha256(), Identity::of_event(&event.file)) {
            (Some(sha256), _) => Ok(FileDigest {
                sha256: *sha256,
                source,
            }),
            (None, identity) => identity
                .and_then(|identity| self.cache.get(&identity))
                .map(|sha256| FileDigest {
                    sha256,
                    source: DigestSource::UserSpace,
                })
                .ok_or_else(|| NoDigest::of_kernel(&event.digest, NoDigest::NotHashed)),
        };
        let file = FileFacts {
            path: event
                .path
                .clone()
                .map(|path| (path, PathSource::Kernel))
                .or_else(|| match event.written? {
                    WriteClass::BlockDevice => Some((device_path(event.file.dev)?, PathSource::Proc)),
                    _ => Some((self.watched.path(&event.file)?, PathSource::Policy)),
                }),
            digest,
            kernel: event.digest,
            info: Some(event.file),
        };
        // At tier C who answers knows what is being installed; that a package was opened says nothing against its refusal.
        let may_be_installed = event.hook != GateHook::OpenExecPerm || event.class == GateClass::Provisional;
        let verdict = self.judge_file(&file, event.file.nlink == 0, host_tree, may_be_installed);
        let policy = self.policy.clone();
        let facts = GateFacts {
            file,
            verdict,
            rule: event
                .rule
                .and_then(|rule| policy.as_ref().and_then(|policy| policy.kernel_rule(rule))),
        };
        let user_name = |uid| self.users.name(uid);
        let draft = gate(event, &facts, &around.scene(self.recorder.boot_id(), &user_name));
        self.record(&draft);
    }

    pub(super) fn take_object(&mut self, event: &ObjectEvent) {
        let around = self.scene_of(&event.head.task, event.head.boottime_ns);
        let policy = self.policy.clone();
        let rule = event
            .rule
            .and_then(|rule| policy.as_ref().and_then(|policy| policy.kernel_rule(rule)));
        let user_name = |uid| self.users.name(uid);
        let draft = object(event, rule, &around.scene(self.recorder.boot_id(), &user_name));
        self.record(&draft);
    }

    /// Records what became of a package that a package manager opened.
    pub(in crate::daemon) fn record_package(&mut self, looked: &Looked) {
        let event = &looked.event;
        let around = self.scene_of(&event.head.task, event.head.boottime_ns);
        let user_name = |uid| self.users.name(uid);
        let found = match &looked.found {
            Ok(verified) => Ok((
                &verified.package,
                verified.signer.as_str(),
                verified.digests.len(),
            )),
            Err(why) => Err(why.as_str()),
        };
        let draft = package_opened(event, found, &around.scene(self.recorder.boot_id(), &user_name));
        self.record(&draft);
    }

    /// The verdict on a file that is no execution's.
    fn judge_file(
        &self,
        file: &FileFacts,
        no_link: bool,
        host_tree: bool,
        may_be_installed: bool,
    ) -> Verdict {
        let nothing = ExpectedFiles::new();
        let seen = self.seen().map(|seen| SeenTrust {
            expected: if may_be_installed { seen.expected } else { &nothing },
            ..seen
        });
        let path = file.path.as_ref().map(|(path, _)| path.as_bytes());
        let subject = Subject {
            digest: file.digest.as_ref().map(|digest| &digest.sha256),
            host_path: path.filter(|path| host_tree && path.starts_with(b"/")),
            no_link,
        };
        judge(&subject, seen.as_ref().map(|seen| seen as &dyn TrustIndex))
    }

    fn scene_of(&mut self, task: &Task, boottime_ns: u64) -> Around {
        Around {
            at_us: self.clock.unix_us(boottime_ns),
            executable: self
                .processes
                .executable(task)
                .cloned()
                .or_else(|| self.proc.executable(task.process)),
            parent_executable: self.parent_executable(task),
            working_directory: self.proc.working_directory(task.process),
            container: self.proc.container(task.process, task.cgroup_id),
        }
    }
}

/// Surroundings of events that are no execs.
struct Around {
    at_us: i64,
    executable: Option<RawText>,
    parent_executable: Option<RawText>,
    working_directory: Option<RawText>,
    container: Option<hardpan_core::process::Container>,
}

impl Around {
    fn scene<'a>(&'a self, boot_id: &'a str, user_name: &'a dyn Fn(u32) -> Option<String>) -> Scene<'a> {
        Scene {
            at_us: self.at_us,
            boot_id,
            user_name,
            executable: self.executable.as_ref(),
            parent_executable: self.parent_executable.as_ref(),
            working_directory: self.working_directory.as_ref(),
            container: self.container.as_ref(),
        }
    }
}
