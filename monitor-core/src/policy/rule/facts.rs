//! An event as rules see it.

use super::kind::{Kind, Side};
use super::model::Rule;
use std::collections::BTreeMap;

/// What is known of one attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A number.
    Id(u64),
    /// Yes or no.
    Flag(bool),
    /// One name, path, digest or device.
    Text(String),
    /// Several at once (capabilities).
    Texts(Vec<String>),
}

/// The attributes that some rule looks at. Most policies name a handful, and a host runs hundreds of programs a second:
/// what nobody asks about need not be put into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked(Vec<(Side, &'static str)>);

impl Asked {
    /// What these rules, and the defaults (by the object's class), look at.
    pub fn by(rules: &[Rule]) -> Self {
        let tests = rules.iter().flat_map(|rule| &rule.tests);
        let mut asked: Vec<_> = tests
            .map(|test| (test.attribute.side, test.attribute.name))
            .collect();
        asked.push((Side::Object, "class"));
        asked.sort_unstable();
        asked.dedup();
        Self(asked)
    }

    /// Whether any of them looks at this attribute.
    pub fn contains(&self, side: Side, name: &str) -> bool {
        self.0.iter().any(|(at, asked)| *at == side && *asked == name)
    }
}

/// An event's kind and attributes. What is not there is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What happened.
    pub kind: Kind,
    attributes: BTreeMap<(Side, &'static str), Fact>,
}

impl Facts {
    /// An event of this kind of which nothing is known yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            attributes: BTreeMap::new(),
        }
    }

    /// The same event with one more attribute. Names that are no attribute are ignored by rules.
    #[must_use]
    pub fn with(mut self, side: Side, name: &'static str, fact: Fact) -> Self {
        self.attributes.insert((side, name), fact);
        self
    }

    /// Adds an attribute if it is known.
    pub fn set(&mut self, side: Side, name: &'static str, fact: Option<Fact>) {
        if let Some(fact) = fact {
            self.attributes.insert((side, name), fact);
        }
    }

    /// What is known of an attribute.
    pub fn fact(&self, side: Side, name: &'static str) -> Option<&Fact> {
        self.attributes.get(&(side, name))
    }

    /// The object's class, if it is known.
    pub fn class(&self) -> Option<&str> {
        match self.fact(Side::Object, "class") {
            Some(Fact::Text(class)) => Some(class),
            _ => None,
        }
    }
}
