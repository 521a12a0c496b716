//! One boot: QEMU without KVM, frames from its second serial port, the console in a file.

use super::kernels::Kernel;
use crate::error::{Done, TaskError};
use crate::place::{self, program};
use crate::setup::QEMU;
use crate::{signal, ui};
use hardpan_tests::frame::{self, FrameError, Head};
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Kernel command line. `lsm=`: 5.10 does not have `bpf` in its default list, and Debian's have AppArmor where EL has SELinux
/// (here without a policy: every context is an initial one, and all is allowed). `integrity`: 6.1 panics without it as soon as IMA measures.
const APPEND: &str =
    "console=ttyS0 quiet panic=-1 lsm=lockdown,capability,landlock,yama,integrity,selinux,bpf";
/// How often the console is looked at.
const POLL: Duration = Duration::from_millis(250);
/// What the console says when the kernel is in trouble.
const TROUBLE: [&str; 9] = [
    "Kernel panic",
    "Oops",
    "BUG:",
    "general protection fault",
    "soft lockup",
    "hard LOCKUP",
    "hung_task",
    "rcu_sched self-detected stall",
    "Unable to mount root",
];

/// Memory of a machine, in MiB. Its root file system may take half of what is left beside the archive that it is unpacked
/// from, and scenarios write there.
fn memory_mib(initramfs: &Path, firmware: bool) -> u64 {
    const LEAST_MIB: u64 = 1024;
    const KERNEL_MIB: u64 = 128;
    const ROOM_MIB: u64 = 1024;
    let size_mib = fs::metadata(initramfs).map_or(0, |meta| meta.len() >> 20);
    // A firmware holds the archive a second time while it hands it over, in one piece.
    let of_firmware = if firmware { 512 + size_mib } else { 0 };
    of_firmware + LEAST_MIB.max(KERNEL_MIB + size_mib + 2 * (size_mib + ROOM_MIB))
}

/// A firmware that starts the kernel, instead of QEMU itself.
#[derive(Debug, Clone)]
pub(crate) struct Firmware {
    /// Its program.
    pub(crate) code: PathBuf,
    /// Its variables, which the machine writes: a copy of its own.
    pub(crate) variables: PathBuf,
    /// Where a TPM waits for its machine.
    pub(crate) tpm: Option<PathBuf>,
}

impl Firmware {
    /// QEMU's words for a machine with it. Variables can be written from system management mode only: without that the
    /// kernel could switch Secure Boot off.
    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = [
            "-machine",
            "q35,smm=on",
            "-global",
            "driver=cfi.pflash01,property=secure,value=on",
            "-drive",
        ]
        .map(str::to_owned)
        .into();
        words.push(format!(
            "if=pflash,format=raw,unit=0,readonly=on,file={}",
            self.code.display()
        ));
        words.push("-drive".to_owned());
        words.push(format!(
            "if=pflash,format=raw,unit=1,file={}",
            self.variables.display()
        ));
        if let Some(tpm) = &self.tpm {
            words.push("-chardev".to_owned());
            words.push(format!("socket,id=tpm,path={}", tpm.display()));
            words.extend(
                [
                    "-tpmdev",
                    "emulator,id=tpm0,chardev=tpm",
                    "-device",
                    "tpm-tis,tpmdev=tpm0",
                ]
                .map(str::to_owned),
            );
        }
        words
    }
}

/// Boots of a machine whose kernel ends by itself before the guest has begun.
const MOST_BOOTS: u32 = 3;

/// A running machine.
#[derive(Debug)]
struct Machine {
    child: Child,
    frames: Receiver<Result<(Head, Vec<u8>), FrameError>>,
    stood_still: Duration,
}

/// What is known when a machine has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) how: Ending,
    /// The longest time during which this process did not run: somebody suspended or starved the host, and whatever
    /// the guest's clocks and watchdogs made of that says nothing about Hardpan.
    pub(crate) stood_still: Duration,
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The guest said so and switched off.
    Orderly,
    /// The machine ended without a last frame.
    Abrupt,
    /// Nothing came for so long.
    Hang(Duration),
    /// The frames made no sense.
    Garbled(String),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// Boots a machine and hands every frame to `take` until its end. `patience`: how long the guest may be silent.
