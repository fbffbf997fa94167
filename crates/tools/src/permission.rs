//! Permission for a call. Called before the call begins: by tools that change files, run commands or reach out of the
//! project, and by tools that read a file, if a `Read` rule covers it.
//!
//! The supervisor decides. The call waits without a time limit, and without an answer nothing is permitted. If a
//! pending request is allowed, the supervisor records the start of the call before the call does anything, so that a
//! crash cannot make another member execute it a second time.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use agent_team_policy::{Action, CallPath};
use agent_team_protocol::codec::is_within_limits;
use agent_team_protocol::hook::HookDecision;
use agent_team_protocol::method::{
    RequestAsk, RequestBegin, RequestEnd, RequestWait, RequestWithdraw,
};
use agent_team_protocol::request::{
    AskRequest, Containment, Decided, OneRequest, Permission as Answer, ResolvedCallPath,
    RunnableView, WithdrawRequest, waiting_line,
};
use agent_team_protocol::{ErrorCode, Refusal, RequestId};
use agent_team_system::path::resolve;
use serde_json::Value;
use tokio::task_local;

use crate::adapter::{Access, Call, Progress};
use crate::context::ToolContext;
use crate::resolved_path::ResolvedPath;
use crate::supervisor_client::SupervisorClient;
use crate::tool::{ToolError, off_thread};

/// The largest request, in bytes of its JSON: half of a frame, because the answers to clients repeat the request.
const REQUEST_MAX: usize = 512 << 10;

task_local! {
    /// The decision of a hook about the call that this tokio task runs.
    static HOOK: Option<HookDecision>;
}

/// Runs a call that a hook allows. The call still asks for its permission: a hook overrides no rule.
pub async fn allowed_by_hook<T>(call: impl Future<Output = T>) -> T {
    HOOK.scope(Some(HookDecision::Allow), call).await
}

/// Runs a call within another call without the decision of a hook: the hook that allowed the outer call has not
/// received the inner call.
pub async fn without_hook<T>(call: impl Future<Output = T>) -> T {
    HOOK.scope(None, call).await
}

/// How calls get their permission.
#[derive(Debug, Clone)]
pub enum Permission {
    /// No call needs permission: the user chose the mode `bypass`.
    Bypass,
    /// The supervisor decides about each call.
    Ask(SupervisorClient),
}

/// A permitted call. Keep it until the call has finished.
#[derive(Debug)]
pub struct Permit {
    /// For a shell line: the parsed words to execute instead of the requested text.
    pub(super) run: Option<RunnableView>,
    _open: Option<OpenRequest>,
}

/// A pending or begun request. Dropping this value withdraws a pending request, and reports a begun request as
/// finished.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    client: SupervisorClient,
    request: RequestId,
    begun: bool,
    terminal_decision: TerminalDecision,
}

/// The user's decision in an agent's own terminal interface: whether a call is allowed. Set before the question is
/// dropped, so that the withdrawal of the request reports the decision.
pub type TerminalDecision = Arc<OnceLock<bool>>;

impl OpenRequest {
    pub(crate) fn new(client: SupervisorClient, request: RequestId) -> Self {
        Self {
            client,
            request,
            begun: false,
            terminal_decision: TerminalDecision::default(),
        }
    }

    /// Waits for the decision, without a time limit.
    pub(crate) async fn decided(&self) -> Result<Decided, Refusal> {
        let request = self.request;
        self.client
            .call::<RequestWait>(&OneRequest { request })
            .await
    }
}

impl Permission {
    pub(super) fn is_asked(&self) -> bool {
        matches!(self, Permission::Ask(_))
    }

    /// The access of a tool that changes nothing but needs permission: calls that may wait for a decision run one at a
    /// time.
    pub(super) fn access(&self) -> Access {
        match self.is_asked() {
            true => Access::Changes,
            false => Access::Reads,
        }
    }

