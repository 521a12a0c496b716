//! `hardpan doctor`.

use crate::doctor::{Finding, Options, gather, render};
use clap::Args;
use hardpan_core::platform::Tier;
use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

/// Shows what this host's kernel allows, which tier follows, and what is missing.
///
/// Loads the eBPF programs for a second to see each hook work. Exits 0 if the tier is good enough, 1 if it is below the
/// wanted tier, 3 if the kernel could not be asked (not root).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardpan doctor\n  hardpan doctor --json | jq .tier\n  hardpan doctor --tier A && echo gate possible"
)]
pub struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The least tier that is good enough [A, B, C, none].
    #[arg(long, value_name = "TIER", default_value = "C", value_parser = parse_tier)]
    tier: Tier,
    /// Do not load the eBPF programs; only probe.
    #[arg(long)]
    no_load: bool,
    /// Read release and package database below this directory.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Directory of the package database inside the root.
    #[arg(long, value_name = "DIR")]
    dbpath: Option<PathBuf>,
}

fn parse_tier(name: &str) -> Result<Tier, String> {
    Tier::from_name(name).ok_or_else(|| "must be A, B, C or none".to_owned())
}

/// Runs the command; returns its exit code.
pub fn run(args: &DoctorArgs) -> u8 {
    let options = Options {
        root: args.root.clone(),
        dbpath: args.dbpath.clone(),
        least_tier: args.tier,
        self_test: !args.no_load,
    };
    // The sensor's rings are registered with a runtime.
    let report = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async { gather(&options) }),
        Err(_no_epoll) => gather(&Options {
            self_test: false,
            ..options
        }),
    };
    let text = if args.json {
        serde_json::to_string_pretty(&report)
            .map(|json| json + "\n")
            .unwrap_or_default()
    } else {
        let colour =
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        render(&report, colour)
    };
    // A reader that went away (`| head`) is not our failure.
    let _broken_pipe = io::stdout().write_all(text.as_bytes());
    match report.finding {
        Finding::Fine => 0,
        Finding::BelowTier => 1,
        Finding::CouldNotLook => 3,
    }
}
