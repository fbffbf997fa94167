//! A [`Writer`] on a thread of its own, so that the driver never waits for a disk.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use crate::writer::{Batch, CommitError, Committed, Writer};

/// Takes the result of each batch, in the order in which they were submitted, exactly one for each. Called on the
/// writer's thread: it must hand the result on and return.
pub type Sink = Box<dyn Fn(Result<Committed, CommitError>) + Send>;

#[derive(Debug)]
pub struct Store {
    /// `None` once it is closed.
    batches: Option<mpsc::Sender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Errors: the thread cannot be started.
    pub fn start(writer: Writer, sink: Sink) -> io::Result<Self> {
        let (batches, submitted) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || serve(writer, &submitted, &sink))?;
        Ok(Self {
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    /// Hands a batch over. Returns at once; the sink is told.
    pub fn submit(&self, batch: Batch) {
        let batches = self.batches.as_ref().expect("only closing takes it away");
        batches
            .send(batch)
            .expect("the writer lives as long as the store");
    }

    /// Waits until every batch is answered, and leaves the journal as a single file. Dropping does the same.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.batches = None;
        // A panic over there has been told to the sink.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(mut writer: Writer, batches: &mpsc::Receiver<Batch>, sink: &Sink) {
    let file = writer.file().to_owned();
    for batch in batches {
        let answer = Answer {
            sink,
            file: Some(file.clone()),
        };
        answer.give(writer.commit(batch));
        writer.upkeep();
    }
    writer.close();
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