    /// Requests permission to read a file, if a `Read` rule covers it. `found` is the resolved path of `given`.
    pub(super) async fn ask_to_read(
        &self,
        call: Call<'_>,
        given: &str,
        found: &ResolvedPath,
    ) -> Result<(), ToolError> {
        let context = call.context;
        let is_guarded = context.guard.covers_given(&context.cwd, given);
        if is_guarded || context.guard.covers(&found.path()) {
            let arguments = serde_json::json!({ "path": given });
            let _permit = self.ask_about(call, &arguments, &[found.path()]).await?;
        }
        Ok(())
    }

    /// Waits for permission. `arguments`: the arguments that the user sees and decides about. `sandbox`: the guarantees
    /// of the sandbox of the call's processes; `None` without a sandbox.
    ///
    /// # Errors
    /// If permission is denied; the text gives the model the reason.
    pub(super) async fn ask(
        &self,
        call: Call<'_>,
        arguments: &Value,
        sandbox: Option<Containment>,
    ) -> Result<Permit, ToolError> {
        self.ask_with(call, arguments, sandbox, None).await
    }

    /// Like [`Self::ask`], for a call whose paths were resolved to `targets` earlier. If a link on a path has changed
    /// since, the supervisor would decide about a file that the call does not use.
    ///
    /// # Errors
    /// As for [`Self::ask`], and if the paths of the call now lead to other files.
    pub(super) async fn ask_about(
        &self,
        call: Call<'_>,
        arguments: &Value,
        targets: &[PathBuf],
    ) -> Result<Permit, ToolError> {
        self.ask_with(call, arguments, None, Some(targets)).await
    }

    async fn ask_with(
        &self,
        call: Call<'_>,
        arguments: &Value,
        sandbox: Option<Containment>,
        targets: Option<&[PathBuf]>,
    ) -> Result<Permit, ToolError> {
        if !self.is_asked() {
            return Ok(Permit::free(None));
        }
        let paths = resolve_paths(Action::of(call.tool, arguments).paths(), call.context).await?;
        if targets.is_some_and(|targets| leads_elsewhere(&paths, targets)) {
            let text = "a link on the path changed: repeat the call";
            return Err(ToolError::Failed(text.to_owned()));
        }
        let ask = AskRequest {
            tool: call.tool.to_owned(),
            arguments: serde_json::value::to_raw_value(arguments)
                .map_err(|error| ToolError::Input(error.to_string()))?,
            directory: call.context.cwd.clone(),
            confined: sandbox.is_some(),
            containment: sandbox.unwrap_or_default(),
            paths,
            hook: HOOK.try_with(Clone::clone).ok().flatten(),
        };
        self.request(&ask, call.progress).await
    }

    /// Waits for the decision that a hook requires. Afterwards, the call requests its permission as usual.
    ///
    /// # Errors
    /// If permission is denied; the text gives the model the reason.
    pub async fn ask_for_hook(
        &self,
        tool: &str,
        arguments: &Value,
        reason: String,
        context: &ToolContext,
        progress: Progress<'_>,
    ) -> Result<Permit, ToolError> {
        let ask = AskRequest {
            // The call's own request reports a missing sandbox.
            confined: true,
            hook: Some(HookDecision::Ask { reason }),
            ..unconfined(tool, arguments, context).await?
        };
        self.request(&ask, progress).await
    }

    /// Waits for permission for a call that the program of another vendor's agent executes. No sandbox of agent-team
    /// confines the call. `terminal_decision`: where the agent reports the user's own decision.
    /// # Errors
    /// If permission is denied; the text gives the agent the reason.
    pub async fn ask_for_external(
        &self,
        tool: &str,
        arguments: &Value,
        context: &ToolContext,
        progress: Progress<'_>,
        terminal_decision: &TerminalDecision,
    ) -> Result<Permit, ToolError> {
        let ask = unconfined(tool, arguments, context).await?;
        self.request_unless(&ask, progress, terminal_decision).await
    }

    /// Waits for permission to add this shell line to a task.
    ///
    /// # Errors
    /// If permission is denied; the text gives the model the reason.
    pub async fn ask_for_task_line(
        &self,
        line: &str,
        project: &Path,
        progress: Progress<'_>,
    ) -> Result<Permit, ToolError> {
        let ask = AskRequest::for_task_line(line, project.to_owned());
        self.request(&ask, progress).await
    }

