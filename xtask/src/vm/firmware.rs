//! `cargo xtask test firmware`: the same guest started by a real firmware, once with Secure Boot and a TPM and in FIPS mode,
//! once with none of these.
//!
//! Secure Boot is on with the test keys of Debian's ovmf package, whose private key comes along: the kernel is signed with
//! it, and the firmware verifies it. (The key is known to everybody, which is what makes it useful here.)

use super::boot::Boot;
use super::qemu::Firmware;
use super::report::Report;
use super::{Guest, results_dir};
use crate::check::Tally;
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::setup::{self, Extent};
use crate::{sh, ui};
use hardpan_tests::plan::Plan;
use hardpan_tests::scenario;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// One machine.
struct Leg {
    /// Folder of its scenario in `tests/firmware`.
    scenario: &'static str,
    /// The firmware's variables to start with.
    variables: &'static str,
    /// With Secure Boot's keys in them.
    signed: bool,
    tpm: bool,
    append: &'static str,
}

const LEGS: [Leg; 2] = [
    Leg {
        scenario: "secure-boot",
        variables: "OVMF_VARS_4M.snakeoil.fd",
        signed: true,
        tpm: true,
        append: "fips=1",
    },
    Leg {
        scenario: "open-boot",
        variables: "OVMF_VARS_4M.fd",
        signed: false,
        tpm: false,
        append: "",
    },
];

/// Debian's kernels of the matrix from 6.18 on are built without FIPS mode.
const KERNEL: &str = "6.12";
const FIRMWARES: &str = "/usr/share/OVMF";
const CODE: &str = "OVMF_CODE_4M.secboot.fd";
const KEY: &str = "/usr/share/ovmf/PkKek-1-snakeoil.key";
const CERTIFICATE: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";
/// The word that opens the key, from the package's documentation.
const KEY_WORD: &str = "pass:snakeoil";

/// `cargo xtask test firmware`.
pub(crate) fn run(machine: Option<&str>) -> Done {
    test(&Places::find()?, machine)?.finish()
}

/// Boots both machines, or one, and judges each.
pub(crate) fn test(places: &Places, machine: Option<&str>) -> Done<Tally> {
    setup::ensure(places, Extent::All, false)?;
    if !Path::new(FIRMWARES)
        .join(LEGS.map(|leg| leg.variables)[0])
        .is_file()
    {
        ui::say("skipped: there is no firmware with test keys (Debian's package ovmf has one)");
        return Ok(Tally {
            skipped: 1,
            ..Tally::default()
        });
    }
    let dir = places.root.join("tests/firmware");
    let scenarios = scenario::load_all(&dir)?;
    let kernels = super::select(places, &[KERNEL.to_owned()])?;
    let mut guest = Guest::prepare(places, &kernels)?;
    guest.scenarios = dir;
    let mut report = Report::new(&scenarios);
    for leg in LEGS
        .iter()
        .filter(|leg| machine.is_none_or(|name| name == leg.scenario))
    {
        let here = scenarios.iter().find(|scenario| scenario.name == leg.scenario);
        let (Some(here), Some(kernel)) = (here, kernels.first()) else {
            return Err(TaskError::cannot(
                format!("there is no scenario {} or no kernel {KERNEL}", leg.scenario),
                "the table of machines names both",
            ));
        };
        let mut kernel = kernel.clone();
        leg.scenario.clone_into(&mut kernel.name);
        kernel.append = leg.append;
        let work = guest.work.path().join(leg.scenario);
        place::make_dir(&work)?;
        let tpm = leg.tpm.then(|| Tpm::start(&work)).transpose()?;
        let variables = work.join("variables.fd");
        place::copy(&Path::new(FIRMWARES).join(leg.variables), &variables)?;
        kernel.firmware = Some(Firmware {
            code: Path::new(FIRMWARES).join(CODE),
            variables,
            tpm: tpm.as_ref().map(|tpm| tpm.socket.clone()),
        });
        if leg.signed {
            kernel.image = signed(&kernel.image, &work)?;
        }
        let plan = Plan {
            groups: scenario::groups(&[here]),
            live: false,
        };
        let initramfs = guest.archive(leg.scenario, &plan)?;
        ui::step(&format!("booting {KERNEL} from a firmware: {}", leg.scenario));
        let results = results_dir(places, "firmware").join(leg.scenario);
        let boot = Boot::run(&kernel, &plan, &initramfs, "", &results)?;
        report.add(&kernel, std::slice::from_ref(here), &[here], &boot);
        drop(tpm);
    }
    report.table();
    Ok(report.tally())
}

/// The kernel with a signature more, which the firmware's keys verify.
fn signed(image: &Path, work: &Path) -> Done<PathBuf> {
    let key = work.join("key.pem");
    let out = work.join("vmlinuz.signed");
    sh::quiet(
        Command::new("openssl")
            .args(["pkey", "-passin", KEY_WORD, "-in", KEY, "-out"])
            .arg(&key),
    )?;
    sh::quiet(
        Command::new("sbsign")
            .arg("--key")
            .arg(&key)
            .args(["--cert", CERTIFICATE, "--output"])
            .arg(&out)
            .arg(image),
    )?;
    Ok(out)
}

/// A TPM 2.0 in software, gone when dropped.
struct Tpm {
    child: Child,
    socket: PathBuf,
}

impl Tpm {
    fn start(work: &Path) -> Done<Self> {
        let state = work.join("tpm");
        place::make_dir(&state)?;
        let socket = work.join("tpm.socket");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "swtpm", "socket", "--tpm2", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| TaskError::Start {
                command: "swtpm".into(),
                source,
            })?;
        let tpm = Self { child, socket };
        for _ in 0..100 {
            if tpm.socket.exists() {
                return Ok(tpm);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(TaskError::cannot(
            "swtpm does not offer its socket",
            "run `swtpm socket --tpm2` by hand and read what it says",
        ))
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // Ended by itself when its machine did.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
