//! The arguments of `agent-team task …`.

use agent_team_protocol::{MemberName, RoleName, TaskId};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Add a task to the board
    Add {
        /// Short title
        title: String,
        /// Key of the task for `after` and for the team file [default: the title]
        #[arg(long)]
        key: Option<String>,
        /// Only this member may claim it
        #[arg(long = "for", value_name = "MEMBER")]
        assignee: Option<MemberName>,
        #[command(flatten)]
        fields: TaskFields,
    },
    /// List all tasks
    List,
    /// Show all details of one task
    Show { task: TaskId },
    /// Change fields of a task; the other fields keep their values
    Update {
        task: TaskId,
        #[arg(long)]
        title: Option<String>,
        /// Only this member may claim it
        #[arg(long = "for", value_name = "MEMBER")]
        assignee: Option<MemberName>,
        #[command(flatten)]
        fields: TaskFields,
        /// Clear a field, such as `after` to remove the dependencies; repeatable
        #[arg(long, value_name = "FIELD", value_enum)]
        clear: Vec<Clear>,
    },
    /// Claim a task for yourself [default: the ready task with the highest priority]
    Claim { task: Option<TaskId> },
    /// Assign a task to a member
    Assign { task: TaskId, member: MemberName },
    /// Mark a task as completed
    Complete {
        task: TaskId,
        /// The result; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        result: String,
    },
    /// Mark a task as failed
    Fail {
        task: TaskId,
        /// The reason; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Make a failed or cancelled task pending
    Retry { task: TaskId },
    /// Release a claimed task: it becomes pending
    Release {
        task: TaskId,
        /// Note for the next owner; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Cancel a task
    Cancel { task: TaskId },
    /// Wait until a task ends and print its result; exit with 1 unless it completed
    Wait {
        task: TaskId,
        /// Give up after this many seconds and exit with 1
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    /// Show the dependencies between tasks
    Graph {
        /// Print Graphviz input
        #[arg(long)]
        dot: bool,
    },
}

/// A field that `update --clear` can empty.
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

/// The fields that `add` and `update` set.
#[derive(Debug, Args)]
pub(crate) struct TaskFields {
    /// Full description
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Priority; higher values first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// A label; repeatable
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// A task, by id or key, that must complete first; repeatable
    #[arg(long, value_name = "TASK")]
    pub(crate) after: Vec<String>,
    /// Only members of this role may claim it
    #[arg(long)]
    pub(crate) role: Option<RoleName>,
    /// Glob of files that the task will change; repeatable
    #[arg(long = "touches", value_name = "GLOB")]
    pub(crate) files: Vec<String>,
    /// Shell command that performs the task
    #[arg(long, value_name = "LINE")]
    pub(crate) run: Option<String>,
    /// Shell command that must succeed before the task counts as completed
    #[arg(long, value_name = "LINE")]
    pub(crate) verify: Option<String>,
    /// Text to show while the task is in progress, such as "Adding the tests"
    #[arg(long, value_name = "TEXT")]
    pub(crate) active_form: Option<String>,
    /// Your own data: a JSON object of at most 32 KiB, such as '{"ticket": 17}'
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// Whether the command may run again after a crash
    #[arg(long, value_name = "BOOL")]
    pub(crate) rerun: Option<bool>,
}
