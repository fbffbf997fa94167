//! The resources below `/api/v1`, as a table: each row names a method of the supervisor, the permission that it needs,
//! and the parts of a request that become its arguments. `call.rs` performs a row. The OpenAPI document and
//! `docs/reference/http.md` are generated from the table. To add a resource, add a row; no other code is necessary.

use agent_team_protocol::method::*;

use crate::access::Permission::{self, Decide, Steer, View};

/// The prefix of every resource path.
pub(crate) const BASE: &str = "/api/v1";

/// The HTTP method of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// A row of [`RESOURCES`].
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) verb: Verb,
    /// The names in braces are arguments of the call.
    pub(crate) path: &'static str,
    /// The method of the supervisor.
    pub(crate) call: MethodEntry,
    pub(crate) permission: Permission,
    pub(crate) query: &'static [Param],
    pub(crate) body: Body,
    /// Arguments as JSON for a request that omits them.
    pub(crate) defaults: &'static [(&'static str, &'static str)],
    pub(crate) document: Document,
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "only the generator of the documents reads it, in tests"
        )
    )]
    pub(crate) summary: &'static str,
}

/// A parameter of a query, with the name of the argument.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Flag,
}

/// The meaning of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// A body is refused.
    None,
    /// An object with the arguments. The body may be missing.
    Arguments,
    /// The value of this argument.
    Argument(&'static str),
    /// The argument `spec` of `task/add`. Its key defaults to its title, as for `task add`.
    Task,
}

/// The document of a successful answer: the document that the corresponding command prints with `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    /// The answer of the method.
    Answer,
    /// `ps`.
    Team,
    /// `stats`.
    Stats,
    /// `mode`.
    Modes,
    /// All pages of `task/list`, as `task list`.
    Board,
    /// The permission request after its decision, as `requests allow`.
    Request,
}

const fn row(
    verb: Verb,
    path: &'static str,
    call: MethodEntry,
    permission: Permission,
    summary: &'static str,
) -> Resource {
    Resource {
        verb,
        path,
        call,
        permission,
        query: &[],
        body: Body::None,
        defaults: &[],
        document: Document::Answer,
        summary,
    }
}

const fn get<M: Method>(path: &'static str, summary: &'static str) -> Resource {
    row(Verb::Get, path, M::ENTRY, View, summary)
}

/// A change whose body contains the arguments.
const fn change<M: Method>(
    verb: Verb,
    path: &'static str,
    permission: Permission,
    summary: &'static str,
) -> Resource {
    let mut resource = row(verb, path, M::ENTRY, permission, summary);
    resource.body = Body::Arguments;
    resource
}

const fn post<M: Method>(path: &'static str, summary: &'static str) -> Resource {
    change::<M>(Verb::Post, path, Steer, summary)
}

impl Resource {
    const fn query(mut self, query: &'static [Param]) -> Self {
        self.query = query;
        self
    }

    const fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    const fn defaults(mut self, defaults: &'static [(&'static str, &'static str)]) -> Self {
        self.defaults = defaults;
        self
    }

    const fn document(mut self, document: Document) -> Self {
        self.document = document;
        self
    }
}

const fn text(name: &'static str) -> Param {
    let kind = Kind::Text;
    Param { name, kind }
}

const fn number(name: &'static str) -> Param {
    let kind = Kind::Number;
    Param { name, kind }
}

const fn flag(name: &'static str) -> Param {
    let kind = Kind::Flag;
    Param { name, kind }
}

