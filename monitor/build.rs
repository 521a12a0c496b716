//! Puts the eBPF objects into the library when `HARDPAN_BPF_OBJECT` names them at build time (`cargo xtask` does).
//! Without the variable the crate builds all the same and looks for the objects at run time.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HARDPAN_BPF_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("objects.rs");
    let object = env::var_os("HARDPAN_BPF_OBJECT").filter(|path| !path.is_empty()).map(PathBuf::from);
    let code = match object {
        None => "None".to_owned(),
        Some(typed) => {
            let mut beside = typed.clone().into_os_string();
            beside.push("-tracepoints");
            let beside = PathBuf::from(beside);
            for path in [&typed, &beside] {
                println!("cargo::rerun-if-changed={}", path.display());
                assert!(path.is_file(), "HARDPAN_BPF_OBJECT: {} is no file (build it with `cargo xtask ebpf`)", path.display());
            }
            format!("Some((include_bytes!({typed:?}), include_bytes!({beside:?})))")
        }
    };
    fs::write(&out, code).unwrap_or_else(|error| panic!("writing {}: {error}", out.display()));
}
