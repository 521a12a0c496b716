//! RPM packages for the guest: rpmbuild, rpmsign with a key made for this run, `rpm --root`.

use crate::error::{Done, TaskError};
use crate::place::{self, program};
use crate::sh;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where rpm's database lies in the guest, as in EL 8 and 9.
const DBPATH: &str = "/var/lib/rpm";

/// A package to be.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    summary: String,
    /// Release and vendor.
    from: (&'static str, &'static str),
    /// Shell text of the scriptlet before its files are unpacked.
    before: Option<&'static str>,
    /// The same of the one at the end of the transaction.
    at_the_end: Option<&'static str>,
    /// Lua text of the scriptlet after its files are unpacked, which rpm itself runs.
    in_lua: Option<&'static str>,
    /// A scriptlet of each kind, by interpreter and text.
    scriptlets: Option<(&'static str, &'static str)>,
    /// Capabilities of each file, as text.
    capabilities: Option<&'static str>,
    /// What other packages may ask for.
    provides: Option<&'static str>,
    files: Vec<(String, Content, u32)>,
}

/// What a packaged file is made of.
#[derive(Debug)]
pub(super) enum Content {
    Copy(PathBuf),
    Bytes(Vec<u8>),
    Link(String),
}

impl Package {
    pub(super) fn new(name: &str, summary: &str) -> Self {
        Self {
            name: name.into(),
            summary: summary.into(),
            from: ("1", "Hardpan test vendor"),
            before: None,
            at_the_end: None,
            in_lua: None,
            scriptlets: None,
            capabilities: None,
            provides: None,
            files: Vec::new(),
        }
    }

    /// The same package of another release and vendor.
    pub(super) const fn of(mut self, release: &'static str, vendor: &'static str) -> Self {
        self.from = (release, vendor);
        self
    }

    /// The same package, whose files give capabilities.
    pub(super) const fn with_capabilities(mut self, text: &'static str) -> Self {
        self.capabilities = Some(text);
        self
    }

    /// The same package, which provides something by name.
    pub(super) const fn provides(mut self, what: &'static str) -> Self {
        self.provides = Some(what);
        self
    }

    /// The same package with a scriptlet that runs before its files are unpacked.
    pub(super) const fn before(mut self, script: &'static str) -> Self {
        self.before = Some(script);
        self
    }

    /// The same package with a scriptlet that runs after the whole transaction.
    pub(super) const fn at_the_end(mut self, script: &'static str) -> Self {
        self.at_the_end = Some(script);
        self
    }

    /// The same package with a scriptlet in Lua that runs once its files are there.
    pub(super) const fn in_lua(mut self, script: &'static str) -> Self {
        self.in_lua = Some(script);
        self
    }

    /// The same package with a scriptlet of each kind for this interpreter.
    pub(super) const fn scriptlets(mut self, interpreter: &'static str, text: &'static str) -> Self {
        self.scriptlets = Some((interpreter, text));
        self
    }

    pub(super) fn program(&mut self, path: &str, from: PathBuf, mode: u32) {
        self.content(path, Content::Copy(from), mode);
    }

    pub(super) fn text(&mut self, path: &str, text: &str, mode: u32) {
        self.content(path, Content::Bytes(text.into()), mode);
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.content(path, Content::Link(target.into()), 0o777);
    }

    pub(super) fn content(&mut self, path: &str, content: Content, mode: u32) {
        self.files.push((path.into(), content, mode));
    }

    /// The spec file. No generated dependencies: the files are what counts.
    fn spec(&self) -> String {
        let mut files = String::new();
        for (path, content, mode) in &self.files {
            // A link has no mode of its own.
            let mode = if matches!(content, Content::Link(_)) {
                "-".to_owned()
            } else {
                format!("{mode:04o}")
            };
            let caps = self
                .capabilities
                .map(|text| format!("%caps({text}) "))
                .unwrap_or_default();
            let line = format!("%attr({mode}, root, root) {caps}\"{path}\"\n");
            files.push_str(&line);
        }
        let (name, summary, (release, vendor)) = (&self.name, &self.summary, self.from);
        let before = self
            .before
            .map(|script| format!("%pre\n{script}\n"))
            .unwrap_or_default();
        let at_the_end = self
            .at_the_end
            .map(|script| format!("%posttrans\n{script}\n"))
            .unwrap_or_default();
        let in_lua = self
            .in_lua
            .map(|script| format!("%post -p <lua>\n{script}\n"))
            .unwrap_or_default();
        let scriptlets: String = self.scriptlets.map_or_else(String::new, |(interpreter, text)| {
            let one = |kind| format!("%{kind} -p {interpreter}\n{text}\n");
            ["pretrans", "pre", "post", "preun", "postun", "posttrans"]
                .map(one)
                .concat()
        });
        let provides = self
            .provides
            .map(|what| format!("Provides: {what}\n"))
            .unwrap_or_default();
        format!(
            "Name: {name}\nVersion: 1.0\nRelease: {release}\nSummary: {summary}\nLicense: none\nVendor: {vendor}\n\
             AutoReqProv: no\n{provides}%description\n{summary}.\n{before}{in_lua}{scriptlets}{at_the_end}%files\n{files}"
        )
    }
}

