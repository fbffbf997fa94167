//! The arguments of `agent-team task …`.

use agent_team_protocol::view::TaskState;
use agent_team_protocol::{MemberName, RoleName, TaskId};
use clap::{Args, Subcommand, ValueEnum};

use super::id;
use crate::complete;

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
        #[arg(long = "for", value_name = "MEMBER", add = complete::members())]
        assignee: Option<MemberName>,
        #[command(flatten)]
        fields: TaskFields,
    },
    /// List all tasks
    List,
    /// Show all details of one task
    Show {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(|_| true))]
        task: TaskId,
    },
    /// Change fields of a task; the other fields keep their values
    Update {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(is_open))]
        task: TaskId,
        /// Short title
        #[arg(long)]
        title: Option<String>,
        /// Only this member may claim it
        #[arg(long = "for", value_name = "MEMBER", add = complete::members())]
        assignee: Option<MemberName>,
        #[command(flatten)]
        fields: TaskFields,
        /// Clear a field, such as `after` to remove the dependencies; repeatable
        #[arg(long, value_name = "FIELD", value_enum)]
        clear: Vec<Clear>,
        #[command(flatten)]
        freed: ClearShortcuts,
    },
    /// Claim a task for yourself [default: the ready task with the highest priority]
    Claim {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(is_open))]
        task: Option<TaskId>,
    },
    /// Assign a task to a member
    Assign {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(is_open))]
        task: TaskId,
        /// Name of the member, as `ps` lists it
        #[arg(add = complete::members())]
        member: MemberName,
    },
    /// Mark a task as completed
    Complete {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(is_open))]
        task: TaskId,
        /// The result; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        result: String,
    },
    /// Mark a task as failed
    Fail {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(is_open))]
        task: TaskId,
        /// The reason; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Make a failed or cancelled task pending
    Retry {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(has_failed))]
        task: TaskId,
    },
    /// Release a claimed task: it becomes pending
    Release {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(is_open))]
        task: TaskId,
        /// Note for the next owner; `-` reads stdin
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Cancel a task
    Cancel {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(is_open))]
        task: TaskId,
    },
    /// Wait until a task ends and print its result; exit with 1 unless it completed
    Wait {
        /// Id of the task, such as T-3
        #[arg(value_parser = id::<TaskId>, add = complete::tasks(|_| true))]
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

fn is_open(state: TaskState) -> bool {
    matches!(state, TaskState::Pending | TaskState::InProgress)
}

fn has_failed(state: TaskState) -> bool {
    matches!(state, TaskState::Failed | TaskState::Cancelled)
}

/// A field that `update --clear` can empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clear {
    After,
    #[value(alias = "label")]
    Labels,
    Role,
    For,
    #[value(alias = "touches")]
    Files,
    Run,
    Verify,
}

/// Short forms of `update --clear` that make a task claimable.
#[derive(Debug, Args)]
pub(crate) struct ClearShortcuts {
    /// Remove the dependencies, for example on a cancelled task
    #[arg(long, conflicts_with = "after")]
    no_after: bool,
    /// Any member may claim it
    #[arg(long, conflicts_with = "assignee")]
    no_for: bool,
    /// Any role may claim it
    #[arg(long, conflicts_with = "role")]
    no_role: bool,
}

impl ClearShortcuts {
    pub(crate) fn fields(&self) -> impl Iterator<Item = Clear> + use<> {
        let fields = [
            (self.no_after, Clear::After),
            (self.no_for, Clear::For),
            (self.no_role, Clear::Role),
        ];
        let freed = fields.into_iter().filter(|(is_freed, _)| *is_freed);
        freed.map(|(_, field)| field)
    }
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
    #[arg(long, alias = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// A task, by id or key, that must complete first; repeatable
    #[arg(long, value_name = "TASK", add = complete::tasks(|_| true))]
    pub(crate) after: Vec<String>,
    /// Only members of this role may claim it
    #[arg(long, add = complete::roles())]
    pub(crate) role: Option<RoleName>,
    /// Glob of files that the task will change; repeatable
    #[arg(long, alias = "touches", value_name = "GLOB")]
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
