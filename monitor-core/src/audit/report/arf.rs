//! Asset Reporting Format 1.1: who was audited, and the XCCDF test result about it.
//!
//! The benchmark travels along as a report request of its own, so that titles are not lost.

use super::xccdf::{Ids, benchmark, test_result};
use super::xml::Xml;
use super::{Report, ReportError, text};
use std::net::IpAddr;

const ARF: &str = "http://scap.nist.gov/schema/asset-reporting-format/1.1";
const CORE: &str = "http://scap.nist.gov/schema/reporting-core/1.1";
const AI: &str = "http://scap.nist.gov/schema/asset-identification/1.1";
const VOCABULARY: &str = "http://scap.nist.gov/specifications/arf/vocabulary/relationships/1.0#";

pub(super) fn write(report: &Report) -> Result<String, ReportError> {
    let mut xml = Xml::new()?;
    let ids = Ids::of(report);
    let attributes = [("xmlns:arf", ARF), ("xmlns:core", CORE), ("xmlns:ai", AI)];
    xml.element("arf:asset-report-collection", &attributes, |xml| {
        xml.element("core:relationships", &[("xmlns:arfvocab", VOCABULARY)], |xml| {
            relationship(xml, "arfvocab:createdFor", "xccdf1", "collection1")?;
            relationship(xml, "arfvocab:isAbout", "xccdf1", "asset0")
        })?;
        xml.element("arf:report-requests", &[], |xml| {
            xml.element("arf:report-request", &[("id", "collection1")], |xml| {
                xml.element("arf:content", &[], |xml| benchmark(xml, report, &ids, |_| Ok(())))
            })
        })?;
        xml.element("arf:assets", &[], |xml| {
            xml.element("arf:asset", &[("id", "asset0")], |xml| asset(xml, report))
        })?;
        xml.element("arf:reports", &[], |xml| {
            xml.element("arf:report", &[("id", "xccdf1")], |xml| {
                xml.element("arf:content", &[], |xml| {
                    test_result(xml, report, &ids, "#collection1", true)
                })
            })
        })
    })?;
    Ok(xml.finish())
}

fn relationship(xml: &mut Xml, kind: &str, subject: &str, object: &str) -> Result<(), ReportError> {
    xml.element(
        "core:relationship",
        &[("type", kind), ("subject", subject)],
        |xml| xml.text("core:ref", &[], object),
    )
}

fn asset(xml: &mut Xml, report: &Report) -> Result<(), ReportError> {
    let target = &report.target;
    let addresses: Vec<IpAddr> = target
        .addresses
        .iter()
        .filter_map(|address| address.trim().parse().ok())
        .collect();
    xml.element("ai:computing-device", &[], |xml| {
        if !target.host.machine_id.is_empty() {
            xml.text(
                "ai:synthetic-id",
                &[
                    ("resource", "urn:hardpan:machine-id"),
                    ("id", &target.host.machine_id),
                ],
                "",
            )?;
        }
        if !addresses.is_empty() {
            xml.element("ai:connections", &[], |xml| {
                for address in &addresses {
                    xml.element("ai:connection", &[], |xml| {
                        xml.element("ai:ip-address", &[], |xml| match address {
                            IpAddr::V4(v4) => xml.text("ai:ip-v4", &[], &v4.to_string()),
                            IpAddr::V6(v6) => xml.text("ai:ip-v6", &[], &expanded(&v6.segments())),
                        })
                    })?;
                }
                Ok(())
            })?;
        }
        let name = text::id(target.display_name());
        if name.contains('.') {
            xml.text("ai:fqdn", &[], &name)?;
        }
        xml.text("ai:hostname", &[], name.split('.').next().unwrap_or(&name))
    })
}

/// All eight groups: the schema's pattern does not take every shortened form.
fn expanded(segments: &[u16; 8]) -> String {
    segments.map(|segment| format!("{segment:x}")).join(":")
}
