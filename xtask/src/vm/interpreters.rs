//! Interpreters in the guest, and scripts for them.

use super::packages::Package;
use super::root::{inside, libraries};
use crate::error::{Done, TaskError};
use crate::place::program;
use std::fs;
use std::path::Path;

/// What Python reads before it runs anything (`python3 -I -S -v`).
const PYTHON_MODULES: &str =
    "encodings/__init__ encodings/aliases encodings/ascii encodings/latin_1 encodings/utf_8 os";

/// Scripts that nothing but an interpreter runs: they show the file that they are given. The last one names its interpreter.
pub(super) const SCRIPTS: [(&str, &str); 4] = [
    ("shown.sh", "read -r line < \"$1\"\necho \"$line\"\n"),
    ("shown.py", "import sys\nprint(open(sys.argv[1]).read())\n"),
    (
        "shown.pl",
        "open(my $file, '<', $ARGV[0]) or die; print <$file>;\n",
    ),
    (
        "named.sh",
        "#!/usr/bin/bash\necho 'hello from a signed bash script'\n",
    ),
];

/// Interpreters under the names that EL's packages of them have, with their libraries that kmod and rpm do not have.
pub(super) fn packages() -> Done<Vec<Package>> {
    let mut known: Vec<String> = Vec::new();
    for name in ["kmod", "rpm"] {
        if let Some(path) = program(name) {
            known.extend(libraries(&path)?);
        }
    }
    let mut packages = Vec::new();
    for (name, package, summary) in [
        ("bash", "bash", "A shell"),
        ("perl", "perl-interpreter", "Perl"),
        ("python3", "python3", "Python, with what it cannot start without"),
    ] {
        let path = Path::new("/usr/bin").join(name);
        let file = fs::canonicalize(&path).map_err(TaskError::file("looking for", &path))?;
        let mut package = Package::new(package, summary);
        for library in libraries(&file)? {
            if !known.contains(&library) {
                package.program(&inside(&library), library.clone().into(), 0o755);
                known.push(library);
            }
        }
        if name == "python3" {
            let version = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let from = Path::new("/usr/lib").join(&version);
            for module in PYTHON_MODULES.split_whitespace() {
                package.program(
                    &format!("/usr/lib/{version}/{module}.py"),
                    from.join(module).with_extension("py"),
                    0o644,
                );
            }
        }
        package.program(&format!("/usr/bin/{name}"), file, 0o755);
        packages.push(package);
    }
    Ok(packages)
}
