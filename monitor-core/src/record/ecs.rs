//! The part of the Elastic Common Schema 9.4 that records use. (tidy: table)
//!
//! Only shapes: who fills them is next door. Ids of users, files and inodes are strings, process ids are numbers,
//! categories and types are arrays: that is the schema's choice.

use serde::Serialize;

/// `ecs.version`.
pub(super) const ECS_VERSION: &str = "9.4.0";

#[derive(Debug, Clone, Serialize)]
pub(super) struct Ecs {
    pub(super) version: &'static str,
}

/// What the constructors say of `event.*`; id and sequence come with the stamp.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Event {
    pub(super) kind: &'static str,
    pub(super) category: Vec<&'static str>,
    #[serde(rename = "type")]
    pub(super) types: Vec<&'static str>,
    pub(super) action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// 1 informational, 2 low, 3 medium, 4 high, 5 critical.
    pub(super) severity: u8,
    pub(super) dataset: &'static str,
    pub(super) provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<String>,
}

impl Event {
    /// Makes it an alert, or no alert, with the category and type that go with it.
    pub(super) fn set_alert(&mut self, alert: bool) {
        if alert == (self.kind == "alert") {
            return;
        }
        self.category.retain(|word| *word != "intrusion_detection");
        self.types.retain(|word| *word != "info");
        if alert {
            self.kind = "alert";
            self.category.push("intrusion_detection");
            self.types.push("info");
            self.severity = self.severity.max(3);
        } else {
            self.kind = "event";
            self.severity = self.severity.min(2);
            if self.types.is_empty() {
                self.types.push("info");
            }
        }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct User {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effective: Option<Box<User>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) changes: Option<Box<User>>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Hash {
    pub(super) sha256: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct CodeSignature {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exists: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trusted: Option<bool>,
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject_name: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Process {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) entity_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) executable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) args: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) args_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command_line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) working_directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code_signature: Option<CodeSignature>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) real_user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) saved_user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thread: Option<Thread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<Box<Process>>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Thread {
    pub(super) id: u32,
    pub(super) name: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code_signature: Option<CodeSignature>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct PackageFields {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) architecture: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct ContainerFields {
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runtime: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Threat {
    pub(super) framework: &'static str,
    pub(super) tactic: Ids,
    pub(super) technique: TechniqueFields,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Ids {
    pub(super) id: Vec<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct TechniqueFields {
    pub(super) id: Vec<&'static str>,
    pub(super) name: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subtechnique: Option<SubTechnique>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct SubTechnique {
    pub(super) id: Vec<&'static str>,
    pub(super) name: Vec<&'static str>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Related {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hash: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) user: Vec<String>,
}
