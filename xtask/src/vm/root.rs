//! The guest's root file system: signed packages with real programs in them, and a little configuration.

use super::kernels::Kernel;
use super::packages::{Builder, Package, Signer};
use super::stuff;
use super::{attack, dnf, interpreters, modules};
use crate::error::{Done, TaskError};
use crate::place::{self, Places, program};
use crate::{ebpf, sh, ui};
use hardpan_tests::plan::{MARKER_PATH, PLAN_PATH, Plan, SCENARIOS_DIR};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The triple of the static programs.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Where unpackaged things for scenarios lie in the guest.
const STUFF: &str = "hardpan-vm";
/// Signed packages that are not installed, each with a scriptlet, for transactions.
const BULK: u32 = 200;
/// What the packaged program says.
const SIGNED_TEXT: &str = "hello from a signed package";
/// busybox applets that become commands of the guest.
const APPLETS: &str = "[ ash awk basename cat chmod chown cp cut date dd dirname dmesg echo env expr false find grep \
    gzip head hostname id insmod kill killall ln ls lsmod mkdir mktemp mount mv nohup od pidof printf ps pwd readlink rm rmdir \
    sed seq setsid sh sha256sum sleep sort stat su sync tail tar tee test touch tr true umount uname unshare wc which xargs";

/// Programs built from this work tree.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    dir: PathBuf,
    object: PathBuf,
}

impl Programs {
    /// Builds the eBPF objects and the static programs.
    pub(crate) fn build(places: &Places) -> Done<Self> {
        let object = ebpf::build(places, true)?;
        ui::step("static programs");
        let target = places.target().join("vm");
        sh::run(
            Command::new("cargo")
                .args([
                    "build",
                    "--profile",
                    "guest",
                    "--package",
                    "hardpan",
                    "--package",
                    "hardpan-tests",
                    "--bins",
                ])
                .args(["--target", TRIPLE, "--target-dir"])
                .arg(&target)
                .env(
                    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
                    "-C target-feature=+crt-static",
                )
                .env_remove("RUSTFLAGS")
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                // The objects are installed as the packages would: no new link for each change in them.
                .env_remove("HARDPAN_BPF_OBJECT")
                .current_dir(&places.root),
        )?;
        Ok(Self {
            dir: target.join(TRIPLE).join("guest"),
            object,
        })
    }

    /// One of the programs.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The main eBPF object; the others lie beside it.
    pub(crate) fn object(&self) -> &Path {
        &self.object
    }
}

/// Where the package database has the digest of a packaged file, for the scenario that forges it.
fn digest_offset(root: &Path, file: &Path) -> Done<usize> {
    let sum = sh::output(Command::new("sha256sum").arg(file))?;
    let digest = sum.split_whitespace().next().unwrap_or_default();
    let database = root.join("var/lib/rpm/rpmdb.sqlite");
    let bytes = place::read(&database)?;
    bytes
        .windows(64)
        .position(|window| window == digest.as_bytes())
        .ok_or_else(|| TaskError::Cannot {
            what: format!(
                "{} does not have the digest {digest} in one piece",
                database.display()
            ),
            hint: None,
        })
}

/// A root file system.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) root: PathBuf,
    /// The packages installed in it.
    pub(super) packages: Vec<PathBuf>,
    /// What machines with dnf have over it.
    pub(super) dnf: Option<PathBuf>,
}

