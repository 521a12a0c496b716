//! Parsed forms of texts that many checks of one run read: dozens of checks ask the same audit rules.

use super::parse::audit_rules::Rule;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A text and the rules in it.
type Known = (String, Arc<Vec<Rule>>);

/// What was parsed, with the text it was parsed from. A clone begins empty.
#[derive(Debug, Default)]
pub struct Memo {
    rules: Mutex<BTreeMap<&'static str, Known>>,
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Memo {
    /// The audit rules in a text, parsed when the text under that name is another one than before.
    pub(super) fn audit_rules(
        &self,
        name: &'static str,
        text: String,
        parse: impl FnOnce() -> Vec<Rule>,
    ) -> Arc<Vec<Rule>> {
        let mut known = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, rules)) = known.get(name)
            && *of == text
        {
            return Arc::clone(rules);
        }
        let rules = Arc::new(parse());
        known.insert(name, (text, Arc::clone(&rules)));
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::audit_rules::rules;
    use super::*;

    #[test]
    fn another_text_is_parsed_anew() {
        let memo = Memo::default();
        let read = |text: &str| memo.audit_rules("disk", text.to_owned(), || rules("f", text));
        let first = read("-w /a -p wa\n");
        assert!(Arc::ptr_eq(&first, &read("-w /a -p wa\n")));
        assert_eq!(read("-w /b -p wa\n")[0].path.as_deref(), Some("/b"));
    }
}
