//! XCCDF tailoring files written for SCAP Security Guide content.

use super::check::Check;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use std::collections::{BTreeMap, BTreeSet};

/// What a tailoring file selects, deselects and sets. Ids are the short names of SCAP Security Guide (SSG).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tailoring {
    /// Id of the profile in the file.
    pub profile: String,
    /// The profile of SSG that it extends; empty if it names none.
    pub extends: String,
    /// Rules that are left out.
    pub removed: BTreeSet<String>,
    /// Rules that are asked for.
    pub added: BTreeSet<String>,
    /// Groups of rules that are selected or left out.
    pub groups: BTreeSet<String>,
    /// Values the file sets (`set-value`), by variable.
    pub values: BTreeMap<String, String>,
    /// Variables for which it chooses one of the values that SSG lists, by that one's name (`refine-value`).
    pub selectors: BTreeMap<String, String>,
    /// Rules whose severity, weight or role it changes (`refine-rule`).
    pub refined_rules: BTreeSet<String>,
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
        // The value at hand: its variable, and its text so far.
        let mut value: Option<(String, String)> = None;
        loop {
            let event = reader.read_event().map_err(|error| TailoringError::Xml {
                at: reader.error_position(),
                why: error.to_string(),
            })?;
            let empty = matches!(event, Event::Empty(_));
            match event {
                Event::Eof => break,
                Event::Start(tag) | Event::Empty(tag) if local(&tag) == "Profile" => {
                    let id = attribute(&tag, "id").unwrap_or_default();
                    inside = !empty && found.is_none() && profile.is_none_or(|wanted| id.ends_with(wanted));
                    if inside {
                        let extends = attribute(&tag, "extends").unwrap_or_default();
                        found = Some(Self {
                            profile: id,
                            extends: short(&extends).to_owned(),
                            ..Self::default()
                        });
                    }
                }
                Event::End(tag) if local_name(tag.name().as_ref()) == "Profile" => inside = false,
                Event::Start(tag) | Event::Empty(tag) if inside => {
                    let Some(tailoring) = found.as_mut() else { continue };
                    if local(&tag) == "set-value" {
                        let idref = attribute(&tag, "idref").unwrap_or_default();
                        value = Some((short(&idref).to_owned(), String::new()));
                    } else {
                        tailoring.element(&tag);
                    }
                }
                Event::Text(text) => extend(&mut value, &text),
                Event::CData(text) => extend(&mut value, &text),
                Event::GeneralRef(name) => match name.resolve_char_ref() {
                    Ok(Some(character)) => extend(&mut value, character.encode_utf8(&mut [0; 4])),
                    _ => extend(&mut value, resolve_predefined_entity(&name).unwrap_or_default()),
                },
                Event::End(tag) if local_name(tag.name().as_ref()) == "set-value" => {
                    if let (Some(tailoring), Some((name, text))) = (found.as_mut(), value.take()) {
                        tailoring.values.insert(name, text.trim().to_owned());
                    }
                }
                _ => {}
            }
        }
        found.ok_or_else(|| TailoringError::NoProfile(profile.unwrap_or("").to_owned()))
    }

    /// One element of the profile that has no text of its own.
    fn element(&mut self, tag: &BytesStart<'_>) {
        let idref = attribute(tag, "idref").unwrap_or_default();
        let name = short(&idref).to_owned();
        match local(tag).as_str() {
            "select" if idref.contains("_group_") => {
                self.groups.insert(name);
            }
            "select" => self.select(name, attribute(tag, "selected").as_deref()),
            "refine-value" => {
                let selector = attribute(tag, "selector").unwrap_or_default();
                self.selectors.insert(name, selector);
            }
            // XCCDF: the rule's tests are not carried out.
            "refine-rule" if attribute(tag, "role").as_deref() == Some("unchecked") => {
                self.select(name, Some("false"));
            }
            "refine-rule" => {
                self.refined_rules.insert(name);
            }
            _ => {}
        }
    }

    fn select(&mut self, rule: String, selected: Option<&str>) {
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

fn extend(value: &mut Option<(String, String)>, more: &str) {
    if let Some((_, text)) = value {
        text.push_str(more);
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
    ["_rule_", "_value_", "_group_", "_profile_"]
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
    <xccdf:select idref="xccdf_org.ssgproject.content_group_avahi" selected="false"/>
    <xccdf:set-value idref="xccdf_org.ssgproject.content_value_var_accounts_tmout">600</xccdf:set-value>
    <xccdf:set-value idref="xccdf_org.ssgproject.content_value_login_banner_text">a &amp; b&#33;<![CDATA[<c>]]></xccdf:set-value>
    <xccdf:refine-value idref="xccdf_org.ssgproject.content_value_var_sshd_set_keepalive" selector="5"/>
    <xccdf:refine-rule idref="xccdf_org.ssgproject.content_rule_service_avahi-daemon_disabled" role="unchecked"/>
    <xccdf:refine-rule idref="xccdf_org.ssgproject.content_rule_package_sudo_installed" severity="high"/>
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
        assert_eq!(
            tailoring.values.get("login_banner_text").map(String::as_str),
            Some("a & b!<c>")
        );
        assert_eq!(
            tailoring
                .selectors
                .get("var_sshd_set_keepalive")
                .map(String::as_str),
            Some("5")
        );
        assert!(tailoring.removed.contains("service_avahi-daemon_disabled"));
        assert!(tailoring.refined_rules.contains("package_sudo_installed"));
        assert_eq!(tailoring.extends, "cis");
        assert!(tailoring.groups.contains("avahi") && !tailoring.removed.contains("avahi"));
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
