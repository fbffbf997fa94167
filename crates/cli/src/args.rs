//! What can be typed. Only shapes and help texts: what a verb does is in `verb/`, under the same name.

use std::path::PathBuf;

use agent_team_protocol::envelope::{CUSTOM, CustomEvent};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::{MemberName, MessageId, Recipient, Revision, RoleName};
use clap::{Args, Parser, Subcommand, ValueEnum};

mod requests;
mod rules;
mod task;

pub(crate) use requests::{RequestsCommand, Scope};
pub(crate) use rules::RulesCommand;
pub(crate) use task::{Clear, TaskCommand, TaskFields};

/// The verbs by what they are for. Clap cannot group subcommands; a test holds this list to the enum below.
const HELP: &str = "\
{about}

{usage-heading} {usage}

A team:
  up           Start the team of this project, or bring it to what its file says now
  down         End everything and print a receipt for each thing
  run          Give the lead a goal, wait for its answer, and print that
  cancel       Cancel the goal under way, with its tasks
  attach       Show the team, or one member's pane, in this terminal
  next         Show the pane of the member that waits for you longest
  panes        Give members a pane again that go on without
  ps           The members and what they are doing
  top          The same and more on the whole screen, as it happens, with keys to act
  stats        What each member used and did, and what it cost
  why          Why a member is in the state it is in
  logs         What a member printed
  events       What happened, in order
Members:
  spawn        Add a member of a role
  stop         Ask a member to end, and keep it stopped
  kill         End a member's whole process tree at once, and keep it stopped
  restart      A new launch of a member, in the same pane
  member       Members: remove
Work:
  send         Send a message to a member, or to all
  messages     The messages of the team, or of one member
  requests     What members ask permission for: list, show, allow, deny, watch
  rules        What is allowed, asked and denied: list, check, revoke
  audit        Who let what be done
  task         The board: add, list, show, claim, complete, wait, ...
Administration:
  init         Write a team file for this project
  team         The teams on this machine
  role         The roles that members can have, and where each is from
  config       Models, roles and limits of the team, set for yourself alone
  supervisor   The process that runs the teams
  doctor       Check the installation
  completions  Completions for a shell
  man          Manual pages

Options:
{options}

Examples:
  agent-team init && agent-team up
  agent-team up --wait --json | jq .outcome
  agent-team send ada 'look at T-3 first'

`agent-team help VERB` says more.
";

/// Runs a team of agents, each a process of its own in a pane of its own.
#[derive(Debug, Parser)]
#[command(name = "agent-team", version, help_template = HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Below a verb's own options.
const LAST: usize = 100;

