//! ATT&CK techniques that records name. Ids of v19 (2026-04). (tidy: table)

/// A technique and the tactic it serves here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Technique {
    /// Technique id, without the part behind the dot.
    pub id: &'static str,
    /// Name of the technique; for a sub-technique, of its parent.
    pub name: &'static str,
    /// Sub-technique id and name.
    pub sub: Option<(&'static str, &'static str)>,
    /// Tactic ids.
    pub tactics: &'static [&'static str],
}

/// A packaged program was replaced.
pub const BINARY_REPLACED: Technique = Technique {
    id: "T1554",
    name: "Compromise Host Software Binary",
    sub: None,
    tactics: &["TA0003"],
};

/// An exec from memfd or of a deleted file.
pub const FILELESS: Technique = Technique {
    id: "T1620",
    name: "Reflective Code Loading",
    sub: None,
    tactics: &["TA0005"],
};

/// A program of no vendor was run.
pub const UNTRUSTED_PROGRAM: Technique = Technique {
    id: "T1204",
    name: "User Execution",
    sub: Some(("T1204.002", "Malicious File")),
    tactics: &["TA0002"],
};

/// A library of no vendor was loaded into a process.
pub const HIJACKED_LIBRARY: Technique = Technique {
    id: "T1574",
    name: "Hijack Execution Flow",
    sub: Some(("T1574.006", "Dynamic Linker Hijacking")),
    tactics: &["TA0003", "TA0004", "TA0005"],
};

/// A set-id file that no vendor made so.
pub const SETID: Technique = Technique {
    id: "T1548",
    name: "Abuse Elevation Control Mechanism",
    sub: Some(("T1548.001", "Setuid and Setgid")),
    tactics: &["TA0004"],
};

/// A kernel module without a good signature.
pub const KERNEL_MODULE: Technique = Technique {
    id: "T1547",
    name: "Boot or Logon Autostart Execution",
    sub: Some(("T1547.006", "Kernel Modules and Extensions")),
    tactics: &["TA0003", "TA0004"],
};

/// Data that others rely on was changed.
pub const DATA_MANIPULATED: Technique = Technique {
    id: "T1565",
    name: "Data Manipulation",
    sub: Some(("T1565.001", "Stored Data Manipulation")),
    tactics: &["TA0040"],
};

/// A sensor does not work, or somebody stopped it.
pub const TOOLS_IMPAIRED: Technique = Technique {
    id: "T1685",
    name: "Disable or Modify Tools",
    sub: None,
    tactics: &["TA0112"],
};

/// Credentials that no lawful way gave.
pub const PRIVILEGE_EXPLOIT: Technique = Technique {
    id: "T1068",
    name: "Exploitation for Privilege Escalation",
    sub: None,
    tactics: &["TA0004"],
};

/// A task left its namespaces.
pub const ESCAPE_TO_HOST: Technique = Technique {
    id: "T1611",
    name: "Escape to Host",
    sub: None,
    tactics: &["TA0004"],
};

/// Another process's memory through `ptrace` and its kin.
pub const PTRACE: Technique = Technique {
    id: "T1055",
    name: "Process Injection",
    sub: Some(("T1055.008", "Ptrace System Calls")),
    tactics: &["TA0004", "TA0005"],
};

/// Another process's memory through `/proc`.
pub const PROC_MEMORY: Technique = Technique {
    id: "T1055",
    name: "Process Injection",
    sub: Some(("T1055.009", "Proc Memory")),
    tactics: &["TA0004", "TA0005"],
};

/// All of them, for tests.
pub const ALL: [&Technique; 12] = [
    &HIJACKED_LIBRARY,
    &SETID,
    &PTRACE,
    &PROC_MEMORY,
    &PRIVILEGE_EXPLOIT,
    &ESCAPE_TO_HOST,
    &BINARY_REPLACED,
    &FILELESS,
    &UNTRUSTED_PROGRAM,
    &KERNEL_MODULE,
    &DATA_MANIPULATED,
    &TOOLS_IMPAIRED,
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn ids_are_those_of_the_map() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/facts/compliance/attack_map.json"
        );
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("skipped: no shared data");
            return;
        };
        let map: Value = serde_json::from_str(&text).unwrap();
        for technique in ALL {
            let (id, name) = technique.sub.unwrap_or((technique.id, technique.name));
            let row = map["map"]
                .as_array()
                .unwrap()
                .iter()
                .find(|row| row["technique"] == id);
            let row = row.unwrap_or_else(|| panic!("{id} is not in the map"));
            assert_eq!(row["name"], name);
            for tactic in technique.tactics {
                assert!(
                    row["tactics"].as_array().unwrap().contains(&Value::from(*tactic)),
                    "{id} {tactic}"
                );
            }
            assert!(map["revoked_by"].get(id).is_none(), "{id} is revoked");
        }
    }
}
