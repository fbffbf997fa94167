//! Records every exchange with a model. Wraps a member's model under `--record`.
//!
//! Known secret values are never written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{Exchange, Header, Outcome, Shape, read};
use crate::layer::ModelLayer;
use crate::model::{Answer, Delta, Model, ModelError, Prompt};

/// The replacement for a secret.
const HIDDEN: &str = "[secret]";

/// A model whose exchanges are appended to a file.
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<dyn Model>,
    recording: Arc<Recording>,
}

/// The recording that all models of a member share.
struct Recording {
    path: PathBuf,
    member: String,
    /// The secrets, longest first: one secret may be a prefix of another.
    secrets: Vec<String>,
    writing: Mutex<Writing>,
}

/// Omits the secrets.
impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording")
            .field("path", &self.path)
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Writing {
    file: File,
    /// The number of the member's exchanges in the file.
    written: usize,
}

impl Recorder {
    /// Appends to the file at `path`, which is created if necessary. Values in `secrets` are never written.
    ///
    /// # Errors
    /// If the file cannot be written, or is not a recording.
    pub fn open(
        inner: impl Into<Arc<dyn Model>>,
        path: &Path,
        member: &str,
        mut secrets: Vec<String>,
    ) -> io::Result<Self> {
        secrets.retain(|secret| !secret.is_empty());
        // Also redact the JSON form of each secret: the arguments of a call are JSON text, in which a secret with
        // quotes or backslashes has escapes.
        let quoted = secrets.iter().map(|secret| {
            let quoted = Value::from(secret.as_str()).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        });
        secrets = secrets.iter().cloned().chain(quoted).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();

        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        // Other members of the team may open the file at the same time. Without the lock, two of them could find the
        // file empty and write a header each.
        file.lock()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let written = if text.is_empty() {
            write_line(&mut file, &Header::ours())?;
            0
        } else {
            let exchanges = read(&text).map_err(|why| {
                let why = format!("{}: {why}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, why)
            })?;
            let own = exchanges.iter().filter(|(_, line)| line.member == member);
            own.count()
        };
        file.unlock()?;
        Ok(Self {
            inner: inner.into(),
            recording: Arc::new(Recording {
                path: path.to_owned(),
                member: member.to_owned(),
                secrets,
                writing: Mutex::new(Writing { file, written }),
            }),
        })
    }

    /// Records another model of the same member in the same file. The exchanges of both models are in the order in
    /// which they ended.
    #[must_use]
    pub fn beside(&self, inner: Arc<dyn Model>) -> Self {
        Self {
            inner,
            recording: Arc::clone(&self.recording),
        }
    }
}

impl Recording {
    fn write(&self, model: &dyn Model, shape: Shape, outcome: Outcome) -> io::Result<()> {
        let mut writing = self.writing.lock().expect("no holder of the lock panics");
        let exchange = Exchange {
            member: self.member.clone(),
            exchange: writing.written + 1,
            model: model.name().to_owned(),
            window: model.window(),
            answered: shape.answered,
            last: shape.last,
            tools: shape.tools,
            digest: shape.digest,
            outcome,
        };
        let mut line = serde_json::to_value(&exchange)?;
        self.redact(&mut line["outcome"]);
        // A long line can take several writes. The lock keeps another member's line from being written in between.
        writing.file.lock()?;
        let written = write_line(&mut writing.file, &line);
        writing.file.unlock()?;
        written?;
        writing.written += 1;
        Ok(())
    }

    fn redact(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                for secret in &self.secrets {
                    if text.contains(secret) {
                        *text = text.replace(secret, HIDDEN);
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.redact(value)),
            Value::Object(values) => values.values_mut().for_each(|value| self.redact(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl ModelLayer for Recorder {
    fn inner(&self) -> &dyn Model {
        &*self.inner
    }

    async fn ask(
        &self,
        prompt: Prompt<'_>,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let answered = self.inner.answer(prompt, on_delta).await;
        let outcome = match &answered {
            Ok(answer) => Outcome::Answer(answer.clone()),
            Err(ModelError::TooLong(why)) => Outcome::TooLong(why.clone()),
            Err(_) => return answered,
        };
        let recording = &self.recording;
        match recording.write(self.inner(), Shape::of(&prompt), outcome) {
            Ok(()) => answered,
            // An incomplete recording is useless, so the answer fails as well.
            Err(error) => Err(ModelError::Unrecorded(format!(
                "cannot write the recording {}: {error}",
                recording.path.display()
            ))),
        }
    }
}

fn write_line(file: &mut File, line: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    file.write_all(&line)
}