/// Assembles the root file system in `dir`, with dnf's packages beside it where there is a tree of dnf.
pub(super) fn assemble(
    places: &Places,
    built: &Programs,
    kernels: &[Kernel],
    dnf: Option<&Path>,
    dir: &Path,
) -> Done<Assembled> {
    ui::step("packages: built, signed and installed with rpm");
    let root = dir.join("root");
    let mut builder = Builder::new(&dir.join("rpm"))?;
    let hello = |name: &str, text: &str| assembled(places, &dir.join("hello").join(name), text);
    let signed = hello("signed", SIGNED_TEXT)?;
    let vendor = Signer::generate("Hardpan test vendor")?;
    let stranger = Signer::generate("Hardpan test stranger")?;

    filesystem(&root)?;
    builder.add(&busybox()?, Some(&vendor))?;
    builder.add(&kmod()?, Some(&vendor))?;
    builder.add(&rpm()?, Some(&vendor))?;
    builder.add(&hardpan(built)?, Some(&vendor))?;
    for package in interpreters::packages()? {
        builder.add(&package, Some(&vendor))?;
    }
    let mut tools = Package::new("hp-tools", "Programs that scenarios use");
    for (name, mode) in [("hp-flood", 0o755), ("hp-memfd", 0o755), ("hp-setuid", 0o4755)] {
        tools.program(&format!("/usr/bin/{name}"), built.path(name), mode);
    }
    // The guest's own init has this content: what runs while the gate makes up its mind must be trusted.
    tools.program("/usr/libexec/hp-init", built.path("vm-init"), 0o755);
    for (name, sources) in attack::PROGRAMS {
        let program = attack::program(places, dir, name, sources)?;
        tools.program(&format!("/usr/bin/{name}"), program, 0o755);
    }
    tools.text(
        "/usr/bin/hp-script",
        "#!/bin/sh\necho 'hello from a signed script'\n",
        0o755,
    );
    for (name, text) in interpreters::SCRIPTS {
        tools.text(&format!("/usr/share/hp-scripts/{name}"), text, 0o644);
    }
    builder.add(&tools, Some(&vendor))?;
    // Alone in its package: a small header lies in one piece in the database, where a scenario forges the digest.
    let mut alone = Package::new("hp-hello", "A small program");
    alone.program("/usr/bin/hp-hello", signed.clone(), 0o755);
    builder.add(&alone, Some(&vendor))?;
    let mut caps = Package::new("hp-caps", "A program whose file gives a capability")
        .with_capabilities("cap_net_raw=ep");
    caps.program("/usr/bin/hp-caps", built.path("hp-caps"), 0o755);
    builder.add(&caps, Some(&vendor))?;
    let mut unsigned = Package::new("hp-unsigned", "A package without a signature");
    unsigned.program(
        "/usr/bin/hp-unsigned",
        hello("unsigned", "hello from an unsigned package")?,
        0o755,
    );
    builder.add(&unsigned, None)?;
    let mut unpinned = Package::new("hp-unpinned", "A package signed by a key that is not pinned");
    unpinned.program(
        "/usr/bin/hp-unpinned",
        hello("unpinned", "hello from a stranger's package")?,
        0o755,
    );
    builder.add(&unpinned, Some(&stranger))?;
    let by_release = modules::by_release(kernels);
    for kernel in by_release.values() {
        modules::packaged(kernel, &root.join(STUFF), &mut builder, &vendor)?;
    }
    builder.install(&root, &[&vendor, &stranger])?;
    for release in by_release.keys() {
        modules::depmod(&root, release)?;
    }

    configuration(&root, &vendor, &stranger)?;
    let stuff = root.join(STUFF);
    builder.bulk(&signed, BULK, &vendor, &stuff.join("bulk"))?;
    stuff::one_runs_the_other(&builder, &vendor, &signed, &stuff)?;
    stuff::scriptlet_in_lua(&builder, &vendor, &signed, &stuff)?;
    stuff::scriptlets(&builder, &vendor, &stuff)?;
    let mut loose = Package::new(
        "hp-loose",
        "A package that nobody signed, to be installed in the guest",
    );
    loose.program(
        "/usr/bin/hp-loose",
        hello("loose", "hello from a loose package")?,
        0o755,
    );
    place::copy(&builder.build(&loose, None)?, &stuff.join("unsigned.rpm"))?;
    stuff::left_over(&builder, &stuff)?;
    stuff::never_installed(&builder, &vendor, &busybox_path()?, &stuff)?;
    let marker = root.join(MARKER_PATH.trim_start_matches('/'));
    place::copy(&hello("marker", "marker")?, &marker)?;
    let content = place::read(&signed)?;
    place::copy(&hello("dropped", "hello from nowhere")?, &stuff.join("dropped"))?;
    let at = content
        .windows(5)
        .position(|window| window == b"hello")
        .unwrap_or_default();
    let digest_at = digest_offset(&root, &signed)?;
    let env = format!("HP_STUFF=/{STUFF}\nHP_HELLO_OFFSET={at}\nHP_DIGEST_OFFSET={digest_at}\n");
    place::write(&stuff.join("env"), env)?;
    install(&built.path("vm-init"), &root.join("init"), 0o755)?;
    let dnf = dnf
        .map(|tree| dnf::layer(tree, &root, &stuff.join("bulk"), &vendor, dir))
        .transpose()?;
    Ok(Assembled {
        packages: builder.installed(),
        root,
        dnf,
    })
}

