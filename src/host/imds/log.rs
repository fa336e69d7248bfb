//! The service's log: a line of JSON for each thing that happens, on standard error.

use std::{io::BufWriter, sync::OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt;

/// Lines that wait to be written. Those beyond are left out: nobody waits for a log.
const LINES: usize = 16_384;

/// So many bytes are written at once where lines come faster than they go; one that comes alone goes at once.
const WRITTEN: usize = 64 << 10;

/// Counts those that were left out.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// How many lines this process has left out, because they came faster than they could be written.
pub fn dropped() -> u64 {
    DROPPED.get().map_or(0, |counter| u64::try_from(counter.dropped_lines()).unwrap_or(u64::MAX))
}

/// Begins to log, until the guard is dropped.
pub fn begin() -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES)
        .lossy(true)
        .finish(BufWriter::with_capacity(WRITTEN, std::io::stderr()));
    // In a process that logs already, which only tests are, both stay.
    let _ = DROPPED.set(writer.error_counter());
    let subscriber = fmt().json().flatten_event(true).with_current_span(false).with_span_list(false).with_target(false);
    let _ = tracing::subscriber::set_global_default(subscriber.with_writer(writer).finish());
    guard
}
