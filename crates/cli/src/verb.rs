//! The verbs, one file each, named like the verb; `stop`, `kill` and `restart` are in `member.rs`. `run` dispatches;
//! the file of a verb contacts the supervisor and prints. `goal.rs`, `trust.rs`, `waiting.rs` and `text_argument.rs`
//! contain code that several verbs share.

pub(crate) mod acp;
mod asking;
mod attach;
pub(crate) mod audit;
mod cancel;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod doctor;
mod down;
mod events;
mod goal;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod mcp;
mod member;
pub(crate) mod messages;
mod mode;
pub(crate) mod models;
mod native_worker;
pub(crate) mod next;
pub(crate) mod notes;
mod panes;
mod prices;
mod ps;
pub(crate) mod report;
pub(crate) mod requests;
pub(crate) mod role;
pub(crate) mod rules;
mod run;
pub(crate) mod send;
pub(crate) mod serve;
mod spawn;
mod stats;
pub(crate) mod supervisor;
mod task;
mod team;
mod text_argument;
mod top;
mod trust;
mod up;
mod waiting;
pub(crate) mod why;

use std::process::ExitCode;

use agent_team_protocol::ErrorCode;
use agent_team_protocol::method::SendMessage;

use self::text_argument::{is_typed, text_or_stdin};
use crate::args::{Cli, GoalCommand, MemberCommand, Verb};
use crate::error::Failure;
use crate::output::Output;

/// Runs the verb of the command line.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { global, verb } = cli;
    let output = Output::new(global.json);
    match verb {
        Verb::Up(args) => {
            let open_page = async |team, session| serve::web(&global, output, team, session).await;
            up::run(&global, output, args, open_page).await
        }
        Verb::Run(args) => run::run(&global, output, args).await,
        Verb::Cancel(args) | Verb::Goal(GoalCommand::Cancel(args)) => {
            cancel::run(&global, output, args.reason).await
        }
        Verb::Goal(GoalCommand::Show) => goal::show::run(&global, output).await,
        Verb::Down { force } => down::run(&global, output, force).await,
        Verb::Ps => ps::run(&global, output).await,
        Verb::Top { once } => top::run(&global, output, once).await,
        Verb::Stats => stats::run(&global, output).await,
        Verb::Why { subject } => why::run(&global, output, subject).await,
        Verb::Logs(args) => logs::run(&global, output, args).await,
        Verb::Events { follow, after } => events::run(&global, output, follow, after).await,
        Verb::Report(args) => report::run(&global, output, args).await,
        Verb::Serve(args) => serve::run(&global, output, args).await,
        Verb::Attach { member, read_only } => attach::run(&global, output, member, read_only).await,
        Verb::Next { print } => next::run(&global, output, print).await,
        Verb::Panes(command) => panes::run(&global, output, command).await,
        Verb::Spawn(args) => spawn::run(&global, output, args).await,
        Verb::Stop { member, force } => member::stop(&global, output, member, force).await,
        Verb::Kill { member } => member::kill(&global, output, member).await,
        Verb::Restart { member } => member::restart(&global, output, member).await,
        Verb::Compact { member } => member::compact(&global, output, member).await,
        Verb::Member(MemberCommand::Remove { member, force }) => {
            member::remove(&global, output, member, force).await
        }
        Verb::Send {
            to,
            text,
            urgent,
            reply_to,
            summary,
            wait,
            timeout,
        } => {
            let text = text.join(" ");
            let message = SendMessage {
                to,
                attach_outside: is_typed(&text),
                text: text_or_stdin(text, ErrorCode::MessageTooLarge)?,
                urgent,
                reply_to,
                summary,
                wants_reply: wait,
            };
            send::run(&global, output, message, timeout).await
        }
        Verb::Messages {
            member,
            limit,
            peek,
            full,
        } => messages::run(&global, output, member, limit, peek, full).await,
        Verb::Mode { mode, member } => mode::run(&global, output, mode, member).await,
        Verb::Rules(command) => rules::run(&global, output, command).await,
        Verb::Audit { member, command } => audit::run(&global, output, member, command).await,
        Verb::Requests { command } => requests::run(&global, output, command).await,
        Verb::Notes { command } => notes::run(&global, output, command).await,
        Verb::Task(command) => task::run(&global, output, command).await,
        Verb::Team(command) => team::run(&global, output, command).await,
        Verb::Role(command) => role::run(&global, output, command).await,
        Verb::Models { command } => models::run(output, command),
        Verb::Config(command) => config::run(&global, output, command).await,
        Verb::Supervisor(command) => supervisor::run(output, command).await,
        Verb::Mcp(args) => mcp::run(&global, output, args).await,
        Verb::Acp(args) => acp::run(&global, output, args).await,
        Verb::Doctor(args) => doctor::run(output, args).await,
        Verb::Init(options) => init::run(output, options),
        Verb::Completions { shell } => completions::run(output, shell),
        Verb::Man { page, out } => man::run(output, page.as_deref(), out),
    }
}