/// Puts a plan and the scenarios' folders into an assembled root.
pub(super) fn add_plan(root: &Path, plan: &Plan, scenarios: &Path) -> Done {
    let json = serde_json::to_vec(plan).map_err(|error| TaskError::Cannot {
        what: format!("writing the plan: {error}"),
        hint: None,
    })?;
    place::write(&root.join(PLAN_PATH.trim_start_matches('/')), json)?;
    let target = root.join(SCENARIOS_DIR.trim_start_matches('/'));
    place::make_dir(&target)?;
    sh::quiet(Command::new("cp").arg("-a").arg(scenarios.join(".")).arg(&target))
}

/// Folders and links as EL has them, which rpm finds there already.
fn filesystem(root: &Path) -> Done {
    const FOLDERS: &str = "usr/bin usr/sbin usr/lib usr/lib64 usr/lib/modules dev proc sys run tmp root var/lib/rpm \
        var/lib/hardpan var/log/hardpan etc/hardpan/keys.d etc/pki/rpm-gpg";
    for folder in FOLDERS.split_whitespace() {
        place::make_dir(&root.join(folder))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        let link = root.join(name);
        symlink(Path::new("usr").join(name), &link).map_err(TaskError::file("linking", &link))?;
    }
    Ok(())
}

fn busybox() -> Done<Package> {
    let mut package = Package::new("busybox", "The guest's commands");
    package.program("/usr/bin/busybox", busybox_path()?, 0o755);
    for applet in APPLETS.split_whitespace() {
        package.link(&format!("/usr/bin/{applet}"), "busybox");
    }
    Ok(package)
}

fn busybox_path() -> Done<PathBuf> {
    program("busybox").ok_or_else(|| TaskError::cannot("there is no busybox", "run `cargo xtask setup`"))
}

/// kmod with the libraries it needs: a dynamically linked program, loader and all.
fn kmod() -> Done<Package> {
    let mut package = Package::new("kmod", "Loads kernel modules");
    let path =
        program("kmod").ok_or_else(|| TaskError::cannot("there is no kmod", "run `cargo xtask setup`"))?;
    let libraries = libraries(&path)?;
    package.program("/usr/bin/kmod", path, 0o755);
    // Scripts call these by their full path: busybox's shell takes its own applets for bare names.
    for name in ["insmod", "modprobe", "rmmod"] {
        package.link(&format!("/usr/sbin/{name}"), "../bin/kmod");
    }
    for library in libraries {
        package.program(&inside(&library), library.into(), 0o755);
    }
    Ok(package)
}

/// rpm itself, with its libraries that kmod does not have: transactions happen in the guest too.
fn rpm() -> Done<Package> {
    let mut package = Package::new("rpm", "Installs packages");
    let path =
        program("rpm").ok_or_else(|| TaskError::cannot("there is no rpm", "run `cargo xtask setup`"))?;
    let kmod = program("kmod").map_or_else(|| Ok(Vec::new()), |kmod| libraries(&kmod))?;
    for library in libraries(&path)? {
        if !kmod.contains(&library) {
            package.program(&inside(&library), library.into(), 0o755);
        }
    }
    // Imports keys; it comes with rpm, and needs the same libraries.
    package.program("/usr/bin/rpmkeys", path.with_file_name("rpmkeys"), 0o755);
    package.program("/usr/bin/rpm", path, 0o755);
    for name in ["macros", "rpmrc", "platform"] {
        let from = Path::new("/usr/lib/rpm").join(name);
        if from.is_file() {
            package.program(&format!("/usr/lib/rpm/{name}"), from, 0o644);
        }
    }
    Ok(package)
}