/// What every verb takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The team, by name or id [default: that of this directory]
    #[arg(short, long, global = true, value_name = "NAME", display_order = LAST)]
    pub(crate) team: Option<String>,
    /// Print one JSON document, or JSON lines for streams
    #[arg(long, global = true, display_order = LAST)]
    pub(crate) json: bool,
    /// When to use colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", display_order = LAST)]
    pub(crate) color: Color,
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
    /// Cancel the goal under way, with its tasks
    ///
    /// The members stay up. The lead is notified, and the open tasks that members added for the goal are cancelled; your
    /// own tasks stay. A command that waits for the goal prints the outcome `cancelled` and exits 1.
    Cancel {
        /// Why, for the lead; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// End everything and print a receipt for each thing
    Down {
        /// Skip the grace: end the processes at once
        #[arg(long)]
        force: bool,
    },
    /// The members and what they are doing
    Ps,
    /// The whole screen: members, board, requests, messages and output as they change, with keys to act
    ///
    /// With --json it prints one document {team, tasks, requests, messages} and exits.
    Top {
        /// Print one frame as text, and exit
        #[arg(long)]
        once: bool,
    },
    /// What each member used and did, and what it cost
    ///
    /// Over all launches. A member works while it is in a turn of its model or on a task.
    Stats,
    /// Why a member is in the state it is in
    Why {
        member: MemberName,
    },
    /// What a member printed
    Logs {
        member: MemberName,
        /// Go on with what it prints from now on
        #[arg(short, long)]
        follow: bool,
    },
    /// What happened, in order
    ///
    /// With --json an AG-UI event a line, each in an envelope {team_id, agent_id?, role_name?, run_id?, event, revision?}.
    #[command(after_help = events_help())]
    Events {
        /// Go on with what happens from now on
        #[arg(short, long)]
        follow: bool,
        /// Only what came after this revision
        #[arg(long, value_name = "REV", value_parser = revision, default_value = "0")]
        after: Revision,
    },
    /// Show the team, or one member's pane, in this terminal
    Attach {
        member: Option<MemberName>,
        /// Only look: nothing typed here reaches the panes
        #[arg(long)]
        read_only: bool,
    },
    /// Show the pane of the member that waits for you longest
    ///
    /// A member that asks for a permission comes first, then one that asks you something, is held or is at a limit. Within tmux it switches there, so that it
    /// can be bound to a key. --json names the member and goes nowhere.
    Next {
        /// Print who waits instead, in a line, or nothing
        #[arg(long)]
        print: bool,
    },
    /// Where the members are shown
    #[command(subcommand)]
    Panes(PanesCommand),
    Spawn(Spawn),
    /// Ask a member to end, and keep it stopped
    Stop {
        member: MemberName,
        /// Also when it is at work and objects
        #[arg(long)]
        force: bool,
    },
    /// End a member's whole process tree at once, and keep it stopped
    Kill {
        member: MemberName,
    },
    /// A new launch of a member, in the same pane
    Restart {
        member: MemberName,
    },
    /// The members of the team
    #[command(subcommand)]
    Member(MemberCommand),
    /// Send a message to a member, or to all
    Send {
        /// A member, `lead`, or `all`
        to: Recipient,
        /// The text, in one or several words; `-` reads it from stdin
        #[arg(required = true)]
        text: Vec<String>,
        /// Interrupt what is being done now
        #[arg(long)]
        urgent: bool,
        /// The message that it answers, such as M-7
        #[arg(long, value_name = "MESSAGE")]
        reply_to: Option<MessageId>,
        /// The text in a few words, for lists
        #[arg(long, value_name = "TEXT")]
        summary: Option<String>,
        /// Wait for the reply and print it; the recipient must be one agent
        #[arg(long)]
        wait: bool,
        /// With --wait: give up after so many seconds, with exit code 1
        #[arg(long, value_name = "SECONDS", requires = "wait")]
        timeout: Option<u64>,
    },
    /// The messages of the team, or of one member
    ///
    /// Messages to you count as read once they are printed here, or once you write to their sender.
    Messages {
        /// A member, or `user` for your own
        member: Option<MemberName>,
        /// The newest so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Leave messages to you unread
        #[arg(long)]
        peek: bool,
    },
    /// What members ask permission for
    Requests {
        #[command(subcommand)]
        command: Option<RequestsCommand>,
    },
    /// What is allowed, asked and denied, and why
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Who let what be done: every decision about a permission, from the journal
    Audit {
        /// Of this member alone
        #[arg(long, global = true)]
        member: Option<MemberName>,
        #[command(subcommand)]
        command: Option<AuditCommand>,
    },
    /// The board
    #[command(subcommand)]
    Task(TaskCommand),
    /// The teams on this machine
    #[command(subcommand)]
    Team(TeamCommand),
    /// The roles that members can have, and where each is from
    #[command(subcommand)]
    Role(RoleCommand),
    /// Models, roles and limits of the team, set for yourself alone
    ///
    /// The keys are `model`, `role`, `max_steps`, `limits.tokens`, `limits.usd` and `limits.minutes`, of the team, or of
    /// one member as in `members.ada.model`; the model of a role, as in `roles.worker.model`; and where a provider is
    /// asked with your key, as in `providers.openai.base_url`. What is set is kept beside your own settings, goes before
    /// the team file, and changes no file of the project.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The process that runs the teams
    #[command(subcommand)]
    Supervisor(SupervisorCommand),
    /// Check the installation
    Doctor,
    /// Write a team file for this project
    Init {
        /// What kind of project it is [default: told by the files that are here]
        #[arg(long, value_name = "NAME")]
        template: Option<String>,
        /// List the templates
        #[arg(long, conflicts_with = "template")]
        list: bool,
    },
    /// Completions for a shell
    Completions {
        shell: clap_complete::Shell,
    },
    /// Manual pages
    Man {
        /// Write one page per verb into this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// End a spawned member and remove it from the team: its name is free again, its tasks return to the board
    Remove {
        member: MemberName,
        /// Also when it is at work and objects
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PanesCommand {
    /// Give members that go on without a pane one again, without restarting them
    Reopen {
        /// Only this one
        member: Option<MemberName>,
    },
}

/// Start the team of this project, or bring it to what its file says now
///
/// Members and tasks that are as the file says are left alone. On a terminal it then attaches to the team.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  agent-team up                  start, and watch
  agent-team up --wait           start, and wait until no task can run any more
  agent-team up --dry-run        only say what would be done")]
pub(crate) struct Up {
    /// What the lead is to bring about; `-` reads it from stdin
    pub(crate) goal: Option<String>,
    #[command(flatten)]
    pub(crate) start: Start,
    /// Where the members run, whatever the file says; auto: in your tmux, your iTerm2, or a tmux of its own
    #[arg(long, value_name = "WHERE")]
    pub(crate) panes: Option<Panes>,
    /// Do not attach
    #[arg(long)]
    pub(crate) detach: bool,
    /// Wait until no task can run any more; exit 1 if any failed or is left
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
    /// Only say what would be started, changed or stopped
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Give the lead a goal, wait for its answer, and print that
///
/// Progress goes to stderr. A team that is not up is started for the goal and ended with it. On a terminal, permission
/// requests wait for `agent-team requests`; without a terminal they are denied: edits need --mode accept-edits or a rule
/// that allows them.
///
/// In a team that is already up only the goal and --memory count: flags that start or change a team are refused, and
/// permission requests wait for `agent-team requests`, with or without a terminal.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  agent-team run \"Add input validation to all API endpoints\"
  agent-team run --json \"Why does the build fail?\" | jq -r .final_answer")]
pub(crate) struct Run {
    /// What the lead is to bring about; `-` reads it from stdin
    pub(crate) goal: String,
    #[command(flatten)]
    pub(crate) start: Start,
    /// Print what happens as it happens, an AG-UI event a line, as agent-team events --json does; the result comes last
    #[arg(long)]
    pub(crate) events: bool,
    /// What the team's shared memory holds at the start; may be repeated
    #[arg(long, value_name = "KEY=JSON")]
    pub(crate) memory: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print each decision with what came of it, an object of JSON a line; secrets of a team that is up are left out
    Export,
}

/// How a team is started, whatever for.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The team file [default: .agent-team/team.toml, here or above]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How many workers a team without a file has [default: 3]
    #[arg(short = 'n', long = "workers", value_name = "N")]
    pub(crate) number: Option<u32>,
    /// Forget the board and the members of before
    #[arg(long)]
    pub(crate) fresh: bool,
    /// What `{{K}}` in prompts and role files stands for; may be repeated
    #[arg(long, value_name = "K=V")]
    pub(crate) var: Vec<String>,
    /// A variable of the members' environment, for the tools of agents too; without a value that of your environment;
    /// may be repeated
    #[arg(long, value_name = "K[=V]")]
    pub(crate) env: Vec<String>,
    /// A variable for tools and tasks that no model and no log sees, from your environment or a 0600 file; may be
    /// repeated
    #[arg(long, value_name = "NAME[=FILE]")]
    pub(crate) secret: Vec<String>,
    /// What agents may do without asking, whatever a file says: default, accept-edits, plan, dont-ask or bypass
    #[arg(long, value_name = "MODE", value_parser = mode)]
    mode: Option<Mode>,
    /// The same as --mode bypass: nothing is asked, and no sandbox holds what agents run
    #[arg(long, conflicts_with = "mode")]
    bypass: bool,
    /// Trust the lines of the project's files that were shown with this digest
    #[arg(long, value_name = "DIGEST")]
    pub(crate) trust: Option<String>,
    /// Append every exchange with the models to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

impl Start {
    /// What was typed.
    pub(crate) fn mode(&self) -> Option<Mode> {
        self.bypass.then_some(Mode::Bypass).or(self.mode)
    }

    /// The flags that were typed, by name. A new flag must be added here: the pattern names every field.
    pub(crate) fn typed(&self) -> Vec<&'static str> {
        let Self {
            file,
            number,
            fresh,
            var,
            env,
            secret,
            mode,
            bypass,
            trust,
            record,
        } = self;
        let flags = [
            ("--file", file.is_some()),
            ("-n", number.is_some()),
            ("--fresh", *fresh),
            ("--var", !var.is_empty()),
            ("--env", !env.is_empty()),
            ("--secret", !secret.is_empty()),
            ("--mode", mode.is_some()),
            ("--bypass", *bypass),
            ("--trust", trust.is_some()),
            ("--record", record.is_some()),
        ];
        let typed = flags.into_iter().filter(|(_, is_typed)| *is_typed);
        typed.map(|(name, _)| name).collect()
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    let found = Mode::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, mode)| *mode).ok_or_else(|| {
        let names = Mode::NAMES.map(|(name, _)| name);
        format!("write one of {}", names.join(", "))
    })
}

