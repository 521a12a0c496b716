//! Registering a ring buffer with the runtime.

use aya::maps::{MapData, RingBuf};
use std::io;
use tokio::io::unix::AsyncFd;

/// Watches a ring for new records.
pub fn ring(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring owns its map's descriptor and never hands it out or closes it before it is dropped, so what the
    // runtime watches stays the same open file as long as the registration lives.
    unsafe { AsyncFd::register(ring) }.map_err(Into::into)
}