/// All resources except `/events` and `/openapi.json`.
pub(crate) const RESOURCES: &[Resource] = &[
    get::<TeamShow>("/team", "The members and what they are doing, as `ps`")
        .document(Document::Team),
    get::<TeamShow>(
        "/team/details",
        "All state of the team except the board, as `team show`",
    ),
    get::<TeamShow>(
        "/team/stats",
        "Time, tokens and cost of each member, as `stats`",
    )
    .document(Document::Stats),
    get::<TeamShow>("/team/mode", "The permission modes, as `mode`").document(Document::Modes),
    change::<TeamMode>(
        Verb::Put,
        "/team/mode",
        Decide,
        "Change the permission mode of the team or of one member",
    )
    .document(Document::Modes),
    change::<TeamBudget>(
        Verb::Put,
        "/team/budget",
        Steer,
        "Replace the limits of the team or of one member",
    ),
    post::<TeamDown>("/team/down", "Stop all members, as `down`").defaults(&[("force", "false")]),
    row(
        Verb::Delete,
        "/team",
        TeamDelete::ENTRY,
        Steer,
        "Delete the team, which must be down, as `team delete`",
    ),
    get::<TeamList>("/teams", "The teams on this machine, as `team list`"),
    post::<RunStart>("/goal", "Give the lead a goal"),
    get::<RunShow>(
        "/goal",
        "The newest goal with its whole answer, as `goal show`",
    ),
    get::<RunRounds>("/goal/rounds", "The rounds of a goal, a page at a time")
        .query(&[text("run"), number("after")]),
    post::<RunCancel>(
        "/goal/cancel",
        "Cancel the current goal and its tasks, as `cancel`",
    ),
    post::<MemberSpawn>("/members", "Add a member with a role, as `spawn`"),
    get::<MemberShow>(
        "/members/{member}",
        "One member, with the explanation of its state",
    ),
    row(
        Verb::Delete,
        "/members/{member}",
        MemberRemove::ENTRY,
        Steer,
        "Stop a spawned member and remove it, as `member remove`",
    )
    .query(&[flag("force")]),
    post::<MemberStop>(
        "/members/{member}/stop",
        "Ask a member to stop, and keep it stopped, as `stop`",
    ),
    post::<MemberKill>(
        "/members/{member}/kill",
        "Kill the process tree of a member, and keep it stopped, as `kill`",
    ),
    post::<MemberRestart>(
        "/members/{member}/restart",
        "Restart a member in the same pane, as `restart`",
    ),
    post::<MemberInterrupt>(
        "/members/{member}/interrupt",
        "Interrupt the current turn of an agent",
    ),
    post::<MemberCompact>(
        "/members/{member}/compact",
        "Summarise the conversation of an agent, as `compact`",
    ),
    get::<TranscriptRead>(
        "/members/{member}/transcript",
        "The conversation of an agent, a page at a time",
    )
    .query(&[number("after")]),
    get::<MemberScreenShow>(
        "/members/{member}/screen",
        "The newest screen of a member that shows a terminal program",
    ),
    get::<MessageList>("/messages", "The newest messages, as `messages --peek`")
        .query(&[text("of"), number("limit")])
        .defaults(&[("limit", "100")]),
    post::<MessageSend>(
        "/messages",
        "Send a message to one member or to all, as `send`",
    ),
    post::<MessageRead>("/messages/read", "Mark messages to the user as read"),
    get::<TaskList>("/tasks", "The board, as `task list`").document(Document::Board),
    post::<TaskAdd>("/tasks", "Add a task, as `task add`").body(Body::Task),
    post::<TaskClaim>(
        "/tasks/claim",
        "Claim the task `task`, or without it the ready task of highest priority, as `task claim`",
    ),
    get::<TaskShow>("/tasks/{task}", "One task, as `task show`"),
    change::<TaskUpdate>(
        Verb::Patch,
        "/tasks/{task}",
        Steer,
        "Change a task, as `task update`",
    )
    .body(Body::Argument("changes")),
    post::<TaskAssign>(
        "/tasks/{task}/assign",
        "Assign a task to a member, as `task assign`",
    ),
    post::<TaskComplete>(
        "/tasks/{task}/complete",
        "Complete a task, as `task complete`",
    ),
    post::<TaskFail>("/tasks/{task}/fail", "Fail a task, as `task fail`"),
    post::<TaskRelease>("/tasks/{task}/release", "Release a task, as `task release`"),
    post::<TaskRetry>(
        "/tasks/{task}/retry",
        "Make a failed or cancelled task pending again, as `task retry`",
    ),
    post::<TaskCancel>("/tasks/{task}/cancel", "Cancel a task, as `task cancel`"),
    get::<RequestList>(
        "/requests",
        "The pending permission requests and open questions, as `requests list`",
    )
    .query(&[flag("all")]),
    get::<RequestShow>(
        "/requests/{request}",
        "One permission request, as `requests show`",
    ),
    change::<RequestDecide>(
        Verb::Post,
        "/requests/{request}/decision",
        Decide,
        "Decide a permission request, as `requests allow` and `requests deny`",
    )
    .defaults(&[("via", "\"other\"")])
    .document(Document::Request),
    get::<RuleList>(
        "/rules",
        "The permission rules in evaluation order, as `rules list`",
    ),
    row(
        Verb::Delete,
        "/rules/{request}",
        RuleRevoke::ENTRY,
        Decide,
        "Revoke the grant that the decision of this request created",
    ),
    get::<MemoryGet>("/memory", "The team's shared memory").query(&[text("key")]),
    change::<MemoryPut>(
        Verb::Put,
        "/memory/{key}",
        Steer,
        "Set a value in the team's shared memory",
    )
    .body(Body::Argument("value")),
    post::<PaneReopen>(
        "/panes/reopen",
        "Open panes for members that lost theirs, as `panes reopen`",
    ),
    get::<SupervisorStatus>("/supervisor", "The supervisor, as `supervisor status`"),
];
