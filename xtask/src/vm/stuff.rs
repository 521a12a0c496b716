//! Packages that lie in the guest for scenarios and are not installed.

use super::packages::{Builder, Package, Signer};
use crate::error::{Done, TaskError};
use crate::place;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A signed package whose first scriptlet fails, and its program, which stays as long as it is told to.
pub(super) fn never_installed(builder: &Builder, vendor: &Signer, busybox: &Path, stuff: &Path) -> Done {
    let name = "busybox-late";
    let mut content = place::read(busybox)?;
    // What follows an ELF file's last section is nobody's business.
    content.extend(name.as_bytes());
    let program = stuff.join(name);
    place::write(&program, content)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .map_err(TaskError::file("setting the mode of", &program))?;
    let mut package = Package::new("hp-late", "A package that is not installed").before("exit 1");
    package.program("/usr/bin/busybox-late", program, 0o755);
    place::copy(&builder.build(&package, Some(vendor))?, &stuff.join("late.rpm"))
}

/// A package with a program and no scriptlet, and one that runs this program at the end of the transaction.
pub(super) fn one_runs_the_other(builder: &Builder, vendor: &Signer, program: &Path, stuff: &Path) -> Done {
    let name = "hp-quiet";
    let content = [place::read(program)?.as_slice(), name.as_bytes()].concat();
    let own = stuff.join(name);
    place::write(&own, content)?;
    let mut quiet = Package::new(name, "A package that runs nothing");
    quiet.program("/usr/bin/hp-quiet", own, 0o755);
    place::copy(&builder.build(&quiet, Some(vendor))?, &stuff.join("quiet.rpm"))?;
    let script = "/usr/bin/hp-quiet > /dev/null && echo hp-quiet >> /tmp/quiet";
    let mut loud = Package::new("hp-loud", "A package that runs another's program").at_the_end(script);
    loud.text("/usr/share/hp-loud", "loud\n", 0o644);
    place::copy(&builder.build(&loud, Some(vendor))?, &stuff.join("loud.rpm"))
}

/// A package whose scriptlet is in Lua, which rpm interprets itself, and runs the package's program in both ways.
pub(super) fn scriptlet_in_lua(builder: &Builder, vendor: &Signer, program: &Path, stuff: &Path) -> Done {
    let name = "hp-lua";
    let content = [place::read(program)?.as_slice(), name.as_bytes()].concat();
    let own = stuff.join(name);
    place::write(&own, content)?;
    let script = "os.execute('/usr/bin/hp-lua > /tmp/lua')\n\
        local child = posix.fork()\n\
        if child == 0 then posix.exec('/usr/bin/hp-lua') end\n\
        posix.wait(child)";
    let mut package = Package::new(name, "A package with a scriptlet in Lua").in_lua(script);
    package.program("/usr/bin/hp-lua", own, 0o755);
    place::copy(&builder.build(&package, Some(vendor))?, &stuff.join("lua.rpm"))
}

/// Packages whose scriptlets are for interpreters that the gate knows: each notes that it ran, and under which name.
pub(super) fn scriptlets(builder: &Builder, vendor: &Signer, stuff: &Path) -> Done {
    let by_bash = Package::new("hp-by-bash", "A package with scriptlets for bash")
        .scriptlets("/usr/bin/bash", "echo bash ${0##*/} $1 >> /tmp/scriptlets");
    let by_python = Package::new("hp-by-python", "A package with scriptlets for Python").scriptlets(
        "/usr/bin/python3",
        "import sys; open('/tmp/scriptlets', 'a').write('python ' + ' '.join(sys.argv).split('/')[-1] + '\\n')",
    );
    for (mut package, to) in [(by_bash, "by-bash.rpm"), (by_python, "by-python.rpm")] {
        package.text(&format!("/usr/share/{to}.txt"), "nothing\n", 0o644);
        place::copy(&builder.build(&package, Some(vendor))?, &stuff.join(to))?;
    }
    Ok(())
}

/// What a move from another distribution's older release leaves in the package database: packages and a key.
pub(super) fn left_over(builder: &Builder, stuff: &Path) -> Done {
    let mut old = Package::new("hp-left-over", "A package of an older release").of("3.el8_10", "AlmaLinux");
    old.text("/usr/share/hp-left-over", "left over\n", 0o644);
    place::copy(&builder.build(&old, None)?, &stuff.join("left-over.rpm"))?;
    // Of EL 8, whose files these are; EL 9 has no such package.
    let mut scripts = Package::new(
        "network-scripts",
        "Legacy scripts for manipulating of network devices",
    )
    .of("1.el8", "AlmaLinux");
    scripts.text(
        "/etc/sysconfig/network-scripts/ifup",
        "#!/bin/bash\nexit 1\n",
        0o755,
    );
    scripts.text("/etc/rc.d/init.d/network", "#!/bin/bash\nexit 1\n", 0o755);
    place::copy(
        &builder.build(&scripts, None)?,
        &stuff.join("network-scripts.rpm"),
    )?;
    let key = Signer::generate("AlmaLinux OS 8 test")?;
    place::write(&stuff.join("left-over.asc"), key.public())
}
