use super::*;
use hardpan_abi::{ENUM_CONSTANTS, FIELDS};
use std::collections::BTreeMap;

/// Writes BTF: structs of opaque members, nested structs, enums, functions.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Writer {
    fn new() -> Self {
        Self {
            strings: vec![0],
            ..Self::default()
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn push(&mut self, name: &str, kind: u32, vlen: u32, third: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        for word in [name, kind << 24 | vlen, third].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    fn int(&mut self) -> u32 {
        self.push("int", 1, 0, 4, &[32])
    }

    fn structure(&mut self, name: &str, members: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> = members
            .iter()
            .flat_map(|&(member, kind, bits)| [self.name(member), kind, bits])
            .collect();
        self.push(name, 4, u32::try_from(members.len()).unwrap(), 4096, &tail)
    }

    fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&0xeb9f_u16.to_ne_bytes());
        out.extend_from_slice(&[1, 0]);
        let (types, strings) = (
            u32::try_from(self.types.len()).unwrap(),
            u32::try_from(self.strings.len()).unwrap(),
        );
        for word in [24, 0, types, types, strings] {
            out.extend_from_slice(&word.to_ne_bytes());
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }
}

#[test]
fn members_nested_anonymous_and_behind_typedefs() {
    let mut w = Writer::new();
    let int = w.int();
    let time = w.structure("timespec64", &[("tv_sec", int, 0), ("tv_nsec", int, 64)]);
    let alias = w.push("time_alias", 8, 0, time, &[]);
    let hidden = w.structure("", &[("i_nlink", int, 32)]);
    let inode = w.structure(
        "inode",
        &[
            ("i_mode", int, 0),
            ("", hidden, 64),
            ("i_ctime", alias, 256),
            ("bit", int, 3),
        ],
    );
    let tail = {
        let (a, b) = (w.name("READING_UNKNOWN"), w.name("READING_MODULE"));
        [a, 0, b, 2]
    };
    w.push("kernel_read_file_id", 6, 2, 4, &tail);
    w.push("commit_creds", 12, 0, int, &[]);
    let btf = Btf::parse(w.finish()).unwrap();
    assert_eq!(btf.find("inode", Kind::Struct), Some(inode));
    assert_eq!(btf.member(inode, "i_nlink"), Some(12));
    assert_eq!(btf.member(inode, "i_ctime.tv_nsec"), Some(40));
    assert_eq!(btf.member(inode, "bit"), None, "a bit field has no byte offset");
    assert_eq!(btf.member(inode, "i_mode.tv_sec"), None);
    assert_eq!(btf.member(inode, "nothing"), None);
    assert_eq!(btf.enumerator("kernel_read_file_id", "READING_MODULE"), Some(2));
    assert_eq!(btf.enumerator("kernel_read_file_id", "NOTHING"), None);
    assert!(btf.find("commit_creds", Kind::Func).is_some());
    assert!(btf.find("commit_creds", Kind::Struct).is_none());
}

#[test]
fn hostile_bytes_are_errors() {
    assert_eq!(
        Btf::parse(vec![]).unwrap_err(),
        BtfError::Truncated {
            what: "header",
            at: 0,
            len: 0
        }
    );
    assert!(matches!(Btf::parse(vec![0; 64]).unwrap_err(), BtfError::Magic(0)));
    let mut w = Writer::new();
    // A typedef that refers to itself must not be followed forever.
    let own = w.push("loop", 8, 0, 1, &[]);
    let ring = w.structure("ring", &[("", 2, 0)]);
    let good = w.finish();
    let btf = Btf::parse(good.clone()).unwrap();
    assert_eq!(btf.member(own, "x"), None);
    assert_eq!(btf.member(ring, "x"), None, "a struct that contains itself");
    for len in 0..good.len() {
        assert!(Btf::parse(good[..len].to_vec()).is_err(), "cut to {len} bytes");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 24..400), id in 0u32..20) {
        bytes[..2].copy_from_slice(&0xeb9f_u16.to_ne_bytes());
        for (at, value) in [(4, 24u32), (8, 0), (12, 200), (16, 200), (20, 100)] {
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        if let Ok(btf) = Btf::parse(bytes) {
            let _ = btf.member(id, "a.b");
            let _ = btf.find("", Kind::Struct);
            let _ = btf.enumerator("", "");
        }
    }
}

/// The table against the offsets of EL 8.10 to 10.0 on both architectures: BTF is written from the facts, read back by
/// this reader, and every field must be found where the facts have it.
#[test]
fn the_table_fits_the_el_kernels() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/facts/el_field_offsets.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no shared data");
        return;
    };
    let facts: serde_json::Value = serde_json::from_str(&text).unwrap();
    // What the facts do not cover: a struct, and the nanoseconds of 6.12's split ctime.
    let unknown = ["mnt_namespace", "inode.i_ctime_nsec"];
    let mut kernels = 0;
    for (kernel, structs) in facts.as_object().unwrap() {
        let mut w = Writer::new();
        let int = w.int();
        let timespec = w.structure("timespec64", &[("tv_sec", int, 0), ("tv_nsec", int, 64)]);
        let mut expected = BTreeMap::new();
        for (owner, members) in structs.as_object().unwrap() {
            let mut flat = Vec::new();
            // Embedded structs: each where the facts have it, or at the beginning, with its members' offsets from there.
            let mut embedded: BTreeMap<&str, Vec<(&str, u32, u32)>> = BTreeMap::new();
            for (member, fact) in members.as_object().unwrap() {
                let bits = u32::try_from(fact["offset_bits"].as_u64().unwrap()).unwrap();
                let kind = if fact["type"] == "struct timespec64" {
                    timespec
                } else {
                    int
                };
                if let Some((outer, inner)) = member.split_once('.') {
                    embedded.entry(outer).or_default().push((inner, int, bits));
                } else {
                    flat.push((member.as_str(), kind, bits));
                }
                expected.insert(format!("{owner}.{member}"), bits / 8);
            }
            for (outer, mut members) in embedded {
                let own = flat
                    .iter()
                    .position(|(name, ..)| *name == outer)
                    .map(|at| flat.remove(at));
                let start = own.map_or(0, |(_, _, bits)| bits);
                for (_, _, bits) in &mut members {
                    *bits -= start;
                }
                let nested = w.structure("", &members);
                flat.push((outer, nested, start));
            }
            w.structure(owner, &flat);
        }
        let btf = Btf::parse(w.finish()).unwrap();
        let resolved = resolve(&btf);
        for field in FIELDS.iter().filter(|field| !unknown.contains(&field.owner)) {
            let found = resolved.value(field.global);
            let wanted = field.members.iter().find_map(|member| {
                let key = format!("{}.{member}", field.owner);
                expected.get(&key).copied().or_else(|| {
                    // The facts keep a timespec as one member.
                    let (outer, inner) = key.rsplit_once('.')?;
                    let base = expected.get(outer)?;
                    match inner {
                        "tv_sec" => Some(*base),
                        "tv_nsec" => Some(base + 8),
                        _ => None,
                    }
                })
            });
            assert_eq!(
                found, wanted,
                "{kernel}: {} ({}.{:?})",
                field.global, field.owner, field.members
            );
        }
        let lost: Vec<_> = resolved
            .fatal()
            .filter(|missing| !unknown.iter().any(|name| missing.looked_for.starts_with(name)))
            .map(|missing| &missing.looked_for)
            .collect();
        assert!(lost.is_empty(), "{kernel} lacks required fields: {lost:?}");
        kernels += 1;
    }
    assert!(kernels >= 6);
    assert!(!ENUM_CONSTANTS.is_empty());
}

/// The build host's own BTF, where there is one: real bytes, hundreds of thousands of types.
#[test]
fn the_running_kernel_resolves() {
    let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        eprintln!("skipped: no /sys/kernel/btf/vmlinux");
        return;
    };
    let resolved = resolve(&Btf::parse(data).unwrap());
    let fatal: Vec<_> = resolved.fatal().collect();
    assert!(fatal.is_empty(), "{fatal:?}");
}
