//! Controls a person has to answer, with evidence that helps; and plain facts.

use super::super::facts::{Ctx, Stop, Tool, Want};
use super::super::outcome::{Outcome, Verdict};
use super::super::parse::keyvalue::plain_lines;
use super::file_attr::describe;
use super::system::listeners;
use serde::{Deserialize, Serialize};

/// A question for a person, or a fact for the reader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manual {
    /// The question; a plain fact has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub question: String,
    /// Files whose lines are shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Only lines that contain one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containing: Vec<String>,
    /// Answers of the running system that are shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Packages that are shown where installed; `*` shows their number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Kernel modules that are shown with their state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Listening sockets are shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sockets: bool,
    /// Set-id programs are shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub setid: bool,
    /// Paths whose owner and mode are shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl Manual {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = if self.question.is_empty() {
            Outcome::of(Verdict::Informational, "for information")
        } else {
            Outcome::of(Verdict::NotChecked, self.question.clone())
        };
        self.show_files(ctx, &mut outcome)?;
        for tool in &self.tools {
            match ctx.output(*tool) {
                Ok(Some(text)) => {
                    for line in text.lines().filter(|line| self.selected(line)) {
                        outcome.note(tool.name(), line);
                    }
                }
                Ok(None) => outcome.note(tool.name(), "not installed"),
                Err(Stop::Missing) => return Err(Stop::Missing),
                Err(Stop::Offline) => outcome.note(tool.name(), "an image: nothing is running"),
                Err(Stop::Unreadable { why, .. }) => outcome.note(tool.name(), why),
            }
        }
        if !self.packages.is_empty() {
            let packages = ctx.packages()?;
            for package in packages
                .iter()
                .filter(|package| self.packages.contains(&package.name))
            {
                outcome.note(
                    &package.name,
                    format!("{} {} {}", package.evr, package.vendor, package.summary),
                );
            }
            if self.packages.iter().any(|name| name == "*") {
                outcome.note("rpm database", format!("{} packages", packages.len()));
            }
        }
        if !self.modules.is_empty() {
            self.show_modules(ctx, &mut outcome)?;
        }
        if self.sockets {
            show_sockets(ctx, &mut outcome)?;
        }
        if self.setid {
            let result = ctx.sweep(&super::audit_rule::setid_query())?;
            for hit in &result.hits {
                outcome.note(&hit.path, describe(hit.stat));
            }
            if let Some(why) = result.incomplete() {
                outcome.note("file-system walk", why);
            }
        }
        let mut paths = Vec::new();
        for pattern in &self.paths {
            paths.extend(ctx.glob(pattern)?);
        }
        ctx.prefetch(paths.iter().map(|path| Want::Stat(path.clone())));
        for path in paths {
            let stat = ctx.stat(&path)?;
            outcome.note(path, stat.map_or_else(|| "no such file".to_owned(), describe));
        }
        Ok(outcome)
    }

    fn selected(&self, line: &str) -> bool {
        self.containing.is_empty() || self.containing.iter().any(|word| line.contains(word.as_str()))
    }

    fn show_files(&self, ctx: &Ctx<'_>, outcome: &mut Outcome) -> Result<(), Stop> {
        let mut paths = Vec::new();
        for pattern in &self.files {
            match ctx.glob(pattern) {
                Ok(found) => paths.extend(found),
                Err(Stop::Missing) => return Err(Stop::Missing),
                Err(Stop::Offline) => {}
                Err(Stop::Unreadable { what, why }) => outcome.note(what, why),
            }
        }
        if ctx.facts.live {
            ctx.prefetch(paths.iter().map(|path| Want::Text(path.clone())));
        } else {
            paths.retain(|path| !path.starts_with("/proc/") && !path.starts_with("/sys/"));
        }
        let mut missing = false;
        for path in paths {
            match ctx.text(&path) {
                Ok(Some(text)) => {
                    for (number, line) in plain_lines(text).filter(|(_, line)| self.selected(line)) {
                        outcome.note(format!("{path}:{number}"), line);
                    }
                }
                Ok(None) => outcome.note(path, "no such file"),
                Err(Stop::Missing) => missing = true,
                Err(Stop::Offline) => {}
                Err(Stop::Unreadable { why, .. }) => outcome.note(path, why),
            }
        }
        if missing { Err(Stop::Missing) } else { Ok(()) }
    }

    fn show_modules(&self, ctx: &Ctx<'_>, outcome: &mut Outcome) -> Result<(), Stop> {
        for module in &self.modules {
            let state = super::kmod::Kmod {
                module: module.clone(),
            }
            .evaluate(ctx)?;
            let found = match state.result {
                Verdict::Pass => state.reason,
                _ => format!("can be loaded: {}", state.reason),
            };
            outcome.note(format!("module {module}"), found);
        }
        Ok(())
    }
}

fn show_sockets(ctx: &Ctx<'_>, outcome: &mut Outcome) -> Result<(), Stop> {
    if !ctx.facts.live {
        outcome.note("/proc/net", "an image: nothing is running");
        return Ok(());
    }
    let files = ["/proc/net/tcp", "/proc/net/tcp6"];
    ctx.prefetch(files.map(|path| Want::Text(path.to_owned())));
    for path in files {
        for (address, port, _) in listeners(ctx.text(path)?.unwrap_or_default()) {
            outcome.note(path, format!("tcp {address} port {port}"));
        }
    }
    Ok(())
}

/// A control nobody has written a check for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unimplemented {
    /// What is missing.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{Informational, NotChecked};
    use super::super::super::testkit::{outcome_of, tree};

    #[test]
    fn a_question_comes_with_what_helps_to_answer_it() {
        let facts = tree(&[("/etc/yum.repos.d/a.repo", "[base]\n# x\nbaseurl=http://x\n")]);
        let outcome = outcome_of(
            "kind = \"manual\"\nquestion = \"Are these repositories wanted?\"\nfiles = [\"/etc/yum.repos.d/*.repo\"]\ncontaining = [\"baseurl\"]\nsockets = true",
            &facts,
        );
        assert_eq!(outcome.result, NotChecked);
        assert_eq!(outcome.evidence[0].source, "/etc/yum.repos.d/a.repo:3");
        assert_eq!(
            outcome_of("kind = \"manual\"\nfiles = [\"/x\"]", &facts).result,
            Informational
        );
    }
}