/// The part of `events --help` about names that AG-UI does not have.
fn events_help() -> String {
    let mut help = "\
The state of STATE_SNAPSHOT and STATE_DELTA (RFC 6902) is
  {members: {NAME: {role, lead, state, why}}, tasks: {ID: as task list --json has it}}
Texts and tool calls of models are live only: they come with -f, and are not repeated.
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

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Panes {
    Auto,
    Tmux,
    /// Sessions of iTerm2's own
    Iterm,
    /// A tmux server of the team's, drawn by iTerm2 (tmux -CC)
    ItermTmux,
    Headless,
    Hosted,
}

/// Add a member of a role
#[derive(Debug, Args)]
pub(crate) struct Spawn {
    /// One of those that agent-team role list shows
    pub(crate) role: RoleName,
    /// Its name [default: the role and a number]
    #[arg(long)]
    pub(crate) name: Option<MemberName>,
    /// What does its work [default: the role's]
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// What its model is told besides its role's prompt
    #[arg(long)]
    pub(crate) prompt: Option<String>,
    /// Its model, as provider/model [default: the role's]
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// It changes nothing before a plan of it is approved
    #[arg(long)]
    pub(crate) plan: bool,
    /// The directory in which it works [default: the project's]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Of its role's tools only these, such as read,grep,edit
    #[arg(long, value_name = "TOOL", value_delimiter = ',')]
    pub(crate) tools: Vec<String>,
    /// Of its role's tools only those that change nothing
    #[arg(long, conflicts_with = "tools")]
    pub(crate) read_only: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TeamCommand {
    /// Every team, running or not
    List,
    /// One team: its project, its members, its tasks in numbers
    Show { name: Option<String> },
    /// Remove a team that is down, with its board, its history, and your limits, always-rules and trust for it
    Delete { name: Option<String> },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Every role that this project knows
    List,
    /// One role: what it says, where it is from, and what of the same name it hides
    Show { role: RoleName },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every setting, or one, and where it is from
    Get { key: Option<String> },
    /// Set one; a limit holds at once, the others from the next launch on
    Set {
        /// Such as `model`, `members.ada.limits.tokens` or `roles.worker.model`
        key: String,
        value: String,
    },
    /// Take back what was set
    Reset { key: String },
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum SupervisorCommand {
    /// What it is doing right now
    Status,
    /// End every team, then the supervisor
    Stop,
    /// Put a new one in its place, after an upgrade; the members go on
    Restart,
    /// Run it in the foreground
    Run,
}

fn revision(text: &str) -> Result<Revision, std::num::ParseIntError> {
    text.parse().map(Revision)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_lists_exactly_the_verbs() {
        let verbs = HELP.split("Options:").next().unwrap();
        let listed: Vec<_> = verbs
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
            .collect();
        let mut missing: Vec<_> = Cli::command()
            .get_subcommands()
            .map(|verb| verb.get_name().to_owned())
            .collect();
        missing.retain(|verb| !listed.contains(&verb.as_str()));
        assert!(missing.is_empty(), "not in the help: {missing:?}");
        assert_eq!(listed.len(), Cli::command().get_subcommands().count());
    }
}
