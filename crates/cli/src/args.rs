//! The command-line definition: arguments and help texts. `main` parses it; `completions` and `man` render it.
//! Each verb is implemented in the file of the same name in `verb/`; `stop`, `kill` and `restart` share
//! `verb/member.rs`.

use std::path::PathBuf;

use agent_team_protocol::envelope::{CUSTOM, CustomEvent};
use agent_team_protocol::external;
use agent_team_protocol::id::{InvalidId, NumberedId};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::placement::{PlacementChoice, PlacementInfo};
use agent_team_protocol::value::Effort;
use agent_team_protocol::{MemberName, MessageId, Recipient, Revision, RoleName};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::complete;

mod acp;
mod doctor;
mod init;
mod logs;
mod mcp;
mod notes;
mod report;
mod requests;
mod rules;
mod serve;
mod task;
mod why;

pub(crate) use acp::{Acp, AcpEditor};
pub(crate) use doctor::Doctor;
pub(crate) use init::Init;
pub(crate) use logs::Logs;
pub(crate) use mcp::{Mcp, McpProgram};
pub(crate) use notes::NotesCommand;
pub(crate) use report::Report;
pub(crate) use requests::{RequestsCommand, Scope};
pub(crate) use rules::RulesCommand;
pub(crate) use serve::Serve;
pub(crate) use task::{Clear, TaskCommand, TaskFields};
pub(crate) use why::WhySubject;

/// The help page, with the verbs in groups. Clap cannot group subcommands, so the list is written by hand and a test
/// compares it with [`Verb`].
const HELP: &str = "\
{about}

{usage-heading} {usage}

A team:
  up           Start the team of this project, or apply changes of its team file
  down         Stop the team and print a receipt for each process, pane and file
  run          Give the lead a goal, wait for the answer and print it
  cancel       Cancel the current goal and its tasks
  goal         Manage the current goal: show, cancel
  attach       Show the team, or one member's pane, in this terminal
  next         Show the pane of the member that has waited for you longest
  panes        Reopen panes that were closed
  ps           List the members and what they are doing
  top          Show the team full-screen, live, with keys to act
  stats        Show time, tokens and cost of each member
  why          Explain the state of a member
  logs         Print the output of members
  events       Print the events of the team
  report       Write a report of the team's work: a page, a picture or a trace
  serve        Serve the team over HTTP
Members:
  spawn        Add a member with a role
  stop         Ask a member to stop, and keep it stopped
  kill         Kill the process tree of a member, and keep it stopped
  restart      Restart a member in the same pane
  compact      Summarise the conversation of an agent, to make room in its model's window
  member       Manage the roster: remove
Work:
  send         Send a message to one member or to all
  messages     List messages
  requests     Answer permission requests: list, show, allow, deny, watch
  mode         Show or change the permission mode of the running team
  rules        Inspect permission rules: list, check, revoke
  audit        Show permission decisions
  task         Manage the task board: add, list, show, claim, complete, wait, ...
  notes        Keep notes of the team, the project and yourself: list, show, edit, add, remove
Administration:
  init         Write a team file for this project
  team         Manage the teams on this machine: list, show, delete
  role         List roles and where each is defined
  models       List known models and their prices: list, update
  config       Manage your overrides of models, roles and limits: get, set, reset
  supervisor   Manage the supervisor process: status, logs, stop, restart, run
  mcp          Connect a chat session of another program to a team, over MCP
  acp          Serve the team of a directory to an editor, over ACP
  doctor       Check the installation
  completions  Print shell completions
  man          Print or write manual pages

Global options:
  -t, --team <NAME>   Team name or id [default: the team of this directory]
      --json          Print JSON: one document, or one line per item for streams
      --color <WHEN>  Use colours: auto, always or never [default: auto]
  -h, --help          Print help
  -V, --version       Print version

Examples:
  agent-team init && agent-team up
  agent-team up --wait --json | jq .outcome
  agent-team send ada 'look at T-3 first'

Run `agent-team help VERB` for details.
";

/// Run a team of agents, each in its own process and terminal pane.
#[derive(Debug, Parser)]
#[command(name = "agent-team", version, help_template = HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The heading of [`Global`] in the help of each verb. The help of the program lists these options by hand: clap shows
/// options with a heading of their own only in its own layout.
const GLOBAL: &str = "Global options";

