//! Where the eBPF objects come from.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Environment variable with the path of the typed object; the other lies beside it, `-tracepoints` appended.
pub(crate) const OBJECT_VARIABLE: &str = "HARDPAN_BPF_OBJECT";
/// Where packages put the objects.
pub(crate) const OBJECT_DIRECTORY: &str = "/usr/lib/hardpan";
const NAME: &str = "hardpan-ebpf";
const SUFFIX: &str = "-tracepoints";

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// None was built in, named or installed.
    #[error(
        "this build has no eBPF programs in it, {OBJECT_VARIABLE} is not set, and {OBJECT_DIRECTORY}/{NAME} does not exist"
    )]
    Nowhere,
    /// A named or installed file could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The two objects (`monitor-ebpf`).
#[derive(Debug, Clone)]
pub struct Objects {
    /// LSM, fentry and BTF tracepoint programs.
    pub typed: Vec<u8>,
    /// Tracing and raw tracepoint programs, for kernels where LSM programs do not run.
    pub tracepoints: Vec<u8>,
    /// Where they came from, for `doctor`.
    pub origin: String,
}

impl Objects {
    /// Finds the objects: the environment variable, else those built in, else the installed ones.
    pub fn find() -> Result<Self, ObjectError> {
        if let Some(path) = std::env::var_os(OBJECT_VARIABLE).filter(|path| !path.is_empty()) {
            return Self::read(Path::new(&path));
        }
        if let Some((typed, tracepoints)) = built_in() {
            return Ok(Self {
                typed: typed.to_vec(),
                tracepoints: tracepoints.to_vec(),
                origin: "built in".to_owned(),
            });
        }
        let installed = Path::new(OBJECT_DIRECTORY).join(NAME);
        if installed.exists() {
            Self::read(&installed)
        } else {
            Err(ObjectError::Nowhere)
        }
    }

    /// Reads the typed object and the one beside it.
    pub fn read(path: &Path) -> Result<Self, ObjectError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| ObjectError::Read {
                path: path.to_owned(),
                source,
            })
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(SUFFIX);
        Ok(Self {
            typed: read(path)?,
            tracepoints: read(Path::new(&beside))?,
            origin: path.display().to_string(),
        })
    }
}

/// What `build.rs` put in, if the variable was set when this was built.
fn built_in() -> Option<(&'static [u8], &'static [u8])> {
    include!(concat!(env!("OUT_DIR"), "/objects.rs"))
}
