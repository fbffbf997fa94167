//! Runs a [`Writer`] on its own thread, so that the driver does not wait for a disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, mpsc};
use std::thread::{self, JoinHandle};

use crate::writer::{Batch, CommitError, Committed, Writer};

/// Receives the results of submitted batches: exactly one for each, in the order of submission. It is called on the
/// writer's thread, so it must pass the result on without blocking.
pub type Sink = Box<dyn Fn(Result<Committed, CommitError>) + Send>;

#[derive(Debug)]
pub struct Store {
    /// `None` once the store is closed.
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    /// `None` once the store is closed. Locked by the thread that commits.
    writer: Option<Arc<Mutex<Writer>>>,
}

#[derive(Debug)]
enum Work {
    Commit(Batch),
    Upkeep,
}

impl Store {
    /// Starts the writer's thread.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(writer: Writer, sink: Sink) -> io::Result<Self> {
        let file = writer.file().to_owned();
        let writer = Arc::new(Mutex::new(writer));
        let (work, queue) = mpsc::channel();
        let on_thread = Arc::clone(&writer);
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || serve(&on_thread, &file, &queue, &sink))?;
        Ok(Self {
            work: Some(work),
            thread: Some(thread),
            writer: Some(writer),
        })
    }

    /// Submits a batch and returns immediately; the sink receives the result.
    pub fn submit(&self, batch: Batch) {
        self.send(Work::Commit(batch));
    }

    /// Commits on the caller's thread, which waits for the disk: on a fast disk this is cheaper than switching threads
    /// twice. The sink is not called.
    ///
    /// # Errors
    /// Returns the batch if the writer's thread is busy, or if a commit or the upkeep has panicked.
    pub fn commit_here(&self, batch: Batch) -> Result<Result<Committed, CommitError>, Batch> {
        let writer = self.writer.as_ref().expect("taken only on close");
        let mut writer = match writer.try_lock() {
            Ok(writer) => writer,
            // Poisoned: a commit or the upkeep panicked. If it ran on the writer's thread, that thread exits, and then
            // `submit` panics.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Err(batch),
        };
        let result = writer.commit(batch);
        let upkeep = writer.is_upkeep_due();
        drop(writer);
        if upkeep {
            self.send(Work::Upkeep);
        }
        Ok(result)
    }

    /// Waits until every batch has a result, and leaves the whole journal in the database file. Dropping does the same.
    pub fn close(self) {
        drop(self);
    }

    fn send(&self, work: Work) {
        let thread = self.work.as_ref().expect("taken only on close");
        thread
            .send(work)
            .expect("the thread lives as long as the store");
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // First close the channel: the thread then ends after the submitted batches. Then join the thread: it has then
        // dropped its reference to the writer. Only then does `into_inner` return the writer, which must be closed
        // here.
        self.work = None;
        // An error means that the thread panicked. If it panicked during a commit, the sink has received `Panicked`; if
        // during upkeep, nothing.
        let _ended = self.thread.take().map(JoinHandle::join);
        let writer = self.writer.take().and_then(Arc::into_inner);
        if let Some(Ok(writer)) = writer.map(Mutex::into_inner) {
            writer.close();
        }
    }
}

fn serve(writer: &Mutex<Writer>, file: &Path, work: &mpsc::Receiver<Work>, sink: &Sink) {
    for work in work {
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Work::Commit(batch) = work {
            let guard = ResultGuard {
                sink,
                file: Some(file.to_owned()),
            };
            guard.send(writer.commit(batch));
        }
        writer.upkeep();
    }
}

/// Sends a result even if the thread panics: a batch without a result would block the driver forever.
struct ResultGuard<'a> {
    sink: &'a Sink,
    /// `None` once the result was sent.
    file: Option<PathBuf>,
}

impl ResultGuard<'_> {
    fn send(mut self, result: Result<Committed, CommitError>) {
        self.file = None;
        (self.sink)(result);
    }
}

impl Drop for ResultGuard<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            (self.sink)(Err(CommitError::Panicked(file)));
        }
    }
}