///
/// A kernel that dies before the first frame is booted again: nothing of Hardpan runs until then, and QEMU 7.2 now and
/// then spoils a processor's flags (seen: a double fault behind a `cmpxchg16b`, the flags full of what RAX held). The
/// console of such a boot is kept.
pub(crate) fn run(
    kernel: &Kernel,
    initramfs: &Path,
    append: &str,
    console: &Path,
    patience: Duration,
    mut take: impl FnMut(Head, Vec<u8>),
) -> Done<Ended> {
    let mut boots = 1;
    loop {
        let mut is_heard = false;
        let ended =
            Machine::start(kernel, initramfs, append, console)?.drive(patience, |head, payload| {
                is_heard = true;
                take(head, payload);
            })?;
        if is_heard || ended.how != Ending::Abrupt || boots == MOST_BOOTS {
            return Ok(ended);
        }
        let kept = console.with_extension(format!("{boots}.log"));
        fs::rename(console, &kept).map_err(TaskError::file("keeping", &kept))?;
        ui::step(&format!(
            "booting again: the guest's kernel ended before anything of Hardpan ran, see {}",
            kept.display()
        ));
        boots += 1;
    }
}

impl Machine {
    /// Starts a machine. It dies with this process.
    fn start(kernel: &Kernel, initramfs: &Path, append: &str, console: &Path) -> Done<Self> {
        place::write(console, "")?;
        let qemu = QEMU
            .iter()
            .find_map(|name| program(name))
            .ok_or_else(|| TaskError::cannot("there is no QEMU for x86-64", "run `cargo xtask setup`"))?;
        signal::watch()?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(qemu);
        command
            .args([
                "-accel",
                // With a thread per processor QEMU 7.2 and 8.0 now and then hand the guest an `int3` that it has just
                // patched away, and its kernel panics: eBPF programs come and go all the time here.
                "tcg,thread=single",
                "-cpu",
                "max",
                "-m",
                &memory_mib(initramfs, kernel.firmware.is_some()).to_string(),
            ])
            .args(if kernel.counts {
                ["-smp", "1", "-icount", "shift=0,sleep=off"]
            } else {
                ["-smp", "2", "-rtc", "base=utc"]
            })
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(kernel.firmware.as_ref().map(Firmware::words).unwrap_or_default())
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .args([
                "-append",
                format!("{APPEND} {} {append}", kernel.append).trim_end(),
            ])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-serial", "stdio"]);
        let start = |source| TaskError::Start {
            command: "qemu".into(),
            source,
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let (sender, frames) = channel();
        if let Some(out) = child.stdout.take() {
            thread::spawn(move || {
                let mut input = BufReader::with_capacity(1 << 16, out);
                while let Some(frame) = frame::read(&mut input).transpose() {
                    let is_last = frame.is_err();
                    if sender.send(frame).is_err() || is_last {
                        break;
                    }
                }
            });
        }
        Ok(Self {
            child,
            frames,
            stood_still: Duration::ZERO,
        })
    }

    /// Hands every frame to `take` until the end.
    fn drive(mut self, patience: Duration, mut take: impl FnMut(Head, Vec<u8>)) -> Done<Ended> {
        let mut heard = Instant::now();
        let ending = loop {
            if signal::seen() {
                break Ending::Interrupted;
            }
            let asked = Instant::now();
            let received = self.frames.recv_timeout(POLL);
            self.stood_still = self.stood_still.max(asked.elapsed().saturating_sub(POLL));
            match received {
                Ok(Ok((Head::End, _))) => break Ending::Orderly,
                Ok(Ok((frame, payload))) => {
                    heard = Instant::now();
                    take(frame, payload);
                }
                Ok(Err(error)) => break Ending::Garbled(ui::chain(&error)),
                Err(RecvTimeoutError::Disconnected) => break Ending::Abrupt,
                Err(RecvTimeoutError::Timeout) if heard.elapsed() > patience => break Ending::Hang(patience),
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        // Ctrl-C reaches QEMU as well, which may end before it is noticed here.
        let ending = if signal::seen() {
            Ending::Interrupted
        } else {
            ending
        };
        if ending == Ending::Orderly {
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(20) && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(POLL);
            }
        }
        // Already gone in the ordinary case.
        drop(self.child.kill());
        self.child
            .wait()
            .map_err(TaskError::file("waiting for", "qemu"))?;
        Ok(Ended {
            how: ending,
            stood_still: self.stood_still,
        })
    }
}

/// Lines of a console that tell of trouble in the kernel, with a few lines after the first.
pub(crate) fn trouble(console: &str) -> Vec<String> {
    let lines: Vec<_> = console.lines().map(|line| line.trim_end_matches('\r')).collect();
    let first = lines
        .iter()
        .position(|line| TROUBLE.iter().any(|mark| line.contains(mark)));
    first
        .and_then(|first| lines.get(first..))
        .map(|rest| rest.iter().take(12).map(|line| (*line).to_owned()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_on_the_console_is_seen() {
        assert_eq!(trouble("[    0.1] all is well\r\n"), Vec::<String>::new());
        let found = trouble("fine\r\n[    9.1] BUG: unable to handle page fault\r\n[    9.2] RIP: x\r\n");
        assert_eq!(
            found,
            ["[    9.1] BUG: unable to handle page fault", "[    9.2] RIP: x"]
        );
    }
}