/// The options of every verb.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Team name or id [default: the team of this directory]
    #[arg(short, long, global = true, value_name = "NAME", help_heading = GLOBAL, add = complete::teams())]
    pub(crate) team: Option<String>,
    /// Print JSON: one document, or one line per item for streams
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Use colours: auto, always or never [default: auto]
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = GLOBAL,
        hide_default_value = true, hide_possible_values = true)]
    pub(crate) color: Color,
}

/// The option `--team` of a verb that ignores it. It is accepted, because earlier versions listed it, but hidden. clap
/// does not add the global option to a verb that has an option of this name.
fn unused_team() -> clap::Arg {
    clap::Arg::new("team")
        .short('t')
        .long("team")
        .help("Ignored by this verb")
        .hide(true)
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Up(Up),
    Run(Run),
    /// Cancel the current goal and its tasks
    ///
    /// The members stay up, unless a `run` that started the team waits for the goal: it then stops them. The lead is
    /// notified, and the open tasks that members added for the goal are cancelled; your own tasks stay. A command that
    /// waits for the goal prints the outcome `cancelled` and exits with 1.
    Cancel(CancelGoal),
    /// Manage the current goal: show, cancel
    #[command(subcommand)]
    Goal(GoalCommand),
    /// Stop the team and print a receipt for each process, pane and file
    Down {
        /// Kill the processes at once, without a grace period
        #[arg(long)]
        force: bool,
    },
    /// List the members and what they are doing
    Ps,
    /// Show members, board, requests, messages and output full-screen, live, with keys to act
    ///
    /// With --json, print one document {team, tasks, requests, messages} and exit.
    Top {
        /// Print one frame as text and exit
        #[arg(long)]
        once: bool,
    },
    /// Show time, tokens and cost of each member
    ///
    /// Sums over all launches. Working time is time in a turn or on a task; it stops while a request waits for you.
    Stats,
    /// Explain the state of a member or a task
    Why {
        /// Name of a member, as `ps` lists it, or the id of a task, such as T-3
        #[arg(value_name = "MEMBER|TASK", add = complete::members_and_tasks())]
        subject: WhySubject,
    },
    Logs(Logs),
    /// Print the events of the team, oldest first
    ///
    /// Each line has the revision, the time and one sentence. With --json, each line is one AG-UI event in an envelope
    /// {team_id, agent_id?, role_name?, run_id?, event, revision?}.
    #[command(after_help = events_help())]
    Events {
        /// Keep printing new events
        #[arg(short, long)]
        follow: bool,
        /// Only events after this revision
        #[arg(long, value_name = "REV", value_parser = revision, default_value = "0")]
        after: Revision,
    },
    Report(Report),
    Serve(Serve),
    /// Show the team, or one member's pane, in this terminal
    Attach {
        /// Name of the member, as `ps` lists it [default: the whole team]
        #[arg(add = complete::members())]
        member: Option<MemberName>,
        /// Show only; keys typed here do not reach the panes
        #[arg(long)]
        read_only: bool,
    },
    /// Show the pane of the member that has waited for you longest
    ///
    /// Members with a permission request come first, then members that have a question, are at a limit or are held.
    /// Inside tmux, the client switches to the pane, so you can bind this command to a key. With --json, print the
    /// member's name and do not switch.
    Next {
        /// Print the waiting members on one line (nothing when no member waits) and do not switch
        #[arg(long)]
        print: bool,
    },
    /// Manage panes: reopen
    #[command(subcommand)]
    Panes(PanesCommand),
    Spawn(Spawn),
    /// Ask a member to stop, and keep it stopped
    ///
    /// A member that is working may object; the command then fails with its reason.
    Stop {
        /// Name of the member, as `ps` lists it
        #[arg(add = complete::members())]
        member: MemberName,
        /// Stop it without asking
        #[arg(long)]
        force: bool,
    },
    /// Kill the process tree of a member, and keep it stopped
    Kill {
        /// Name of the member, as `ps` lists it
        #[arg(add = complete::members())]
        member: MemberName,
    },
    /// Restart a member in the same pane
    Restart {
        /// Name of the member, as `ps` lists it
        #[arg(add = complete::members())]
        member: MemberName,
    },
    /// Summarise the conversation of an agent, to make room in its model's window
    ///
    /// The agent replaces the older part of its conversation by a summary, before its next step or at once between two
    /// turns. Goal, task, plan, todo list, files and open questions are kept word for word.
    Compact {
        /// Name of the member, as `ps` lists it
        #[arg(add = complete::members())]
        member: MemberName,
    },
    /// Manage the roster: remove
    #[command(subcommand)]
    Member(MemberCommand),
    /// Send a message to one member or to all
    Send {
        /// A member's name, `lead` or `all`
        #[arg(add = complete::recipients())]
        to: Recipient,
        /// The text, as one or more words; `-` reads stdin
        #[arg(required = true)]
        text: Vec<String>,
        /// Interrupt the current turn of an agent; the task of a command member continues
        #[arg(long)]
        urgent: bool,
        /// The message to reply to, such as M-7
        #[arg(long, value_name = "MESSAGE", value_parser = id::<MessageId>)]
        reply_to: Option<MessageId>,
        /// Short form of the text for lists
        #[arg(long, value_name = "TEXT")]
        summary: Option<String>,
        /// Wait for the reply and print it; the recipient must be one agent
        #[arg(long)]
        wait: bool,
        /// With --wait: give up after this many seconds and exit with 1
        #[arg(long, value_name = "SECONDS", requires = "wait")]
        timeout: Option<u64>,
    },
    /// List the messages of the team, or of one member
    ///
    /// A message to you counts as read when this command or `send --wait` prints it, or when you write to its sender.
    /// Long messages are cut, but not those that a member wrote to you and you have not read.
    Messages {
        /// A member's name, or `user` for messages to and from you
        #[arg(add = complete::members_and(&["user"]))]
        member: Option<MemberName>,
        /// Number of newest messages to list
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Leave messages to you unread
        #[arg(long)]
        peek: bool,
        /// Print all lines of each message
        #[arg(long)]
        full: bool,
    },
    /// List and answer permission requests
    Requests {
        #[command(subcommand)]
        command: Option<RequestsCommand>,
    },
    /// Show or change the permission mode of the running team
    ///
    /// A change applies from the next decision on, until the next `up`. Mode bypass can only be chosen with `up`.
    /// In the pane of an agent, Shift-Tab does the same as `mode next`.
    Mode {
        /// default, accept-edits, sandboxed, plan, dont-ask, or `next` for the next of the first four
        #[arg(value_parser = wanted_mode, add = complete::modes())]
        mode: Option<WantedMode>,
        /// Only this member
        #[arg(long = "for", value_name = "MEMBER", add = complete::members())]
        member: Option<MemberName>,
    },
    /// Inspect permission rules: what is allowed, asked and denied, and why
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Show all permission decisions recorded in the journal
    Audit {
        /// Only decisions about this member
        #[arg(long, global = true, add = complete::members())]
        member: Option<MemberName>,
        #[command(subcommand)]
        command: Option<AuditCommand>,
    },
    /// Manage the task board
    #[command(subcommand)]
    Task(TaskCommand),
    /// List, show and edit notes of the team, of the project and of yourself
    ///
    /// A note is a Markdown file that agents can read. Notes of the team are in its state directory, notes of the project in
    /// `.agent-team/notes`, and your notes, for all projects, in `notes` of your settings directory. A note has at most
    /// 16 KiB, and a level at most 64 notes. The commands work while the team is down.
    Notes {
        #[command(subcommand)]
        command: Option<NotesCommand>,
    },
    /// Manage the teams on this machine
    #[command(subcommand)]
    Team(TeamCommand),
    /// List roles and where each is defined
    #[command(subcommand)]
    Role(RoleCommand),
    /// List known models with their windows and prices, or update them
    ///
    /// Prices are in US dollars per million tokens. Your config.toml takes precedence over your catalogue, models.toml,
    /// and that over the built-in list.
    Models {
        #[command(subcommand)]
        command: Option<ModelsCommand>,
    },
    /// Manage your overrides of models, roles and limits: get, set, reset
    ///
    /// Keys: `model`, `role`, `max_steps`, `limits.tokens`, `limits.usd` and `limits.minutes` of the team, or of one
    /// member as in `members.ada.model`; the model of a role as in `roles.worker.model`; the endpoint that receives
    /// your key as in `providers.openai.base_url`. Overrides are stored in your own settings directory, take precedence
    /// over the team file, and change no file of the project.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Manage the supervisor, the process that runs the teams
    #[command(subcommand)]
    Supervisor(SupervisorCommand),
    Mcp(Mcp),
    Acp(Acp),
    Doctor(Doctor),
    #[command(arg(unused_team()))]
    Init(Init),
    /// Print completions for a shell
    #[command(arg(unused_team()))]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, or write all pages to a directory
    #[command(arg(unused_team()))]
    Man {
        /// `agent-team.toml`: the keys of the team file; `agent-team-config`: the keys of your settings
        #[arg(value_name = "PAGE", value_parser = ["agent-team", "agent-team.toml", "agent-team-config"])]
        page: Option<String>,
        /// Write one page per verb, and the pages of the files, to this directory
        #[arg(long, value_name = "DIR", conflicts_with = "page")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GoalCommand {
    /// Show the newest goal with its whole answer, or why it has none
    Show,
    /// Cancel the current goal and its tasks; the same as `agent-team cancel`
    Cancel(CancelGoal),
}

#[derive(Debug, Args)]
pub(crate) struct CancelGoal {
    /// Reason to give the lead; `-` reads stdin
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Stop a spawned member and remove it from the team: its name becomes free, its tasks return to the board
    Remove {
        /// Name of the member, as `ps` lists it
        #[arg(add = complete::members())]
        member: MemberName,
        /// Stop it without asking
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PanesCommand {
    /// Open a new pane for each member that lost its pane, without restarting the member
    Reopen {
        /// Only this member
        #[arg(add = complete::members())]
        member: Option<MemberName>,
    },
}

/// Start the team of this project, or apply changes of its team file
///
/// Leaves unchanged members and tasks alone. On a terminal, attaches to the team afterwards.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  agent-team up                  start and attach
  agent-team up \"Fix the build\"  give a lead and three workers a goal, without a team file
  agent-team up \"Fix the build\" --engine claude
                                 the same with members that are Claude Code
  agent-team up --wait           start and wait until no task is runnable
  agent-team up --web            start and open the page of the team
  agent-team up --dry-run        print the changes without making them")]
pub(crate) struct Up {
    /// The goal for the lead; `-` reads stdin
    pub(crate) goal: Option<String>,
    #[command(flatten)]
    pub(crate) start: Start,
    /// Where the members run, overriding the team file; `auto`: your tmux, your iTerm2, a separate tmux, or no panes
    #[arg(long, value_name = "WHERE", value_parser = placements())]
    pub(crate) panes: Option<PlacementChoice>,
    /// Do not attach
    #[arg(long)]
    pub(crate) detach: bool,
    /// Wait until no task is runnable; exit with 1 if a task failed or is unfinished
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
    /// Print what would be started, changed or stopped, and exit
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Serve the team over HTTP and open its page in the browser, like `serve --open`; an interrupt ends only the
    /// service
    #[arg(long, conflicts_with_all = ["dry_run", "wait", "detach"])]
    pub(crate) web: bool,
}

/// Give the lead a goal, wait for the answer and print it
///
/// Progress goes to stderr. A team that is not up is started for the goal and stopped afterwards. On a terminal,
/// permission requests are shown there and decided by a typed line; without a terminal they are denied: edits need
/// --mode accept-edits or a rule that allows them.
///
/// In a team that is already up only the goal, --memory and --effort apply: flags that start or change a team are refused, and
/// without a terminal permission requests wait for `agent-team requests`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  agent-team run \"Add input validation to all API endpoints\"
  agent-team run --json \"Why does the build fail?\" | jq -r .final_answer")]
pub(crate) struct Run {
    /// The goal for the lead; `-` reads stdin
    pub(crate) goal: String,
    #[command(flatten)]
    pub(crate) start: Start,
    /// Print AG-UI events as they happen, one per line like `agent-team events --json`; the last event has the result
    #[arg(long)]
    pub(crate) events: bool,
    /// Initial entry of the team's shared memory; repeatable
    #[arg(long, value_name = "KEY=JSON")]
    pub(crate) memory: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print each decision and its outcome as one JSON object per line; secrets of a running team are redacted
    Export,
}

/// The options of `up` and `run` that start or change a team.
#[derive(Debug, Default, Args)]
pub(crate) struct Start {
    /// The team file [default: .agent-team/team.toml in this directory or a parent]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Number of workers of a team without a team file [default: 3]
    #[arg(short = 'n', long = "workers", value_name = "N")]
    pub(crate) number: Option<u32>,
    #[arg(long, help = team_engine_help())]
    pub(crate) engine: Option<String>,
    /// Discard the earlier board, conversations and spawned members of the team
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Value of `{{K}}` in prompts and role files; repeatable
    #[arg(long, value_name = "K=V")]
    pub(crate) var: Vec<String>,
    /// Set a variable for members and for the tools of agents; without a value, pass it from your environment;
    /// repeatable
    #[arg(long, value_name = "K[=V]")]
    pub(crate) env: Vec<String>,
    /// Set a variable for tools and tasks that is hidden from models and logs, from your environment or a 0600 file;
    /// repeatable
    #[arg(long, value_name = "NAME[=FILE]")]
    pub(crate) secret: Vec<String>,
    /// Permission mode, overriding the team file: default, accept-edits, sandboxed, plan, dont-ask
    /// or bypass
    #[arg(long, value_name = "MODE", value_parser = mode, add = complete::modes())]
    mode: Option<Mode>,
    /// Same as --mode bypass: ask nothing and run the commands of agents without a sandbox
    #[arg(long, conflicts_with = "mode")]
    bypass: bool,
    /// How much the models of all members think for this goal, overriding the team file; `up` without a goal sets it
    /// until the next `up`: none, low, medium, high or max
    #[arg(long, value_name = "EFFORT")]
    pub(crate) effort: Option<Effort>,
    /// Trust the project's lines that were shown with this digest
    #[arg(long, value_name = "DIGEST")]
    pub(crate) trust: Option<String>,
    /// Append all model requests and responses to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

impl Start {
    /// The mode given by `--mode` or `--bypass`.
    pub(crate) fn mode(&self) -> Option<Mode> {
        self.bypass.then_some(Mode::Bypass).or(self.mode)
    }

    /// The names of the flags on the command line. The exhaustive pattern makes a new flag fail to compile here until
    /// it is listed.
    pub(crate) fn typed(&self) -> Vec<&'static str> {
        let Self {
            file,
            number,
            engine,
            fresh,
            var,
            env,
            secret,
            mode,
            bypass,
            effort,
            trust,
            record,
        } = self;
        let flags = [
            ("--file", file.is_some()),
            ("-n", number.is_some()),
            ("--engine", engine.is_some()),
            ("--fresh", *fresh),
            ("--var", !var.is_empty()),
            ("--env", !env.is_empty()),
            ("--secret", !secret.is_empty()),
            ("--mode", mode.is_some()),
            ("--bypass", *bypass),
            ("--effort", effort.is_some()),
            ("--trust", trust.is_some()),
            ("--record", record.is_some()),
        ];
        let typed = flags.into_iter().filter(|(_, is_typed)| *is_typed);
        typed.map(|(name, _)| name).collect()
    }
}

/// The argument of `mode`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WantedMode {
    Next,
    Mode(Mode),
}

