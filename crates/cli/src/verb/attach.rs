//! `attach`: shows the team's layout or one member's pane in this terminal. It runs the program that the supervisor
//! names, such as `tmux attach`, and afterwards prints that the team keeps running, if it does. Members without a pane
//! are shown by [`crate::single_terminal`].

use std::convert::Infallible;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use agent_team_client::{Notice, Session, SessionError, Subscription};
use agent_team_protocol::MemberName;
use agent_team_protocol::method::{Attach, AttachAnswer, Nothing, TeamAttach, TeamShow};
use agent_team_protocol::notification::TransientNotice;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::MemberView;
use agent_team_terminal_ui::notifications::UserNotifications;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Global;
use crate::caller;
use crate::detach::print_if_running;
use crate::error::Failure;
use crate::output::Output;
use crate::single_terminal;

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: Option<MemberName>,
    read_only: bool,
) -> Result<ExitCode, Failure> {
    // The supervisor itself switches a terminal that shows the panes; stdin and stdout need not be a terminal then.
    if !output.is_json() && !caller::is_terminal() && !caller::terminal().shows_panes() {
        return Err(no_terminal());
    }
    let mut session = global.session()?;
    if output.is_json() {
        let answer = request_attach(&mut session, member, read_only).await?;
        output.show(&answer, String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    show(session, output, member, read_only).await
}

/// Shows the pane of one member, or the layout of the team. Shows members without panes in the single-terminal view.
async fn show(
    mut session: Session,
    output: Output,
    member: Option<MemberName>,
    read_only: bool,
) -> Result<ExitCode, Failure> {
    match request_attach(&mut session, member.clone(), read_only).await {
        Ok(answer) => view(session, output, answer).await,
        Err(refused) => {
            if caller::is_terminal()
                && is_without_panes(&mut session, member.as_ref())
                    .await
                    .unwrap_or(false)
            {
                return single_terminal::run(session, output, member.as_ref(), read_only).await;
            }
            Err(refused)
        }
    }
}

/// Whether the supervisor refused to attach because there are no panes. With a member: the member is hosted. (A member
/// with its own process needs no pane, because the terminal can be lent to it.) Without a member: some members run, and
/// the placement of each has no panes.
async fn is_without_panes(
    session: &mut Session,
    member: Option<&MemberName>,
) -> Result<bool, Failure> {
    let team = session.query::<TeamShow>(Nothing {}).await?;
    Ok(match member {
        Some(member) => {
            let is_hosted =
                |view: &MemberView| view.name == *member && view.placement == Placement::Hosted;
            team.members.iter().any(is_hosted)
        }
        None => {
            let mut living = team
                .members
                .iter()
                .filter(|view| view.pid.is_some())
                .peekable();
            living.peek().is_some() && living.all(|view| !view.placement.has_panes())
        }
    })
}

/// Shows one member. Called by `next`.
pub(super) async fn member(
    session: Session,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    show(session, output, Some(member), false).await
}

/// Shows the layout of the team. Called by `up`.
pub(super) async fn whole_team(mut session: Session, output: Output) -> Result<ExitCode, Failure> {
    let answer = request_attach(&mut session, None, false).await?;
    view(session, output, answer).await
}

async fn request_attach(
    session: &mut Session,
    member: Option<MemberName>,
    read_only: bool,
) -> Result<AttachAnswer, Failure> {
    let attach = Attach {
        member,
        read_only,
        terminal: caller::terminal(),
    };
    Ok(session.call::<TeamAttach>(attach).await?)
}

/// Runs the program that shows the panes until the user detaches or the panes are gone.
async fn view(session: Session, output: Output, answer: AttachAnswer) -> Result<ExitCode, Failure> {
    let AttachAnswer { argv, unset } = answer;
    let Some((program, arguments)) = argv.split_first() else {
        // The supervisor has switched the caller's terminal.
        return Ok(ExitCode::SUCCESS);
    };
    if !caller::is_terminal() {
        return Err(no_terminal());
    }
    let mut command = Command::new(program);
    command.args(arguments);
    for variable in unset {
        command.env_remove(variable);
    }
    // Keys such as `^C` send their signal to the whole foreground process group, so also to `agent-team`, but only the
    // program must react. Catch the signals here instead of ignoring them: the program would inherit ignored signals,
    // whereas `exec` resets caught signals to their defaults.
    let suspend = SignalKind::from_raw(Signal::TSTP.as_raw());
    let kinds = [SignalKind::interrupt(), SignalKind::quit(), suspend];
    let _caught = kinds
        .into_iter()
        .map(signal)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::io("cannot catch signals", &error))?;
    let is_tmux = Path::new(program).file_name() == Some("tmux".as_ref());
    // In control mode the output of tmux is a protocol.
    let draws_panes = is_tmux && !arguments.iter().any(|argument| argument == "-CC");
    let code = tokio::select! {
        code = run_in_foreground(&mut command) => code,
        never = show_notifications(session.separate()), if draws_panes => match never {},
    };
    let code = code.map_err(|error| Failure::io(format!("cannot run {program}"), &error))?;
    if !is_tmux {
        // The member leaves the cursor after its prompt: start a new line.
        output.note("");
    }
    if code == 0 {
        print_if_running(session, output).await;
    }
    Ok(ExitCode::from(code))
}

/// Shows the desktop notifications of the team in this terminal while tmux draws on it. The tmux server of agent-team
/// does not forward them from its panes (`allow-passthrough off`), because any program in a pane could then send
/// sequences to the user's terminal.
///
/// tmux writes to the same terminal, and the kernel does not mix the bytes of two writes. A write of tmux can end within
/// a sequence if the terminal is slow; a notification is then shown as text until tmux draws these cells again.
async fn show_notifications(session: Session) -> Infallible {
    let notifications = UserNotifications::of_environment(|name| std::env::var(name).ok());
    if let UserNotifications::Desktop(_) = notifications {
        // Without a supervisor the terminal shows no notifications; tmux continues.
        let _lost = forward_notifications(session, notifications).await;
    }
    std::future::pending().await
}

async fn forward_notifications(
    session: Session,
    notifications: UserNotifications,
) -> Result<Infallible, SessionError> {
    let mut session = session.ending_with_supervisor();
    let team = session.query::<TeamShow>(Nothing {}).await?;
    let mut events = Subscription::new(session, team.revision, true).await?;
    loop {
        if let Notice::Transient(TransientNotice {
            notify: Some(notify),
            ..
        }) = events.next().await?
            && notify.desktop
            && let Some(sequence) = notifications.desktop(&notify.text)
        {
            let mut stdout = std::io::stdout().lock();
            // A terminal that is gone ends tmux too.
            let _gone = stdout.write_all(&sequence).and_then(|()| stdout.flush());
        }
    }
}

/// Runs a program that uses the terminal. Returns its exit code, or 128 plus the number of the signal that ended it.
/// Forwards TERM and HUP: if they ended only `agent-team`, the program would keep the terminal, and compete with the
/// shell for input.
async fn run_in_foreground(command: &mut Command) -> std::io::Result<u8> {
    // Listen for child signals before the start, so that no change of the program is missed.
    let mut changed = signal(SignalKind::child())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    loop {
        let options = WaitOptions::UNTRACED | WaitOptions::NOHANG;
        let waited = rustix::io::retry_on_intr(|| waitpid(Some(pid), options))?;
        let Some((_, status)) = waited else {
            let forwarded = tokio::select! {
                _ = changed.recv() => continue,
                _ = terminate.recv() => Signal::TERM,
                _ = hang_up.recv() => Signal::HUP,
            };
            // The program has not been reaped, so the pid is still its own.
            kill_process(pid, forwarded)?;
            continue;
        };
        if status.stopped() {
            // The program suspended itself, as tmux does at a key. The shell waits for `agent-team`, which therefore
            // must stop too. `fg` continues both processes, because they are in one process group.
            kill_process(getpid(), Signal::STOP)?;
            continue;
        }
        let signalled = status.terminating_signal().map(|signal| 128 + signal);
        let code = status.exit_status().or(signalled).unwrap_or(1);
        return Ok(u8::try_from(code).unwrap_or(1));
    }
}

fn no_terminal() -> Failure {
    Failure::new(
        "not_a_terminal",
        agent_team_protocol::exit::ExitCode::Refused,
        "cannot attach: stdin or stdout is not a terminal",
    )
    .hint("run it in a terminal, or follow the output with: agent-team logs MEMBER -f")
}
