//! What trust, packages and the gate's own processes bring to the daemon's life.

use super::Daemon;
use crate::daemon::fallback as responder;
use crate::daemon::gate::Worked;
use crate::daemon::kill::kill;
use crate::daemon::packages::{Looked, OpenedBy};
use crate::daemon::source::EventSource;
use crate::daemon::withdrawn::{self, Stray};
use crate::enrich::Proc;
use crate::gate::{digests, fallback};
use hardpan_core::platform::Tier;
use hardpan_core::record::{Finding, FindingCode, Service, ServiceEvent};
use std::path::Path;
use tracing::{info, warn};

impl Daemon<'_> {
    /// Room for trusted digests in the kernel: for those that are there, and half as many again.
    pub(in crate::daemon) fn room_for_digests(&self) -> u32 {
        const LEAST: usize = 4096;
        let most = self
            .policy
            .in_force()
            .map_or(200_000, |policy| policy.gate.max_digests);
        let trusted = self.pipeline.trust().map_or(0, |trust| digests(&trust));
        u32::try_from(trusted + trusted / 2 + LEAST)
            .unwrap_or(u32::MAX)
            .min(most)
    }

    /// Verifies the packages that wait, off the loop.
    pub(super) fn look_at_packages(&mut self) {
        for event in self.pipeline.packages.overflow() {
            let found = Err("too many packages at once".to_owned());
            self.pipeline.record_package(&Looked { event, found });
        }
        while let Some(batch) = self.pipeline.packages.batch() {
            self.packages.start(batch, self.policy.trust(&self.config.trust));
        }
    }

    /// Takes a package that was looked at; `None`: a batch is done.
    pub(super) fn take_package(&mut self, looked: Option<Looked>, source: &mut impl EventSource) {
        let Some(mut looked) = looked else {
            return self.pipeline.packages.done();
        };
        let by = OpenedBy {
            manager: self
                .gate
                .number_of(&looked.event, self.policy.in_force().as_ref()),
            process: looked.event.head.task.process,
        };
        if let Ok(verified) = &looked.found
            && !self.gate.expect(verified, by, source)
        {
            looked.found = Err("the kernel has no room for its digests".to_owned());
        }
        if let Ok(verified) = &looked.found {
            self.pipeline.expect(verified, by.manager);
        }
        self.pipeline.record_package(&looked);
    }

    /// Trust, policy or mode may be others now.
    pub(super) fn renew_gate(&mut self) {
        self.gate.believe(self.policy.trust(&self.config.trust));
        self.gate.renew(self.pipeline.trust(), self.policy.in_force());
    }

    /// Takes what the gate's own processes tell.
    pub(super) fn take_heard(&mut self, heard: &responder::Heard) {
        match heard {
            responder::Heard::News(news) => self.take_fallback(news),
            responder::Heard::Record(record) => self.pipeline.take_answered(record),
        }
    }

    /// Takes records that nobody waits for: of a responder that was ended.
    pub(super) fn take_answered(&mut self) {
        for record in self.gate.fallback.drain() {
            self.pipeline.take_answered(&record);
        }
    }

    fn take_fallback(&mut self, news: &fallback::News) {
        let Some(policy) = self.policy.in_force() else {
            return;
        };
        let gate = &policy.gate;
        let refuses = self.decision.tier == Tier::C;
        if let Some(finding) = responder::finding(news, gate.fallback_timeout_ms, gate.on_doubt, refuses) {
            let at_us = self.at_us();
            warn!(code = finding.code.word(), "{}", finding.message);
            self.pipeline.recorder.emit(&finding.draft(at_us));
            return;
        }
        let text = if refuses {
            "executions are answered for"
        } else {
            "digests are taken of what is executed"
        };
        if refuses {
            self.gate.sees_memory = *news == fallback::News::Answers;
        }
        info!("{text}");
        if self.gate.fallback.recovered() {
            let recovered = Finding::new(FindingCode::GateResponderRecovered, format!("{text} again"));
            self.pipeline.recorder.emit(&recovered.draft(self.at_us()));
        }
        self.renew_gate();
    }

    pub(super) fn take_gate(&mut self, worked: Worked, source: &mut impl EventSource) {
        let at_us = self.at_us();
        let (news, again) = self.gate.take(worked, source);
        let kills = self.gate.kills(self.policy.in_force().as_ref());
        self.pipeline.set_kills(kills);
        for finding in self.health.gate.news(&news.findings) {
            warn!(code = finding.code.word(), "{}", finding.message);
            self.pipeline.recorder.emit(&finding.draft(at_us));
        }
        if let Some((mode, why)) = news.mode {
            let word = mode_word(mode);
            info!(mode = word, why, "exec gate");
            let service = Service {
                reason: Some(format!("the exec gate's mode is {word} now: {why}")),
                ..self.service(ServiceEvent::GateMode)
            };
            self.pipeline.recorder.emit(&service.draft(at_us));
        }
        // The new one refuses by now what the old one did, or nobody wants anything refused.
        self.take_over(source);
        if again {
            self.renew_gate();
        }
    }

    /// Processes that run what was not installed.
    pub(super) fn take_strays(&mut self, strays: &[Stray]) {
        let is_to_kill = self.gate.enforces()
            && self
                .policy
                .in_force()
                .is_some_and(|policy| policy.gate.kill_withdrawn);
        let proc = Proc::below(Path::new("/"));
        for stray in strays {
            let killed = is_to_kill.then(|| kill(&proc, stray.process));
            let finding = withdrawn::finding(stray, killed.as_ref());
            warn!(code = finding.code.word(), "{}", finding.message);
            self.pipeline.recorder.emit(&finding.draft(self.at_us()));
        }
    }

    /// Takes down what an earlier hardpand left at the hooks, and the records in its rings.
    fn take_over(&mut self, source: &mut impl EventSource) {
        for previous in source.previous() {
            let generation = previous.generation;
            let pipeline = &mut self.pipeline;
            let taken = source.take_over(previous, &mut |record| pipeline.take_left(record));
            let ledger = &mut self.pipeline.ledger;
            ledger.lost_before = ledger.lost_before.saturating_add(taken.lost);
            let finding = Finding {
                count: Some(taken.records),
                ..Finding::new(
                    FindingCode::GateAlone,
                    format!(
                        "hardpand (generation {generation}) had ended and its gate had gone on by itself: {} records that \
                         it left were taken over, at most {} events were lost",
                        taken.records, taken.lost
                    ),
                )
            };
            warn!(code = finding.code.word(), "{}", finding.message);
            let at_us = self.at_us();
            self.pipeline.recorder.emit(&finding.draft(at_us));
        }
    }
}

const fn mode_word(mode: hardpan_abi::GateMode) -> &'static str {
    match mode {
        hardpan_abi::GateMode::Off => "off",
        hardpan_abi::GateMode::Observe => "observe",
        hardpan_abi::GateMode::Enforce => "enforce",
    }
}
