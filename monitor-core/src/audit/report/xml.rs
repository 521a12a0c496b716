//! A thin layer over quick-xml: elements opened and closed in order, text made fit for XML 1.0.

use super::{ReportError, text};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// Attributes: name and value.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

pub(super) struct Xml {
    writer: Writer<Vec<u8>>,
}

impl Xml {
    /// A document with its declaration.
    pub(super) fn new() -> Result<Self, ReportError> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        Ok(Self { writer })
    }

    fn start<'a>(name: &'a str, attributes: Attributes<'_>) -> BytesStart<'a> {
        let mut start = BytesStart::new(name);
        for (key, value) in attributes {
            start.push_attribute((*key, text::line(value).as_ref()));
        }
        start
    }

    /// An element with content, written by `content`.
    pub(super) fn element(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        content: impl FnOnce(&mut Self) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        self.writer
            .write_event(Event::Start(Self::start(name, attributes)))?;
        content(self)?;
        self.writer.write_event(Event::End(BytesEnd::new(name)))?;
        Ok(())
    }

    /// An element without content.
    pub(super) fn empty(&mut self, name: &str, attributes: Attributes<'_>) -> Result<(), ReportError> {
        self.writer
            .write_event(Event::Empty(Self::start(name, attributes)))?;
        Ok(())
    }

    /// An element with text, which may have several lines.
    pub(super) fn text(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        content: &str,
    ) -> Result<(), ReportError> {
        self.element(name, attributes, |xml| {
            xml.writer
                .write_event(Event::Text(BytesText::new(&text::block(content))))?;
            Ok(())
        })
    }

    /// The finished document.
    pub(super) fn finish(self) -> String {
        let mut text = String::from_utf8_lossy(&self.writer.into_inner()).into_owned();
        text.push('\n');
        text
    }
}
