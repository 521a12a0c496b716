//! A sink: a bounded queue and a thread that writes it out. Whoever puts records in never waits.

use super::line::Line;
use super::output::Output;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What became of the records of a sink.
#[derive(Debug, Default)]
pub struct SinkStats {
    written_records: AtomicU64,
    written_events: AtomicU64,
    lost_records: AtomicU64,
    lost_events: AtomicU64,
    queued_records: AtomicU64,
    failing: AtomicBool,
    closing: AtomicBool,
    error: Mutex<String>,
}

/// A reading of [`SinkStats`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Records written.
    pub written_records: u64,
    /// Kernel events in written records.
    pub written_events: u64,
    /// Records dropped because the queue was full or the sink has ended.
    pub lost_records: u64,
    /// Kernel events in dropped records.
    pub lost_events: u64,
    /// Records accepted and neither written nor dropped yet.
    pub queued_records: u64,
}

impl SinkStats {
    /// The counts now.
    pub fn counts(&self) -> SinkCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        SinkCounts {
            written_records: read(&self.written_records),
            written_events: read(&self.written_events),
            lost_records: read(&self.lost_records),
            lost_events: read(&self.lost_events),
            queued_records: read(&self.queued_records),
        }
    }

    /// Why writing fails at the moment; `None` if it does not.
    pub fn failure(&self) -> Option<String> {
        self.failing
            .load(Ordering::Acquire)
            .then(|| self.error.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn fail(&self, error: &io::Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
        self.failing.store(true, Ordering::Release);
    }

    fn written(&self, line: &Line) {
        self.written_records.fetch_add(1, Ordering::AcqRel);
        self.written_events.fetch_add(line.events, Ordering::AcqRel);
        line.settle(true);
        self.queued_records.fetch_sub(1, Ordering::AcqRel);
    }

    fn lost(&self, line: &Line) {
        self.lost_records.fetch_add(1, Ordering::AcqRel);
        self.lost_events.fetch_add(line.events, Ordering::AcqRel);
        line.settle(false);
        self.queued_records.fetch_sub(1, Ordering::AcqRel);
    }
}

enum Message {
    Line(Arc<Line>),
    Reopen,
}

/// A sink and its thread.
#[derive(Debug)]
pub struct Sink {
    name: String,
    messages: Option<SyncSender<Message>>,
    stats: Arc<SinkStats>,
    thread: JoinHandle<()>,
}

impl Sink {
    /// Starts the thread. `name` is for messages and counters.
    pub fn start(name: &str, output: impl Output + 'static, queue_records: usize) -> io::Result<Self> {
        let (messages, incoming) = sync_channel(queue_records.max(1));
        let stats = Arc::new(SinkStats::default());
        let writer = Writer {
            output,
            incoming,
            stats: Arc::clone(&stats),
            batch: Batch::default(),
        };
        let thread = thread::Builder::new()
            .name(format!("sink-{name}"))
            .spawn(move || writer.run())?;
        Ok(Self {
            name: name.to_owned(),
            messages: Some(messages),
            stats,
            thread,
        })
    }

    /// Name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What became of the records.
    pub fn stats(&self) -> &SinkStats {
        &self.stats
    }

    /// Queues a record, or counts it as lost.
    pub fn send(&self, line: &Arc<Line>) {
        self.stats.queued_records.fetch_add(1, Ordering::AcqRel);
        let sent = self
            .messages
            .as_ref()
            .is_some_and(|m| m.try_send(Message::Line(Arc::clone(line))).is_ok());
        if !sent {
            self.stats.lost(line);
        }
    }

    /// Asks for the file to be opened again. If the queue is full the next look, a second later, does the same.
    pub fn reopen(&self) {
        if let Some(messages) = &self.messages {
            let _full = messages.try_send(Message::Reopen);
        }
    }

    /// Takes no more records. The thread ends when the waiting ones are written or given up.
    pub fn close(&mut self) {
        self.stats.closing.store(true, Ordering::Release);
        self.messages = None;
    }

    /// The thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Bytes written at once, at most, unless one record is longer.
const BATCH_BYTES: usize = 64 << 10;
/// Time between two looks at the file, and between two attempts after a failure.
const PAUSE: Duration = Duration::from_secs(1);

struct Writer<O> {
    output: O,
    incoming: Receiver<Message>,
    stats: Arc<SinkStats>,
    batch: Batch,
}

impl<O: Output> Writer<O> {
    fn run(mut self) {
        let mut open = true;
        while open {
            open = self.collect();
            while !self.batch.is_empty() {
                match self.write() {
                    Ok(()) => {}
                    // The reader of a pipe does not come back.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        self.stats.fail(&error);
                        return self.give_up();
                    }
                    Err(error) => {
                        self.stats.fail(&error);
                        if !open || self.stats.closing.load(Ordering::Acquire) {
                            return self.give_up();
                        }
                        thread::sleep(PAUSE);
                        // The full disk may be another one by now. What fails here fails again above.
                        self.follow(false);
                    }
                }
            }
        }
    }

    /// Waits for records and takes what is there. `false` when there will be no more.
    fn collect(&mut self) -> bool {
        match self.incoming.recv_timeout(PAUSE) {
            Ok(message) => self.take(message),
            Err(RecvTimeoutError::Timeout) => self.follow(false),
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        while self.batch.bytes.len() < BATCH_BYTES {
            match self.incoming.try_recv() {
                Ok(message) => self.take(message),
                Err(_) => break,
            }
        }
        true
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(line) => self.batch.push(line),
            Message::Reopen => self.follow(true),
        }
    }

    fn follow(&mut self, force: bool) {
        match self.output.follow(force) {
            Ok(true) => self.batch.restart_line(),
            Ok(false) => {}
            Err(error) => self.stats.fail(&error),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match self.output.write(self.batch.rest()) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(n) => {
                for line in self.batch.advance(n) {
                    self.stats.written(&line);
                }
                self.stats.failing.store(false, Ordering::Release);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Counts everything that waits as lost, until the sender closes.
    fn give_up(mut self) {
        for line in self.batch.lines.drain(..) {
            self.stats.lost(&line);
        }
        while let Ok(message) = self.incoming.recv() {
            if let Message::Line(line) = message {
                self.stats.lost(&line);
            }
        }
    }
}

/// Lines that are being written, and how far.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    written: usize,
    /// Lines of which the last byte is not written yet, in order.
    lines: Vec<Arc<Line>>,
}

impl Batch {
    fn push(&mut self, line: Arc<Line>) {
        self.bytes.extend_from_slice(line.text.as_bytes());
        self.lines.push(line);
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Notes that `n` more bytes are written; hands back the lines that are complete now.
    fn advance(&mut self, n: usize) -> Vec<Arc<Line>> {
        self.written = self.written.saturating_add(n).min(self.bytes.len());
        let mut end = self.line_start();
        let mut complete = 0;
        for line in &self.lines {
            end = end.saturating_add(line.text.len());
            if end > self.written {
                break;
            }
            complete += 1;
        }
        let done: Vec<_> = self.lines.drain(..complete).collect();
        if self.lines.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
        done
    }

    /// Where the first unfinished line begins.
    fn line_start(&self) -> usize {
        let unfinished: usize = self.lines.iter().map(|line| line.text.len()).sum();
        self.bytes.len().saturating_sub(unfinished)
    }

    /// In another file a half-written line has to begin anew.
    fn restart_line(&mut self) {
        self.written = self.line_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Entry, Fates};

    /// Takes a few bytes at a time; fails and moves when told to.
    struct Flaky {
        files: Arc<Mutex<Vec<Vec<u8>>>>,
        failures: usize,
        moves_after_failure: bool,
        room: usize,
    }

    impl Output for Flaky {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut files = self.files.lock().unwrap();
            if self.room == 0 && self.failures > 0 {
                self.failures -= 1;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            let n = bytes.len().min(5).min(self.room.max(1));
            self.room = self.room.saturating_sub(n);
            files.last_mut().unwrap().extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn follow(&mut self, force: bool) -> io::Result<bool> {
            let moves = force || std::mem::take(&mut self.moves_after_failure);
            if moves {
                self.files.lock().unwrap().push(Vec::new());
            }
            Ok(moves)
        }
    }

    fn line(text: &str) -> Arc<Line> {
        counted(text, &Arc::default())
    }

    fn counted(text: &str, fates: &Arc<Fates>) -> Arc<Line> {
        Arc::new(Line::new(text.to_owned(), 2, Entry::Recorded, 1, fates))
    }

    fn run(failures: usize, moves_after_failure: bool, room: usize) -> (Vec<String>, SinkCounts) {
        let files = Arc::new(Mutex::new(vec![Vec::new()]));
        let output = Flaky {
            files: Arc::clone(&files),
            failures,
            moves_after_failure,
            room,
        };
        let mut sink = Sink::start("test", output, 16).unwrap();
        for text in ["first line\n", "second line\n", "third line\n"] {
            sink.send(&line(text));
        }
        while failures > 0 && sink.stats.counts().written_records < 3 {
            thread::yield_now();
        }
        sink.close();
        while !sink.is_finished() {
            thread::yield_now();
        }
        let files = files.lock().unwrap();
        (
            files
                .iter()
                .map(|f| String::from_utf8(f.clone()).unwrap())
                .collect(),
            sink.stats.counts(),
        )
    }

    #[test]
    fn short_writes_lose_nothing() {
        let (files, counts) = run(0, false, 1000);
        assert_eq!(files, ["first line\nsecond line\nthird line\n"]);
        assert_eq!(
            (counts.written_records, counts.written_events, counts.lost_records),
            (3, 6, 0)
        );
        assert_eq!(counts.queued_records, 0);
    }

    #[test]
    fn a_full_disk_is_tried_again() {
        let (files, counts) = run(1, false, 13);
        assert_eq!(files, ["first line\nsecond line\nthird line\n"]);
        assert_eq!((counts.written_records, counts.lost_records), (3, 0));
    }

    #[test]
    fn another_file_begins_with_a_whole_line() {
        let (files, counts) = run(1, true, 13);
        assert_eq!(files, ["first line\nse", "second line\nthird line\n"]);
        assert_eq!((counts.written_records, counts.lost_records), (3, 0));
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        /// Never gets anything done until the test ends.
        struct Stuck(Arc<Mutex<()>>);
        impl Output for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                drop(self.0.lock());
                Ok(bytes.len())
            }
            fn follow(&mut self, _: bool) -> io::Result<bool> {
                Ok(false)
            }
        }
        let gate = Arc::new(Mutex::new(()));
        let held = gate.lock().unwrap();
        let mut sink = Sink::start("test", Stuck(Arc::clone(&gate)), 4).unwrap();
        let fates = Arc::default();
        for _ in 0..1000 {
            sink.send(&counted("x\n", &fates));
        }
        assert!(sink.stats.counts().lost_records > 0);
        drop(held);
        sink.close();
        while !sink.is_finished() {
            thread::yield_now();
        }
        let counts = sink.stats.counts();
        assert_eq!(counts.written_records + counts.lost_records, 1000);
        assert_eq!(counts.written_events + counts.lost_events, 2000);
        assert_eq!(fates.take_unwritten(), (counts.lost_events, 0));
        assert_eq!(counts.queued_records, 0);
    }

    #[test]
    fn a_broken_pipe_ends_the_sink() {
        struct Broken;
        impl Output for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::BrokenPipe))
            }
            fn follow(&mut self, _: bool) -> io::Result<bool> {
                Ok(false)
            }
        }
        let mut sink = Sink::start("test", Broken, 4).unwrap();
        sink.send(&line("x\n"));
        while sink.stats.failure().is_none() {
            thread::yield_now();
        }
        sink.send(&line("y\n"));
        sink.close();
        while !sink.is_finished() {
            thread::yield_now();
        }
        let counts = sink.stats.counts();
        assert_eq!(
            (counts.written_records, counts.lost_records, counts.queued_records),
            (0, 2, 0)
        );
    }
}
