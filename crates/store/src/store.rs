//! A [`Writer`] on a thread of its own, so that the driver does not wait for a disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, mpsc};
use std::thread::{self, JoinHandle};

use crate::writer::{Batch, CommitError, Committed, Writer};

/// Takes the result of each batch, in the order in which they were submitted, exactly one for each. Called on the
/// writer's thread: it must hand the result on and return.
pub type Sink = Box<dyn Fn(Result<Committed, CommitError>) + Send>;

#[derive(Debug)]
pub struct Store {
    /// `None` once it is closed.
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    /// `None` once it is closed. Held by whoever commits.
    writer: Option<Arc<Mutex<Writer>>>,
}

#[derive(Debug)]
enum Work {
    Commit(Batch),
    Upkeep,
}

impl Store {
    /// Errors: the thread cannot be started.
    pub fn start(writer: Writer, sink: Sink) -> io::Result<Self> {
        let file = writer.file().to_owned();
        let writer = Arc::new(Mutex::new(writer));
        let (work, given) = mpsc::channel();
        let on_thread = Arc::clone(&writer);
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || serve(&on_thread, &file, &given, &sink))?;
        Ok(Self {
            work: Some(work),
            thread: Some(thread),
            writer: Some(writer),
        })
    }

    /// Hands a batch over. Returns at once; the sink is told.
    pub fn submit(&self, batch: Batch) {
        self.give(Work::Commit(batch));
    }

    /// Commits on the caller's thread, which waits for the disk: cheaper than two hand-overs between threads where
    /// the disk is quick. The sink is not told. Gives the batch back when the thread is at work.
    pub fn commit_here(&self, batch: Batch) -> Result<Result<Committed, CommitError>, Batch> {
        let writer = self.writer.as_ref().expect("only closing takes it away");
        let mut writer = match writer.try_lock() {
            Ok(writer) => writer,
            // The thread panicked: it has said so to the sink, and the next hand-over says it again.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Err(batch),
        };
        let result = writer.commit(batch);
        let upkeep = writer.is_upkeep_due();
        drop(writer);
        if upkeep {
            self.give(Work::Upkeep);
        }
        Ok(result)
    }

    /// Waits until every batch is answered, and leaves the journal as a single file. Dropping does the same.
    pub fn close(self) {
        drop(self);
    }

    fn give(&self, work: Work) {
        let thread = self.work.as_ref().expect("only closing takes it away");
        thread
            .send(work)
            .expect("the thread lives as long as the store");
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.work = None;
        // A panic over there has been told to the sink.
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
            let answer = Answer {
                sink,
                file: Some(file.to_owned()),
            };
            answer.give(writer.commit(batch));
        }
        writer.upkeep();
    }
}

/// A batch without a result would leave the driver waiting for ever.
struct Answer<'a> {
    sink: &'a Sink,
    /// `None` once it is given.
    file: Option<PathBuf>,
}

impl Answer<'_> {
    fn give(mut self, result: Result<Committed, CommitError>) {
        self.file = None;
        (self.sink)(result);
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            (self.sink)(Err(CommitError::Panicked(file)));
        }
    }
}