/// Collects packages in a work folder.
#[derive(Debug)]
pub(super) struct Builder {
    dir: PathBuf,
    built: Vec<PathBuf>,
}

impl Builder {
    pub(super) fn new(dir: &Path) -> Done<Self> {
        place::make_dir(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            built: Vec::new(),
        })
    }

    /// Builds a package, signs it, and has it installed later.
    pub(super) fn add(&mut self, package: &Package, signer: Option<&Signer>) -> Done {
        let file = self.build(package, signer)?;
        self.built.push(file);
        Ok(())
    }

    /// Builds a package and signs it.
    pub(super) fn build(&self, package: &Package, signer: Option<&Signer>) -> Done<PathBuf> {
        let dir = self.dir.join(&package.name);
        let stage = dir.join("stage");
        for (path, content, _) in &package.files {
            let to = stage.join(path.trim_start_matches('/'));
            match content {
                Content::Copy(from) => place::copy(from, &to)?,
                Content::Bytes(bytes) => place::write(&to, bytes)?,
                Content::Link(target) => {
                    if let Some(parent) = to.parent() {
                        place::make_dir(parent)?;
                    }
                    symlink(target, &to).map_err(TaskError::file("linking", &to))?;
                }
            }
        }
        let spec = dir.join(format!("{}.spec", package.name));
        place::write(&spec, package.spec())?;
        rpmbuild(&dir, &stage, &spec)?;
        let file = dir.join(format!("{}.rpm", package.name));
        if let Some(signer) = signer {
            signer.sign(&file)?;
        }
        Ok(file)
    }

    /// Builds `number` packages out of one spec file, each with a program of its own that its scriptlet runs, signs them
    /// and puts them into `to`.
    pub(super) fn bulk(&self, program: &Path, number: u32, signer: &Signer, to: &Path) -> Done {
        let dir = self.dir.join("bulk");
        let stage = dir.join("stage");
        let content = place::read(program)?;
        let mut spec =
            "Name: hp-bulk\nVersion: 1.0\nRelease: 1\nSummary: Many\nLicense: none\nAutoReqProv: no\n\
             %description\nMany.\n"
                .to_owned();
        for n in 0..number {
            let name = format!("hp-bulk-{n}");
            // What follows an ELF file's last section is nobody's business.
            let own = [content.as_slice(), name.as_bytes()].concat();
            place::write(&stage.join("usr/bin").join(&name), own)?;
            let part = format!(
                "%package -n {name}\nSummary: One of many\n%description -n {name}\nOne of many.\n\
                 %post -n {name}\n/usr/bin/{name} > /dev/null && echo {name} >> /tmp/bulk\n\
                 %files -n {name}\n%attr(0755, root, root) /usr/bin/{name}\n"
            );
            spec.push_str(&part);
        }
        let file = dir.join("hp-bulk.spec");
        place::write(&file, spec)?;
        rpmbuild(&dir, &stage, &file)?;
        let mut built = Vec::new();
        place::make_dir(to)?;
        for n in 0..number {
            let name = format!("hp-bulk-{n}.rpm");
            place::copy(&dir.join(&name), &to.join(&name))?;
            built.push(to.join(&name));
        }
        signer.sign_all(&built)
    }

    /// The packages that [`Builder::install`] installs.
    pub(super) fn installed(self) -> Vec<PathBuf> {
        self.built
    }

    /// Installs everything built so far below `root`, and imports the keys.
    pub(super) fn install(&self, root: &Path, signers: &[&Signer]) -> Done {
        for signer in signers {
            sh::quiet(rpm("rpmkeys", root)?.arg("--import").arg(signer.public_file()))?;
        }
        sh::quiet(
            rpm("rpm", root)?
                .args([
                    "-i",
                    "--nodeps",
                    "--noscripts",
                    "--notriggers",
                    "--excludeartifacts",
                ])
                .args(&self.built),
        )
    }
}

