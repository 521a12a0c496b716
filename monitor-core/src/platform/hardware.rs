//! What the processor can do, from `/proc/cpuinfo`.
//!
//! The kernel lists a flag only if it uses it, so the operating system's part (saved AVX and AVX-512 state) is in it.

use std::fmt;

/// Level of the processor, as EL releases ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HardwareLevel {
    /// x86-64-v1 to -v4.
    X86(u8),
    /// 64-bit Arm.
    Aarch64,
    /// Another architecture, or flags that could not be read.
    Other(String),
}

impl fmt::Display for HardwareLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::X86(level) => write!(f, "x86-64-v{level}"),
            Self::Aarch64 => f.write_str("aarch64"),
            Self::Other(arch) => f.write_str(arch),
        }
    }
}

/// Names in `/proc/cpuinfo` of what each x86-64 level adds (System V psABI; abm is LZCNT, pni is SSE3).
const V1: &[&str] = &["cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2"];
const V2: &[&str] = &["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"];
const V3: &[&str] = &[
    "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave",
];
const V4: &[&str] = &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"];

/// Processor features that matter to hardening or to hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuFeature {
    /// Flag in `/proc/cpuinfo`.
    pub flag: &'static str,
    /// What it gives.
    pub meaning: &'static str,
    /// Present.
    pub present: bool,
}

const X86_FEATURES: &[(&str, &str)] = &[
    ("smep", "the kernel can't execute user pages"),
    ("smap", "the kernel can't read user pages by mistake"),
    ("umip", "programs can't read descriptor table addresses"),
    ("ibt", "indirect branch tracking"),
    ("user_shstk", "shadow stacks for programs"),
    ("pku", "memory protection keys"),
    ("sha_ni", "SHA-256 in hardware"),
];
const ARM_FEATURES: &[(&str, &str)] = &[
    ("paca", "pointer authentication"),
    ("bti", "branch target identification"),
    ("mte", "memory tagging"),
    ("sha2", "SHA-256 in hardware"),
];

/// Processor facts of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// The level.
    pub level: HardwareLevel,
    /// Features of interest for the architecture.
    pub features: Vec<CpuFeature>,
    /// `model name`, if there is one.
    pub model: Option<String>,
    /// The processor says it runs under a hypervisor.
    pub hypervisor: bool,
}

impl Hardware {
    /// Reads the first processor's entry. `arch` is `uname -m`.
    pub fn parse(cpuinfo: &str, arch: &str) -> Self {
        let field = |name: &str| {
            cpuinfo.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim())
            })
        };
        let flags: Vec<&str> = field("flags")
            .or_else(|| field("Features"))
            .unwrap_or_default()
            .split_ascii_whitespace()
            .collect();
        let has = |flag: &str| flags.contains(&flag);
        let all = |wanted: &[&str]| wanted.iter().all(|flag| has(flag));
        let (level, table) = match arch {
            "x86_64" if all(V1) => {
                let level = if !all(V2) {
                    1
                } else if !all(V3) {
                    2
                } else if !all(V4) {
                    3
                } else {
                    4
                };
                (HardwareLevel::X86(level), X86_FEATURES)
            }
            "aarch64" => (HardwareLevel::Aarch64, ARM_FEATURES),
            other => (HardwareLevel::Other(other.to_owned()), &[][..]),
        };
        Self {
            level,
            features: table
                .iter()
                .map(|&(flag, meaning)| CpuFeature {
                    flag,
                    meaning,
                    present: has(flag),
                })
                .collect(),
            model: field("model name")
                .filter(|model| !model.is_empty())
                .map(str::to_owned),
            hypervisor: has("hypervisor"),
        }
    }

    /// The feature with this flag is present.
    pub fn has(&self, flag: &str) -> bool {
        self.features
            .iter()
            .any(|feature| feature.flag == flag && feature.present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(flags: &[&[&str]]) -> String {
        let flags: Vec<&str> = flags.concat();
        Hardware::parse(
            &format!("processor\t: 0\nflags\t\t: {}\n", flags.join(" ")),
            "x86_64",
        )
        .level
        .to_string()
    }

    #[test]
    fn levels() {
        assert_eq!(level(&[V1]), "x86-64-v1");
        assert_eq!(level(&[V1, V2]), "x86-64-v2");
        assert_eq!(level(&[V1, V2, V3]), "x86-64-v3");
        assert_eq!(level(&[V1, V2, V3, V4]), "x86-64-v4");
        assert_eq!(level(&[V1, V3, V4]), "x86-64-v1", "a level needs all below it");
        assert_eq!(level(&[V1, V2, &V3[1..]]), "x86-64-v2");
        assert_eq!(
            Hardware::parse("", "x86_64").level,
            HardwareLevel::Other("x86_64".into())
        );
        assert_eq!(
            Hardware::parse("Features\t: fp asimd sha2", "aarch64").level,
            HardwareLevel::Aarch64
        );
    }

    #[test]
    fn features() {
        let cpu = Hardware::parse(
            &format!(
                "model name\t: Some CPU\nflags : {} smep sha_ni hypervisor",
                V1.join(" ")
            ),
            "x86_64",
        );
        assert!(cpu.has("smep") && cpu.has("sha_ni") && !cpu.has("smap") && cpu.hypervisor);
        assert_eq!(cpu.model.as_deref(), Some("Some CPU"));
        assert!(Hardware::parse("Features : sha2", "aarch64").has("sha2"));
    }
}
