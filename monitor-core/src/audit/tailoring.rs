//! XCCDF tailoring files written for SCAP Security Guide content.

use super::check::Check;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::collections::{BTreeMap, BTreeSet};

/// What a tailoring file selects and deselects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tailoring {
    /// Id of the profile in the file.
    pub profile: String,
    /// Short names of SSG rules that are left out.
    pub removed: BTreeSet<String>,
    /// Short names of SSG rules that are asked for.
    pub added: BTreeSet<String>,
    /// Values the file sets, by the variable's short name.
    pub values: BTreeMap<String, String>,
    /// Variables for which it chooses one of the values that SSG's data stream lists, by that one's name there.
    pub selectors: BTreeMap<String, String>,
}

/// Why a tailoring file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TailoringError {
    /// Not well-formed XML.
    #[error("not well-formed XML at byte {at}: {why}")]
    Xml {
        /// Position.
        at: u64,
        /// Reason.
        why: String,
    },
    /// No Profile of that id, or none at all.
    #[error("no profile {0} in the file")]
    NoProfile(String),
}

impl Tailoring {
    /// Reads a file; without a profile id, its first profile.
    pub fn parse(text: &str, profile: Option<&str>) -> Result<Self, TailoringError> {
        let mut reader = Reader::from_str(text);
        let mut found: Option<Self> = None;
        let mut inside = false;
        let mut value_of: Option<String> = None;
        loop {
            let event = reader.read_event().map_err(|error| TailoringError::Xml {
                at: reader.error_position(),
                why: error.to_string(),
            })?;
            match event {
                Event::Eof => break,
                Event::Start(tag) | Event::Empty(tag) if local(&tag) == "Profile" => {
                    let id = attribute(&tag, "id").unwrap_or_default();
                    inside = found.is_none() && profile.is_none_or(|wanted| id.ends_with(wanted));
                    if inside {
                        found = Some(Self {
                            profile: id,
                            ..Self::default()
                        });
                    }
                }
                Event::End(tag) if local_name(tag.name().as_ref()) == "Profile" => inside = false,
                Event::Start(tag) | Event::Empty(tag) if inside => {
                    let Some(tailoring) = found.as_mut() else { continue };
                    let idref = attribute(&tag, "idref").unwrap_or_default();
                    match local(&tag).as_str() {
                        "select" => tailoring.select(&idref, attribute(&tag, "selected").as_deref()),
                        "set-value" => value_of = Some(idref),
                        "refine-value" => {
                            let selector = attribute(&tag, "selector").unwrap_or_default();
                            tailoring.selectors.insert(short(&idref).to_owned(), selector);
                        }
                        _ => {}
                    }
                }
                Event::Text(text) if inside => {
                    if let (Some(tailoring), Some(name)) = (found.as_mut(), value_of.take()) {
                        let value = text.trim().to_owned();
                        tailoring.values.insert(short(&name).to_owned(), value);
                    }
                }
                _ => {}
            }
        }
        found.ok_or_else(|| TailoringError::NoProfile(profile.unwrap_or("").to_owned()))
    }

    fn select(&mut self, idref: &str, selected: Option<&str>) {
        let rule = short(idref).to_owned();
        if matches!(selected, Some("true" | "1")) {
            self.removed.remove(&rule);
            self.added.insert(rule);
        } else {
            self.added.remove(&rule);
            self.removed.insert(rule);
        }
    }

    /// Whether the file takes a check out: every rule the check stands for is deselected.
    pub fn removes(&self, check: &Check) -> bool {
        !check.ssg.is_empty() && check.ssg.iter().all(|rule| self.removed.contains(rule))
    }
}

fn local(tag: &BytesStart<'_>) -> String {
    local_name(tag.name().as_ref())
}

fn local_name(name: impl AsRef<[u8]>) -> String {
    let name = String::from_utf8_lossy(name.as_ref()).into_owned();
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    tag.attributes()
        .flatten()
        .find(|attribute| local_name(attribute.key.as_ref()) == name)
        .map(|attribute| attribute.value.into_owned())
}

/// `xccdf_org.ssgproject.content_rule_x` to `x`.
fn short(id: &str) -> &str {
    ["_rule_", "_value_", "_group_"]
        .iter()
        .find_map(|part| id.split_once(part))
        .map_or(id, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"<?xml version="1.0"?>
<xccdf:Tailoring xmlns:xccdf="http://checklists.nist.gov/xccdf/1.2" id="xccdf_scap-workbench_tailoring_default">
  <xccdf:Profile id="xccdf_org.ssgproject.content_profile_cis_customized" extends="xccdf_org.ssgproject.content_profile_cis">
    <xccdf:title>x</xccdf:title>
    <xccdf:select idref="xccdf_org.ssgproject.content_rule_partition_for_tmp" selected="false"/>
    <xccdf:select idref="xccdf_org.ssgproject.content_rule_package_aide_installed" selected="true"/>
    <xccdf:set-value idref="xccdf_org.ssgproject.content_value_var_accounts_tmout">600</xccdf:set-value>
  </xccdf:Profile>
</xccdf:Tailoring>"#;

    #[test]
    fn selects_and_values() {
        let tailoring = Tailoring::parse(FILE, None).unwrap();
        assert!(tailoring.removed.contains("partition_for_tmp"));
        assert!(tailoring.added.contains("package_aide_installed"));
        assert_eq!(
            tailoring.values.get("var_accounts_tmout").map(String::as_str),
            Some("600")
        );
        assert_eq!(Tailoring::parse(FILE, Some("cis_customized")).unwrap(), tailoring);
        assert!(matches!(
            Tailoring::parse(FILE, Some("stig")),
            Err(TailoringError::NoProfile(_))
        ));
        assert!(matches!(
            Tailoring::parse("<a><b></a>", None),
            Err(TailoringError::Xml { .. })
        ));
    }
}