    async fn request(&self, ask: &AskRequest, progress: Progress<'_>) -> Result<Permit, ToolError> {
        self.request_unless(ask, progress, &TerminalDecision::default())
            .await
    }

    /// Requests permission and waits for it. If the user decides in the agent's own terminal interface, the caller sets
    /// `terminal_decision` and then drops the future.
    async fn request_unless(
        &self,
        ask: &AskRequest,
        progress: Progress<'_>,
        terminal_decision: &TerminalDecision,
    ) -> Result<Permit, ToolError> {
        let client = match self {
            Permission::Bypass => return Ok(Permit::free(None)),
            Permission::Ask(client) => client,
        };
        if !is_showable(ask) {
            let why = "its arguments are too large to be shown for a decision; split the call";
            return Err(denied(why));
        }
        loop {
            let request = match client.call::<RequestAsk>(ask).await.map_err(refused)? {
                Answer::Allowed { run } => return Ok(Permit::free(run)),
                Answer::Denied { why } => return Err(denied(&why)),
                Answer::Asked { request } => request,
                Answer::Unknown => {
                    return Err(denied("the supervisor's answer is unknown to this version"));
                }
            };
            let mut open = OpenRequest::new(client.clone(), request);
            open.terminal_decision = terminal_decision.clone();
            progress(&(waiting_line(request) + "\n"));
            match open.decided().await.map_err(refused)? {
                Decided::Allowed { .. } => {}
                Decided::Denied { by, reason } if reason.is_empty() => {
                    return Err(denied(&format!("{request} was denied by {by}")));
                }
                Decided::Denied { by, reason } => {
                    return Err(denied(&format!("{request} was denied by {by}: {reason}")));
                }
                Decided::Over | Decided::Unknown => {
                    return Err(denied(&format!(
                        "{request} was withdrawn: repeat the call if it is still necessary"
                    )));
                }
            }
            let one = OneRequest { request };
            match client.call::<RequestBegin>(&one).await {
                Ok(_) => {}
                // Equal calls that run at the same time, such as those of two helpers, share a request, and only one of
                // them may begin it. The others ask again.
                Err(refusal) if refusal.code == ErrorCode::NotAllowed => continue,
                Err(refusal) => return Err(refused(refusal)),
            }
            open.begun = true;
            return Ok(Permit {
                run: None,
                _open: Some(open),
            });
        }
    }
}

impl Permit {
    fn free(run: Option<RunnableView>) -> Self {
        Self { run, _open: None }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        // Without a runtime, the process is exiting, and the supervisor closes the request when it sees the exit.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (client, begun) = (self.client.clone(), self.begun);
        let request = self.request;
        let withdraw = WithdrawRequest {
            request,
            allowed_in_agent: self.terminal_decision.get().copied(),
        };
        runtime.spawn(async move {
            // Ignore a refusal: the supervisor closes the requests of a member that exits, and a withdrawn request may
            // be closed already.
            let _refused = match begun {
                true => client.call::<RequestEnd>(&OneRequest { request }).await,
                false => client.call::<RequestWithdraw>(&withdraw).await,
            };
        });
    }
}

/// Returns whether a path of the request leads to a file that is not among the targets.
fn leads_elsewhere(paths: &[ResolvedCallPath], targets: &[PathBuf]) -> bool {
    paths.iter().any(|path| !targets.contains(&path.resolved))
}

/// The request for a call without a sandbox.
async fn unconfined(
    tool: &str,
    arguments: &Value,
    context: &ToolContext,
) -> Result<AskRequest, ToolError> {
    Ok(AskRequest {
        tool: tool.to_owned(),
        arguments: serde_json::value::to_raw_value(arguments)
            .map_err(|error| ToolError::Input(error.to_string()))?,
        directory: context.cwd.clone(),
        confined: false,
        containment: Containment::Unknown,
        paths: resolve_paths(Action::of(tool, arguments).paths(), context).await?,
        hook: None,
    })
}

