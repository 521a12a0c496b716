//! From TOML with its places to checked values: what the parser of settings and the parser of rules share.

use super::origin::{Layer, Origin, Places, Problem};
use super::schema::Kind;
use super::value::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest policy file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Longest text, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 4_096;
/// Longest name of an entry, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;
/// Longest list.
pub(crate) const MAX_LIST: usize = 1_024;
/// Most problems reported for one file: a broken file need not be explained a thousand times.
const MAX_PROBLEMS: usize = 100;

/// A TOML table with the places of its keys and values.
pub(crate) type Table<'t> = DeTable<'t>;
/// A TOML value with its place.
pub(crate) type Node<'t> = Spanned<DeValue<'t>>;

/// One file being read.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    places: Places<'t>,
    /// What was wrong so far.
    pub(crate) problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(layer: Layer, file: &str, text: &'t str) -> Self {
        Self {
            places: Places::new(layer, file, text),
            problems: Vec::new(),
        }
    }

    /// The file's table, or `None` after saying why there is none.
    pub(crate) fn table(&mut self, text: &'t str) -> Option<Table<'t>> {
        if text.len() > MAX_FILE_BYTES {
            let message = format!(
                "the file has {} bytes; a policy file may have {MAX_FILE_BYTES}",
                text.len()
            );
            self.problems.push(Problem::error(self.places.at(0), message));
            return None;
        }
        match DeTable::parse(text) {
            Ok(table) => Some(table.into_inner()),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                let message = format!("not TOML: {}", error.message().replace('\n', ", "));
                self.problems
                    .push(Problem::error(self.places.at(offset), message));
                None
            }
        }
    }

    /// The place of a span's start.
    pub(crate) fn at<T>(&self, spanned: &Spanned<T>) -> Origin {
        self.places.at(spanned.span().start)
    }

    /// Line 1.
    pub(crate) fn top(&self) -> Origin {
        self.places.at(0)
    }

    /// Records a problem, within bounds.
    pub(crate) fn report(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// Records an error.
    pub(crate) fn error(&mut self, origin: Origin, message: impl Into<String>) {
        self.report(Problem::error(origin, message));
    }

    /// The node as a value of `kind`, or `None` after saying what was expected.
    pub(crate) fn value(&mut self, node: &Node<'t>, kind: Kind) -> Option<Value> {
        let origin = self.at(node);
        let found = self.any(node)?;
        let fits = match (kind, &found) {
            (Kind::Bool, Value::Bool(_))
            | (Kind::Text | Kind::Scalar, Value::Text(_))
            | (Kind::Scalar, Value::Integer(_)) => true,
            (Kind::Integer { min, max }, Value::Integer(number)) => {
                if *number < min || *number > max {
                    self.error(origin, format!("{number} is out of range: {min} to {max}"));
                    return None;
                }
                true
            }
            (Kind::Word(words), Value::Text(text)) => {
                if !words.contains(&text.as_str()) {
                    let mut problem =
                        Problem::error(origin, format!("{found} is not one of {}", words.join(", ")));
                    if let Some(near) = super::suggest::nearest(text, words.iter().copied()) {
                        problem = problem.with_hint(format!("did you mean \"{near}\"?"));
                    }
                    self.report(problem);
                    return None;
                }
                true
            }
            (Kind::Texts, Value::List(list)) => list.iter().all(|item| matches!(item, Value::Text(_))),
            _ => false,
        };
        if fits {
            Some(found)
        } else {
            self.error(origin, format!("expected {}, found {found}", describe(kind)));
            None
        }
    }

    /// The node as any value a policy can hold.
    pub(crate) fn any(&mut self, node: &Node<'t>) -> Option<Value> {
        let origin = self.at(node);
        match node.get_ref() {
            DeValue::Boolean(truth) => Some(Value::Bool(*truth)),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                if parsed.is_err() {
                    self.error(origin, format!("{number} does not fit into 64 bits"));
                }
                parsed.ok().map(Value::Integer)
            }
            DeValue::String(text) => self.text(origin, text).map(Value::Text),
            DeValue::Array(items) => {
                if items.len() > MAX_LIST {
                    self.error(
                        origin,
                        format!("the list has {} items; it may have {MAX_LIST}", items.len()),
                    );
                    return None;
                }
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    if matches!(item.get_ref(), DeValue::Array(_)) {
                        let origin = self.at(item);
                        self.error(origin, "a list within a list has no meaning here");
                        return None;
                    }
                    list.push(self.any(item)?);
                }
                Some(Value::List(list))
            }
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
                self.error(
                    origin,
                    format!("a {} has no meaning here", node.get_ref().type_str()),
                );
                None
            }
        }
    }

    fn text(&mut self, origin: Origin, text: &str) -> Option<String> {
        if text.len() > MAX_TEXT_BYTES {
            self.error(
                origin,
                format!("the text has {} bytes; it may have {MAX_TEXT_BYTES}", text.len()),
            );
            return None;
        }
        if text.chars().any(char::is_control) {
            self.error(origin, "the text contains control characters");
            return None;
        }
        Some(text.to_owned())
    }
}

/// What a kind takes, for messages.
pub(crate) fn describe(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        Kind::Text => "a text".to_owned(),
        Kind::Scalar => "a number or a text".to_owned(),
        Kind::Texts => "a list of texts".to_owned(),
    }
}