/// Libraries and loader of a dynamically linked program, as `ldd` finds them.
pub(super) fn libraries(program: &Path) -> Done<Vec<String>> {
    let found = sh::output(Command::new("ldd").arg(program))?;
    let paths = found
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(str::to_owned).collect())
}

/// Where a file of the host or of a tree lies in the guest: the short folders are links there.
pub(super) fn inside(path: &str) -> String {
    let is_short = ["/bin/", "/lib/", "/lib64/", "/sbin/"]
        .iter()
        .any(|short| path.starts_with(short));
    format!("{}{path}", if is_short { "/usr" } else { "" })
}

fn hardpan(built: &Programs) -> Done<Package> {
    let mut package = Package::new("hardpan", "Hardpan itself");
    package.program("/usr/sbin/hardpand", built.path("hardpand"), 0o755);
    package.program("/usr/bin/hardpan", built.path("hardpan"), 0o755);
    let objects = built.object().parent().unwrap_or_else(|| built.object());
    let entries = fs::read_dir(objects).map_err(TaskError::file("reading", objects))?;
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        package.program(&format!("/usr/lib/hardpan/{name}"), entry.path(), 0o644);
    }
    Ok(package)
}

/// Assembles `tests/programs/hello.S` with a text of its own. Twice the same makes two files: names of temporary
/// files get in.
fn assembled(places: &Places, out: &Path, text: &str) -> Done<PathBuf> {
    if let Some(dir) = out.parent() {
        place::make_dir(dir)?;
    }
    let define = format!("-DTEXT=\"{text}\"");
    let flags = ["-nostdlib", "-static", "-Wl,--build-id", &define, "-o"];
    sh::quiet(
        Command::new("cc")
            .args(flags)
            .arg(out)
            .arg(places.root.join("tests/programs/hello.S")),
    )?;
    Ok(out.to_owned())
}

fn configuration(root: &Path, vendor: &Signer, stranger: &Signer) -> Done {
    let files = [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1001:1001:Alice:/tmp:/bin/sh\n".to_owned()),
        ("etc/group", "root:x:0:\nalice:x:1001:\n".to_owned()),
        ("etc/machine-id", "4a7b1c9d2e3f40518a6b7c8d9e0f1a2b\n".to_owned()),
        (
            "etc/os-release",
            "NAME=\"Hardpan test system\"\nID=hardpan-test\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.0\"\n\
             PRETTY_NAME=\"Hardpan test system 9.0\"\n"
                .to_owned(),
        ),
        ("etc/hardpan/keys.d/test-vendor.toml", pin(vendor)),
        ("etc/pki/rpm-gpg/RPM-GPG-KEY-test-vendor", vendor.public().to_owned()),
        ("etc/pki/rpm-gpg/RPM-GPG-KEY-test-stranger", stranger.public().to_owned()),
    ];
    for (path, content) in files {
        place::write(&root.join(path), content)?;
    }
    Ok(())
}

/// Pins the vendor's key, as an operator would.
fn pin(vendor: &Signer) -> String {
    format!(
        "vendor = \"hardpan-test\"\n\n[[key]]\nname = \"Hardpan test vendor\"\nfingerprint = \"{}\"\n",
        vendor.fingerprint()
    )
}

fn install(from: &Path, to: &Path, mode: u32) -> Done {
    place::copy(from, to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .map_err(TaskError::file("setting the mode of", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_folders_are_links_in_the_guest() {
        for (path, expected) in [
            (
                "/lib/x86_64-linux-gnu/libz.so.1",
                "/usr/lib/x86_64-linux-gnu/libz.so.1",
            ),
            ("/lib64/ld-linux-x86-64.so.2", "/usr/lib64/ld-linux-x86-64.so.2"),
            ("/usr/bin/dnf-3", "/usr/bin/dnf-3"),
            ("/etc/dnf/dnf.conf", "/etc/dnf/dnf.conf"),
            ("/library/x", "/library/x"),
        ] {
            assert_eq!(inside(path), expected);
        }
    }
}
