//! Puts the eBPF objects into the library when `HARDPAN_BPF_OBJECT` names them at build time (`cargo xtask` does).
//! Without the variable the crate builds all the same and looks for the objects at run time.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HARDPAN_BPF_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("objects.rs");
    let object = env::var_os("HARDPAN_BPF_OBJECT").filter(|path| !path.is_empty());
    let code = match object {
        None => "None".to_owned(),
        Some(typed) => {
            let mut beside = typed.clone();
            beside.push("-tracepoints");
            let literal = |path: PathBuf| {
                if !path.is_file() {
                    let what = format!(
                        "HARDPAN_BPF_OBJECT: {} is no file (cargo xtask ebpf builds it)",
                        path.display()
                    );
                    return Err(io::Error::other(what));
                }
                println!("cargo::rerun-if-changed={}", path.display());
                Ok(path.display().to_string().escape_default().to_string())
            };
            let (typed, beside) = (literal(typed.into())?, literal(beside.into())?);
            format!("Some((include_bytes!(\"{typed}\"), include_bytes!(\"{beside}\")))")
        }
    };
    fs::write(out, code)
}