async fn resolve_paths(
    given: Vec<String>,
    context: &ToolContext,
) -> Result<Vec<ResolvedCallPath>, ToolError> {
    let cwd = context.cwd.clone();
    off_thread(move || {
        Ok(given
            .into_iter()
            .filter_map(|path| look_up(&cwd, path))
            .collect())
    })
    .await
}

/// Resolves a path. Returns `None` if it cannot be resolved; no rule can then allow the call.
fn look_up(cwd: &Path, given: String) -> Option<ResolvedCallPath> {
    let path = CallPath::lexical(cwd, &given);
    let resolved = resolve(&path).ok()?;
    // The kernel applies `..` to the target of a link: `link/../x` can be another file than `x`.
    let mut parts = Path::new(&given).components();
    if parts.any(|part| part == Component::ParentDir)
        && cwd.join(&given).canonicalize().ok()? != resolved
    {
        return None;
    }
    Some(ResolvedCallPath {
        given,
        path,
        resolved,
    })
}

/// Whether the supervisor and its clients accept a frame with this request. A larger frame would end the connection, and
/// would be sent again over the next one.
fn is_showable(ask: &AskRequest) -> bool {
    let text = serde_json::to_string(ask).unwrap_or_default();
    // In a frame, the request is nested within four more brackets.
    !text.is_empty() && text.len() <= REQUEST_MAX && is_within_limits(&format!("[[[[{text}]]]]"))
}

/// The error of a denied call. The pane shows the first line to the user; the second line is for the model.
fn denied(why: &str) -> ToolError {
    ToolError::Failed(format!(
        "Not permitted: {why}.\nThe call was not executed; do not attempt the same by other means."
    ))
}

fn refused(refusal: Refusal) -> ToolError {
    denied(&refusal.message)
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::method::Method;
    use serde::Serialize;
    use serde_json::value::{RawValue, to_raw_value};

    use super::*;

    fn raw(answer: &impl Serialize) -> Box<RawValue> {
        to_raw_value(answer).unwrap()
    }

    #[tokio::test]
    async fn a_call_asks_again_if_an_equal_call_began_its_request() {
        let (member, role) = ("ada".parse().unwrap(), "worker".parse().unwrap());
        let (client, mut calls) = SupervisorClient::new(member, role, false);
        let request = RequestId(1);
        let (by, scope) = (None, None);
        let begun = Refusal::new(ErrorCode::NotAllowed, "r1 was begun");
        let script = [
            (RequestAsk::NAME, Ok(raw(&Answer::Asked { request }))),
            (RequestWait::NAME, Ok(raw(&Decided::Allowed { by, scope }))),
            (RequestBegin::NAME, Err(begun)),
            (RequestAsk::NAME, Ok(raw(&Answer::Allowed { run: None }))),
        ];
        let answer = async {
            for (method, answer) in script {
                let mut call = calls.recv().await.unwrap();
                // The shared request is withdrawn; the supervisor ignores this.
                while call.method == RequestWithdraw::NAME {
                    call = calls.recv().await.unwrap();
                }
                assert_eq!(call.method, method);
                call.answer.send(answer).unwrap();
            }
        };
        let permission = Permission::Ask(client);
        let ask = AskRequest::for_task_line("make", PathBuf::from("/project"));
        let ignore = |_: &str| ();
        let (permit, ()) = tokio::join!(permission.request(&ask, &ignore), answer);
        permit.unwrap();
    }

    #[test]
    fn a_link_that_changed_leads_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let project = directory.path().canonicalize().unwrap();
        let link = project.join("link");
        std::fs::write(project.join("one"), "1").unwrap();
        std::fs::write(project.join("two"), "2").unwrap();
        std::os::unix::fs::symlink("one", &link).unwrap();
        let targets = [project.join("one")];
        let judged = || [look_up(&project, "link".to_owned()).unwrap()];
        assert!(!leads_elsewhere(&judged(), &targets));
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("two", &link).unwrap();
        assert!(leads_elsewhere(&judged(), &targets));
    }
}
