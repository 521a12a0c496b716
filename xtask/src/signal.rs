//! Ctrl-C and SIGTERM: noticed by whoever waits, so that machines and folders are cleaned up. A second one ends at once.

use crate::error::{Done, TaskError};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static SEEN: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on signals are noticed instead of ending the process.
pub(crate) fn watch() -> Done {
    if SEEN.get().is_some() {
        return Ok(());
    }
    let seen = Arc::clone(SEEN.get_or_init(Arc::default));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&seen))
            .and_then(|_id| flag::register(signal, Arc::clone(&seen)))
            .map_err(TaskError::file("watching for signals in", "this process"))?;
    }
    Ok(())
}

/// Whether one came.
pub(crate) fn seen() -> bool {
    SEEN.get().is_some_and(|seen| seen.load(Ordering::Relaxed))
}