fn wanted_mode(text: &str) -> Result<WantedMode, String> {
    match text {
        "next" => Ok(WantedMode::Next),
        text => mode(text)
            .map(WantedMode::Mode)
            .map_err(|error| format!("{error}, next")),
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    let found = Mode::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, mode)| *mode).ok_or_else(|| {
        let names = Mode::NAMES.map(|(name, _)| name);
        format!("expected one of {}", names.join(", "))
    })
}

/// The part of `events --help` about the state document and the CUSTOM events, which AG-UI does not define.
fn events_help() -> String {
    let mut help = "\
The state of STATE_SNAPSHOT and STATE_DELTA (RFC 6902) is
  {members: {NAME: {role, lead, state, why}}, tasks: {ID: as in task list --json}}
Texts and tool calls of models are live only: they are sent with -f and are not stored.
CUSTOM events:"
        .to_owned();
    for CustomEvent {
        name,
        value,
        meaning,
    } in CUSTOM
    {
        help.push_str(&format!("\n  {name}  {value}: {meaning}"));
    }
    help
}

/// The values of `--panes`.
fn placements() -> impl TypedValueParser<Value = PlacementChoice> {
    let values = PlacementChoice::ALL.map(|choice| {
        let PlacementInfo { word, help, .. } = choice.info();
        PossibleValue::new(word).help(help)
    });
    PossibleValuesParser::new(values).try_map(|word| {
        let mut all = PlacementChoice::ALL.into_iter();
        all.find(|choice| choice.info().word == word)
            .ok_or("not a placement")
    })
}