/// Builds the packages of a spec file into `dir`, out of the files in `stage`.
pub(crate) fn rpmbuild(dir: &Path, stage: &Path, spec: &Path) -> Done {
    let define = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
    sh::quiet(
        Command::new("rpmbuild")
            .args(["-bb", "--quiet", "--target", "x86_64-linux", "--nodebuginfo"])
            .args(define("_topdir", &dir.display().to_string()))
            .args(define("_rpmdir", &dir.display().to_string()))
            .args(define("_build_name_fmt", "%%{NAME}.rpm"))
            // As EL has it. The payload is stored, not squeezed: nobody downloads it.
            .args(define("_binary_filedigest_algorithm", "8"))
            .args(define("_binary_payload", "w0.gzdio"))
            .args(define("_build_id_links", "none"))
            // Files go in as they are: not stripped, not checked.
            .args(define("__os_install_post", "%{nil}"))
            .args(define("_unpackaged_files_terminate_build", "0"))
            .args(["--noclean", "--buildroot"])
            .arg(stage)
            .arg(spec),
    )
}

/// rpm on a root folder. It calls chroot(2): without root's rights, in a user namespace where this user is root.
pub(crate) fn rpm(name: &str, root: &Path) -> Done<Command> {
    let mut command = Command::new(name);
    if !fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0) {
        if !sh::succeeds(Command::new("unshare").args(["--user", "--map-root-user", "true"])) {
            return Err(TaskError::cannot(
                "`rpm --root` needs root or user namespaces, and this host allows neither",
                "run as root, or allow user namespaces (sysctl user.max_user_namespaces)",
            ));
        }
        command = Command::new("unshare");
        command.args(["--user", "--map-root-user", name]);
    }
    command.arg("--root").arg(root).args([
        "--dbpath",
        DBPATH,
        "--define",
        "_db_backend sqlite",
        "--define",
        "_pkgverify_level none",
    ]);
    Ok(command)
}

/// A key pair that lives as long as this value.
#[derive(Debug)]
pub(crate) struct Signer {
    home: TempDir,
    fingerprint: String,
    public: String,
}

impl Signer {
    /// Makes a key without a passphrase. The folder's path is short: gpg's agent has a socket in it.
    pub(crate) fn generate(name: &str) -> Done<Self> {
        let home = tempfile::Builder::new()
            .prefix("hpk")
            .tempdir()
            .map_err(TaskError::file("creating a folder for", "keys"))?;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700))
            .map_err(TaskError::file("setting the mode of", home.path()))?;
        let mut signer = Self {
            home,
            fingerprint: String::new(),
            public: String::new(),
        };
        let user = format!("{name} <vendor@hardpan.invalid>");
        sh::quiet(signer.gpg().args([
            "--passphrase",
            "",
            "--quick-generate-key",
            &user,
            "rsa3072",
            "sign",
            "never",
        ]))?;
        let list = sh::output(signer.gpg().args(["--with-colons", "--list-keys"]))?;
        let fingerprint = list.lines().find_map(|line| {
            line.strip_prefix("fpr:")?
                .split(':')
                .find(|field| !field.is_empty())
        });
        fingerprint
            .ok_or_else(|| TaskError::Cannot {
                what: "gpg made a key without a fingerprint".into(),
                hint: None,
            })?
            .clone_into(&mut signer.fingerprint);
        signer.public = sh::output(signer.gpg().args(["--armor", "--export"]))?;
        place::write(&signer.public_file(), &signer.public)?;
        Ok(signer)
    }

    /// In hexadecimal digits.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The public key, armored.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    fn public_file(&self) -> PathBuf {
        self.home.path().join("public.asc")
    }

    fn sign(&self, package: &Path) -> Done {
        self.sign_all(&[package.to_owned()])
    }

    /// Signs packages in place.
    pub(crate) fn sign_all(&self, packages: &[PathBuf]) -> Done {
        let define = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
        let gpg = program("gpg").unwrap_or_else(|| "gpg".into());
        sh::quiet(
            Command::new("rpmsign")
                .arg("--addsign")
                .args(define("_gpg_name", &self.fingerprint))
                .args(define("_gpg_path", &self.home.path().display().to_string()))
                .args(define("__gpg", &gpg.display().to_string()))
                .args(packages)
                .env("GNUPGHOME", self.home.path()),
        )
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new("gpg");
        command
            .args([
                "--batch",
                "--quiet",
                "--no-tty",
                "--pinentry-mode",
                "loopback",
                "--homedir",
            ])
            .arg(self.home.path());
        command
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        // The agent ends by itself when its folder is gone; this is quicker.
        sh::succeeds(
            Command::new("gpgconf")
                .arg("--homedir")
                .arg(self.home.path())
                .args(["--kill", "all"]),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_spec_lists_files_with_their_modes() {
        let mut package = Package::new("p", "A package");
        package.text("/usr/bin/x", "", 0o4755);
        package.link("/usr/bin/y", "x");
        expect![[r#"
            Name: p
            Version: 1.0
            Release: 1
            Summary: A package
            License: none
            Vendor: Hardpan test vendor
            AutoReqProv: no
            %description
            A package.
            %files
            %attr(4755, root, root) "/usr/bin/x"
            %attr(-, root, root) "/usr/bin/y"
        "#]]
        .assert_eq(&package.spec());
    }
}
