//! `agent-team task …`.

use agent_team_protocol::{MemberName, RoleName, TaskId};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Put a task on the board
    Add {
        /// What is to be done, in a few words
        title: String,
        /// Its name for `after` and for the team file [default: the title]
        #[arg(long)]
        key: Option<String>,
        /// Only this member may take it
        #[arg(long = "for", value_name = "MEMBER")]
        assignee: Option<MemberName>,
        #[command(flatten)]
        fields: TaskFields,
    },
    /// All tasks
    List,
    /// One task whole
    Show { task: TaskId },
    /// Change a task; what is not named stays
    Update {
        task: TaskId,
        #[arg(long)]
        title: Option<String>,
        /// Only this member may take it
        #[arg(long = "for", value_name = "MEMBER")]
        assignee: Option<MemberName>,
        #[command(flatten)]
        fields: TaskFields,
        /// Take a field away, such as `after` to free a task from what it waits for; may be repeated
        #[arg(long, value_name = "FIELD", value_enum)]
        clear: Vec<Clear>,
    },
    /// Take a task for yourself [default: the ready one of highest priority]
    Claim { task: Option<TaskId> },
    /// Give a task to a member
    Assign { task: TaskId, member: MemberName },
    /// Say that a task is done
    Complete {
        task: TaskId,
        /// What came of it; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        result: String,
    },
    /// Say that a task cannot be done
    Fail {
        task: TaskId,
        /// Why; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Make a failed or cancelled task pending again
    Retry { task: TaskId },
    /// Give a claim back: the task is pending again
    Release {
        task: TaskId,
        /// What the next owner should know; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Take a task off the board
    Cancel { task: TaskId },
    /// Wait until a task has ended, and print its result; exit 1 unless it is completed
    Wait {
        task: TaskId,
        /// Give up after so many seconds, with exit code 1
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    /// What waits for what
    Graph {
        /// For Graphviz
        #[arg(long)]
        dot: bool,
    },
}

/// A field that `update --clear` takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clear {
    After,
    Labels,
    Role,
    For,
    Touches,
    Run,
    Verify,
}

/// What `add` and `update` both set.
#[derive(Debug, Args)]
pub(crate) struct TaskFields {
    /// What is to be done, at length
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Higher first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// A word to find it by; may be repeated
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// A task, by id or key, that must be completed first; may be repeated
    #[arg(long, value_name = "TASK")]
    pub(crate) after: Vec<String>,
    /// Only members of this role may take it
    #[arg(long)]
    pub(crate) role: Option<RoleName>,
    /// A glob of files that it means to touch; may be repeated
    #[arg(long = "touches", value_name = "GLOB")]
    pub(crate) files: Vec<String>,
    /// A shell line that does it
    #[arg(long, value_name = "LINE")]
    pub(crate) run: Option<String>,
    /// A shell line that must succeed before it counts as completed
    #[arg(long, value_name = "LINE")]
    pub(crate) verify: Option<String>,
    /// The work while it is in progress, such as "Adding the tests"
    #[arg(long, value_name = "TEXT")]
    pub(crate) active_form: Option<String>,
    /// Data of your own, such as '{"ticket": 17}': a JSON object of at most 32 KiB
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// Whether a run that was lost may be repeated
    #[arg(long, value_name = "BOOL")]
    pub(crate) rerun: Option<bool>,
}
