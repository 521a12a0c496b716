//! A policy file, alone and on top of the shipped ones; rules of fapolicyd. What is imported is a policy.
#![no_main]

use hardpan_core::policy::document::parse;
use hardpan_core::policy::effective::Effective;
use hardpan_core::policy::fapolicyd::import;
use hardpan_core::policy::resolve::resolve;
use hardpan_core::policy::{Layer, show};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (document, problems) = parse(Layer::Local, "fuzz.toml", text);
    for problem in &problems {
        assert!(!problem.message.is_empty());
    }
    if !problems.iter().any(|problem| problem.is_error()) {
        let (resolved, _) = resolve(&[document]);
        show::text(&resolved);
        Effective::new(&resolved).ok();
    }
    let imported = import(text);
    let (_, problems) = parse(Layer::Local, "imported.toml", &imported.policy);
    for problem in problems {
        assert!(!problem.is_error(), "{problem:?}\n{}", imported.policy);
    }
});
