//! Records as the programs write them, for tests of this crate.

use hardpan_abi::{
    ABI_VERSION, CredEvent, CredIds, DigestState, EventHeader, EventKind, ExecEvent, FileId, FileInfo,
    GATE_NO_RULE, GateAction, GateClass, GateEvent, GateHook, GateKind, ModuleEvent, ModuleOrigin,
    OBJECT_NAME_LEN, ObjectClass, ObjectEvent, PackageEvent, TaskFindingEvent, TaskFindingKind, TaskHook,
    TaskInfo, TaskRest, exec_flag, gate_flag,
};
use zerocopy::IntoBytes;

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

pub(crate) fn header(kind: EventKind, size: usize, comm: &str) -> EventHeader {
    EventHeader {
        kind: kind as u16,
        abi_version: ABI_VERSION,
        size_bytes: u32::try_from(size).unwrap(),
        boottime_ns: 1_234_567_890_123,
        cpu: 1,
        generation: 1,
        task: TaskInfo {
            start_boottime_ns: 1_234_567_000_000,
            cgroup_id: 77,
            pid: 4242,
            tgid: 4242,
            parent_tgid: 4200,
            loginuid: 1000,
            sessionid: 3,
            pid_ns: 4_026_531_836,
            mnt_ns: 4_026_531_841,
            reserved: 0,
            comm: padded(comm),
            parent_comm: padded("bash"),
            parent_start_boottime_ns: 1_200_000_000_000,
            exe: FileId {
                ino: 131,
                dev: 0x80_0001,
                generation: 5,
            },
            parent_exe: FileId::UNKNOWN,
        },
    }
}

pub(crate) fn creds(uid: u32) -> CredIds {
    CredIds {
        uid,
        gid: uid,
        suid: uid,
        sgid: uid,
        euid: uid,
        egid: uid,
        fsuid: uid,
        fsgid: uid,
        cap_permitted: if uid == 0 { 0x1ff_ffff_ffff } else { 0 },
        cap_effective: if uid == 0 { 0x1ff_ffff_ffff } else { 0 },
        cap_bset: 0x1ff_ffff_ffff,
        user_ns: 4_026_531_837,
        ..CredIds::default()
    }
}

pub(crate) fn file() -> FileInfo {
    FileInfo {
        ino: 1_312_771,
        size_bytes: 142_312,
        fs_magic: 0x5846_5342,
        ctime_s: 1_795_000_000,
        ctime_ns: 5,
        dev: 253 << 20,
        mode: 0o100_755,
        nlink: 1,
        ..FileInfo::default()
    }
}

pub(crate) fn exec_wire() -> ExecEvent {
    ExecEvent {
        header: header(EventKind::Exec, size_of::<ExecEvent>(), "ls"),
        creds: creds(1000),
        file: file(),
        script: FileInfo::default(),
        digest: [0xab; 32],
        script_digest: [0; 32],
        flags: exec_flag::SEEN_BY_LSM | exec_flag::PATH_FROM_KERNEL,
        digest_errno: 0,
        digest_state: DigestState::Sha256 as u8,
        script_digest_state: 0,
        path_bytes: 11,
        argv_bytes: 0,
        argv_total_bytes: 0,
        script_path_bytes: 0,
        reserved: 0,
        path: padded("/usr/bin/ls"),
        script_path: [0; 256],
    }
}

/// The struct and the argument bytes behind it; only the size is put right.
pub(crate) fn exec_record(mut wire: ExecEvent, argv: &[u8]) -> Vec<u8> {
    wire.header.size_bytes = u32::try_from(size_of::<ExecEvent>() + argv.len()).unwrap();
    let mut bytes = wire.as_bytes().to_vec();
    bytes.extend_from_slice(argv);
    bytes
}

pub(crate) fn exec_bytes() -> Vec<u8> {
    let argv = b"ls\0-la\0";
    let mut wire = exec_wire();
    wire.argv_bytes = 7;
    wire.argv_total_bytes = 7;
    exec_record(wire, argv)
}

pub(crate) fn cred_bytes() -> Vec<u8> {
    CredEvent {
        header: header(EventKind::Cred, size_of::<CredEvent>(), "su"),
        old: creds(1000),
        new: creds(0),
        witness: 1,
        reserved: 0,
    }
    .as_bytes()
    .to_vec()
}

pub(crate) fn module_bytes() -> Vec<u8> {
    ModuleEvent {
        header: header(EventKind::ModuleLoad, size_of::<ModuleEvent>(), "modprobe"),
        creds: creds(0),
        file: FileInfo::default(),
        taints: 0,
        origin: ModuleOrigin::Memory as u32,
        sig_ok: 1,
        name: padded("nf_tables"),
    }
    .as_bytes()
    .to_vec()
}

pub(crate) fn task_wire() -> TaskFindingEvent {
    let first = TaskRest {
        ns: [1, 2, 3, 4, 5, 6, 7, 7],
        seccomp_mode: 2,
        seccomp_flag: 1,
        no_new_privs: 1,
        seccomp_filter: 1,
        groups_differ: 0,
        root_differs: 0,
        selinux_sid: 0,
        address_limit_kernel: 0,
    };
    let head = header(EventKind::TaskFinding, size_of::<TaskFindingEvent>(), "victim");
    TaskFindingEvent {
        header: head,
        task: head.task,
        old: creds(1000),
        new: creds(0),
        old_rest: first,
        new_rest: TaskRest {
            ns: [1, 2, 33, 4, 5, 6, 7, 7],
            seccomp_mode: 0,
            groups_differ: 1,
            ..first
        },
        kind: TaskFindingKind::CredEdited as u32,
        hook: TaskHook::FileOpen as u32,
        witness: 0,
        response: 1,
    }
}

pub(crate) fn gate_wire() -> GateEvent {
    GateEvent {
        header: header(EventKind::Gate, size_of::<GateEvent>(), "bash"),
        creds: creds(1000),
        file: file(),
        digest: [0xab; 32],
        kind: GateKind::Exec as u32,
        class: GateClass::Untrusted as u32,
        action: GateAction::Deny as u32,
        hook: GateHook::ExecCheck as u32,
        rule: GATE_NO_RULE,
        flags: gate_flag::REFUSED | gate_flag::PATH_FROM_KERNEL,
        digest_state: DigestState::Sha256 as u32,
        digest_errno: 0,
        path_bytes: 10,
        reserved: 0,
        path: padded("/tmp/evil!"),
    }
}

pub(crate) fn object_wire() -> ObjectEvent {
    let mut name = [0; OBJECT_NAME_LEN];
    name[..4].copy_from_slice(b"dccp");
    ObjectEvent {
        header: header(EventKind::Object, size_of::<ObjectEvent>(), "modprobe"),
        creds: creds(0),
        kind: GateKind::Module as u32,
        class: ObjectClass::Signed as u32,
        action: GateAction::Deny as u32,
        hook: GateHook::PostLoadData as u32,
        rule: 3,
        flags: gate_flag::REFUSED,
        subject: GateClass::Trusted as u32,
        program_type: 0,
        target: 0,
        target_uid: 0,
        name,
    }
}

pub(crate) fn package_wire() -> PackageEvent {
    PackageEvent {
        header: header(EventKind::Package, size_of::<PackageEvent>(), "dnf"),
        creds: creds(0),
        file: file(),
        path_bytes: 14,
        manager: 7,
        path: padded("/tmp/a-1-1.rpm"),
    }
}
