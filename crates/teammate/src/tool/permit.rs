//! May this call be carried out? Called by the tools that change something or reach out of the project, before they
//! begin.
//!
//! The supervisor decides, and this waits for it however long that takes: no answer is no permission. What somebody
//! allowed is told to be begun before anything is done, so that nobody does it a second time after a crash.

use std::path::Path;

use agent_team_policy::{Action, CallPath};
use agent_team_protocol::method::{
    RequestAsk, RequestBegin, RequestEnd, RequestWait, RequestWithdraw,
};
use agent_team_protocol::request::{
    AskRequest, Decided, OneRequest, Permission as Answer, PlaceSpec, RunnableView,
};
use agent_team_protocol::{Refusal, RequestId};
use agent_team_system::path::resolve;
use serde_json::Value;

use super::place::Place as File;
use super::{Bench, ToolError, off_thread};
use crate::desk::Desk;

/// What holds for the tools that need a permission.
#[derive(Debug, Clone)]
pub enum Permission {
    /// Nobody is asked: the user wants it so.
    Bypass,
    /// The supervisor is asked for every call.
    Asked(Desk),
}

/// A call that may be carried out. To be kept until it was.
#[derive(Debug)]
pub(crate) struct Permit {
    /// What a line is carried out as, in place of what was asked.
    pub(super) run: Option<RunnableView>,
    _open: Option<Open>,
}

/// A request that is not over. Dropping it says that nobody waits for it, or that it was carried out as far as it went.
#[derive(Debug)]
pub(crate) struct Open {
    desk: Desk,
    request: RequestId,
    begun: bool,
}

impl Open {
    pub(crate) fn new(desk: Desk, request: RequestId) -> Self {
        Self {
            desk,
            request,
            begun: false,
        }
    }

    /// Waits for somebody's word, however long that takes.
    pub(crate) async fn decided(&self) -> Result<Decided, Refusal> {
        let request = self.request;
        self.desk.call::<RequestWait>(&OneRequest { request }).await
    }
}

impl Permission {
    pub(super) fn is_asked(&self) -> bool {
        matches!(self, Permission::Asked(_))
    }

    /// Asks for a tool that only reads this file; only files that rules name are asked about. `found` is where `given`
    /// led: a link that leads elsewhere by now changes neither the file that was judged nor the one that is read.
    pub(super) async fn ask_to_read(
        &self,
        tool: &str,
        given: &str,
        found: &File,
        bench: &Bench,
        shown: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), ToolError> {
        let is_guarded = bench.guard.covers_given(&bench.cwd, given);
        if is_guarded || bench.guard.covers(&found.path()) {
            let arguments = serde_json::json!({ "path": given });
            let _permit = self.ask(tool, &arguments, false, bench, shown).await?;
        }
        Ok(())
    }

    /// Waits until the call may be carried out. `confined`: a sandbox will hold what it starts.
    ///
    /// # Errors
    /// When it may not; the text tells the model why.
    pub(super) async fn ask(
        &self,
        tool: &str,
        arguments: &Value,
        confined: bool,
        bench: &Bench,
        shown: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Permit, ToolError> {
        if !self.is_asked() {
            return Ok(Permit::free(None));
        }
        let ask = AskRequest {
            tool: tool.to_owned(),
            arguments: serde_json::value::to_raw_value(arguments)
                .map_err(|error| ToolError::Input(error.to_string()))?,
            directory: bench.cwd.clone(),
            confined,
            places: places(Action::of(tool, arguments).paths(), bench).await?,
        };
        self.put(&ask, shown).await
    }

    /// Waits until a task may have this shell line.
    pub(crate) async fn ask_for_task_line(
        &self,
        line: &str,
        project: &Path,
        shown: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Permit, ToolError> {
        let ask = AskRequest::for_task_line(line, project.to_owned());
        self.put(&ask, shown).await
    }

    async fn put(
        &self,
        ask: &AskRequest,
        shown: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Permit, ToolError> {
        let desk = match self {
            Permission::Bypass => return Ok(Permit::free(None)),
            Permission::Asked(desk) => desk,
        };
        let request = match desk.call::<RequestAsk>(ask).await.map_err(refused)? {
            Answer::Allowed { run } => return Ok(Permit::free(run)),
            Answer::Denied { why } => return Err(denied(&why)),
            Answer::Asked { request } => request,
            Answer::Unknown => return Err(denied("the supervisor's answer is not known here")),
        };
        let mut open = Open::new(desk.clone(), request);
        shown(&format!(
            "{request} waits for permission: agent-team requests show {request}\n"
        ));
        match open.decided().await.map_err(refused)? {
            Decided::Allowed => {}
            Decided::Denied { by, reason } if reason.is_empty() => {
                return Err(denied(&format!("{request}: by {by}")));
            }
            Decided::Denied { by, reason } => {
                return Err(denied(&format!("{request}: by {by}: {reason}")));
            }
            Decided::Over | Decided::Unknown => {
                return Err(denied(&format!("{request} is over: ask again if need be")));
            }
        }
        let one = OneRequest { request };
        desk.call::<RequestBegin>(&one).await.map_err(refused)?;
        open.begun = true;
        Ok(Permit {
            run: None,
            _open: Some(open),
        })
    }
}

impl Permit {
    fn free(run: Option<RunnableView>) -> Self {
        Self { run, _open: None }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Told as long as this process lives; what it cannot tell any more, its death does.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (desk, begun) = (self.desk.clone(), self.begun);
        let one = OneRequest {
            request: self.request,
        };
        runtime.spawn(async move {
            let _member_ends = match begun {
                true => desk.call::<RequestEnd>(&one).await,
                false => desk.call::<RequestWithdraw>(&one).await,
            };
        });
    }
}

async fn places(given: Vec<String>, bench: &Bench) -> Result<Vec<PlaceSpec>, ToolError> {
    let cwd = bench.cwd.clone();
    off_thread(move || {
        Ok(given
            .into_iter()
            .filter_map(|path| look_up(&cwd, path))
            .collect())
    })
    .await
}

/// What cannot be followed to its end is left out, and so allowed by nothing.
fn look_up(cwd: &Path, given: String) -> Option<PlaceSpec> {
    let path = CallPath::lexical(cwd, &given);
    let resolved = resolve(&path).ok()?;
    Some(PlaceSpec {
        given,
        path,
        resolved,
    })
}

fn denied(why: &str) -> ToolError {
    ToolError::Failed(format!(
        "Not permitted: {why}. It was not carried out; do not try to get the same in another way."
    ))
}

fn refused(refusal: Refusal) -> ToolError {
    denied(&refusal.message)
}
