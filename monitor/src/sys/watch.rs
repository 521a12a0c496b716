//! Registering a ring buffer with the runtime.

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use aya_log::EbpfLogger;
use std::io;
use tokio::io::unix::AsyncFd;

/// Watches a ring for new records.
pub fn ring(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring owns its map's descriptor and never hands it out or closes it before it is dropped, so what the
    // runtime watches stays the same open file as long as the registration lives.
    unsafe { AsyncFd::register(ring) }.map_err(Into::into)
}

/// Hands the programs' own diagnostics to the log, if the object was built with them (`cargo xtask ebpf`, not
/// `--release`). Needs a runtime; ends with it.
pub fn diagnostics(ebpf: &mut Ebpf) {
    if ebpf.map("AYA_LOGS").is_none() {
        return;
    }
    let watched = EbpfLogger::init(ebpf)
        .map_err(|error| error.to_string())
        .and_then(|logger| {
            // SAFETY: the logger owns its ring, whose descriptor it never hands out or closes before it is dropped.
            unsafe { AsyncFd::register(logger) }.map_err(|error| io::Error::from(error).to_string())
        });
    let mut logger = match watched {
        Ok(logger) => logger,
        Err(error) => {
            tracing::warn!(%error, "the programs' diagnostics can't be read, ignoring them");
            return;
        }
    };
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
}