/// Add a member with a role
#[derive(Debug, Args)]
pub(crate) struct Spawn {
    /// A role listed by agent-team role list
    #[arg(add = complete::roles())]
    pub(crate) role: RoleName,
    /// Name of the member [default: the role and a number]
    #[arg(long)]
    pub(crate) name: Option<MemberName>,
    #[arg(long, help = engine_help())]
    pub(crate) engine: Option<String>,
    /// Instructions added to the prompt of the role
    #[arg(long)]
    pub(crate) prompt: Option<String>,
    /// Model, as provider/model [default: the role's]
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// How much the model thinks: none, low, medium, high or max [default: the role's]
    #[arg(long, value_name = "EFFORT")]
    pub(crate) effort: Option<Effort>,
    /// Require an approved plan before the member changes anything
    #[arg(long)]
    pub(crate) plan: bool,
    /// Working directory [default: the project's]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Only these tools of the role, such as read,grep,edit
    #[arg(long, value_name = "TOOL", value_delimiter = ',')]
    pub(crate) tools: Vec<String>,
    /// Only the tools of the role that change nothing
    #[arg(long, conflicts_with = "tools")]
    pub(crate) read_only: bool,
    /// With an --engine of another vendor: trust the line that was shown with this digest
    #[arg(long, value_name = "DIGEST")]
    pub(crate) trust: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TeamCommand {
    /// List all teams, up or down
    List,
    /// Show one team: project, members, task counts
    Show {
        /// Name or id of the team [default: the team of this directory]
        #[arg(add = complete::teams())]
        name: Option<String>,
    },
    /// Delete a team that is down, with its board, its history, and your limits, always-rules and trust for it
    ///
    /// On a terminal, asks first.
    Delete {
        /// Name or id of the team [default: the team of this directory]
        #[arg(add = complete::teams())]
        name: Option<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// List all roles of this project
    List,
    /// Show one role: its definition, where it is defined, and the roles of the same name that it hides
    Show {
        /// Name of the role, as `role list` lists it
        #[arg(add = complete::roles())]
        role: RoleName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the known models
    List,
    /// Add a list in the form of https://models.dev/api.json to your catalogue
    ///
    /// Models of the list replace models of the same name; others stay. An invalid list changes nothing.
    Update {
        /// The JSON file; `-` reads stdin
        file: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show all settings, or one, and where each is defined
    Get {
        /// The setting [default: all]
        key: Option<String>,
    },
    /// Override a setting; limits apply at once, other settings from the next launch on
    Set {
        /// The setting, such as `model`, `members.ada.limits.tokens` or `roles.worker.model`
        key: String,
        /// The new value
        value: String,
    },
    /// Remove an override
    Reset {
        /// The setting, as `config get` lists it
        key: String,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum SupervisorCommand {
    /// Show the state of the supervisor
    Status,
    /// Stop all teams, then the supervisor
    Stop,
    /// Replace the supervisor after an upgrade; the members keep running
    Restart,
    /// Run the supervisor in the foreground
    Run,
    /// Print the log of the supervisor
    ///
    /// Set `AGENT_TEAM_LOG=debug` for the command that starts the supervisor to log each connection, request, commit
    /// and launch. A target can have its own level: `AGENT_TEAM_LOG=info,agent_team_supervisor::launch=debug`.
    Logs {
        /// Keep printing new lines
        #[arg(short, long)]
        follow: bool,
    },
}

/// Parses an id in one of three forms: as printed, the same in lower case, or the number alone.
fn id<T: NumberedId>(text: &str) -> Result<T, InvalidId> {
    T::from_typed(text)
}

fn revision(text: &str) -> Result<Revision, std::num::ParseIntError> {
    text.parse().map(Revision)
}

fn engine_help() -> String {
    let words = agent_team_file::engine_words().join(", ");
    format!("Engine: {words} [default: the role's]")
}

fn team_engine_help() -> String {
    let words: Vec<_> = external::engine_words().collect();
    format!(
        "Engine of the members of a team without a team file: native, {} [default: native]",
        words.join(", ")
    )
}

#[cfg(test)]
mod tests;
