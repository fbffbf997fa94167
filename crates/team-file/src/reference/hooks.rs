//! The keys of `[hooks]`, in the team file and in the user's settings.

use super::key::DefaultValue::{Is, Required, Unset};
use super::key::Kind::{Integer, Tables};
use super::key::{KeyInfo, Kind, Section};

pub(super) static HOOKS: Section = Section {
    heading: "[hooks]",
    summary: "Shell lines that run in the project directory, with JSON on stdin. `task_completed` and `teammate_idle` run \
              for at most 60 s. The other keys are lists of tables: see `[[hooks.<event>]]`.",
    groups: &[
        &[
            KeyInfo::new(
                "task_completed",
                Kind::String,
                Unset,
                "Runs before a task counts as completed. Exit code 0 accepts, any other refuses; with 2, stderr is the \
                 reason.",
                "task_completed = \"scripts/check.sh\"",
            ),
            KeyInfo::new(
                "teammate_idle",
                Kind::String,
                Unset,
                "Runs when a member has nothing to do. With exit code 2 the member receives stderr as the reason to \
                 continue.",
                "teammate_idle = \"scripts/next.sh\"",
            ),
        ],
        EVENTS,
    ],
};

pub(super) static USER_HOOKS: Section = Section {
    heading: "[hooks]",
    summary: "Your own hooks, for the agents of every team. They run after the hooks of the team file. Each key is a list \
              of tables: see `[[hooks.<event>]]`.",
    groups: &[EVENTS],
};

const EVENTS: &[KeyInfo] = &[
    KeyInfo::new(
        "session_start",
        Tables,
        Is("[]"),
        "Runs when an agent starts, and after an automatic summary. With exit code 0, the model receives stdout.",
        "[[hooks.session_start]]\nrun = \"git status --short\"",
    ),
    KeyInfo::new(
        "user_prompt",
        Tables,
        Is("[]"),
        "Runs before the model receives a message of yours. Exit code 2 withholds the message; with 0, the model also \
         receives stdout.",
        "[[hooks.user_prompt]]\nrun = \"scripts/no-secrets.sh\"",
    ),
    KeyInfo::new(
        "pre_tool",
        Tables,
        Is("[]"),
        "Runs before a tool call and before its permission request. It can deny, ask, allow or change the call.",
        "[[hooks.pre_tool]]\nmatcher = \"Bash\"\nrun = \"scripts/check-command.py\"",
    ),
    KeyInfo::new(
        "post_tool",
        Tables,
        Is("[]"),
        "Runs after a tool call that succeeded. With exit code 2, the model receives stderr with the result.",
        "[[hooks.post_tool]]\nmatcher = \"Edit|Write\"\nrun = \"cargo fmt\"",
    ),
    KeyInfo::new(
        "pre_compact",
        Tables,
        Is("[]"),
        "Runs before a summary replaces the oldest part of a conversation. It cannot prevent the summary.",
        "[[hooks.pre_compact]]\nrun = \"scripts/log.sh\"",
    ),
    KeyInfo::new(
        "stop",
        Tables,
        Is("[]"),
        "Runs when an agent ends its turn and owns no task. With exit code 2 the agent continues, and its model receives \
         stderr as the reason.",
        "[[hooks.stop]]\nrun = \"scripts/is-done.sh\"",
    ),
    KeyInfo::new(
        "notification",
        Tables,
        Is("[]"),
        "Runs when an agent waits for your decision or your answer.",
        "[[hooks.notification]]\nrun = \"scripts/notify.sh\"",
    ),
];

pub(super) static HOOK: Section = Section {
    heading: "[[hooks.<event>]]",
    summary: "One hook of an agent. It runs outside the sandbox, with your rights.",
    groups: &[&[
        KeyInfo::new(
            "run",
            Kind::String,
            Required,
            "The shell line.",
            "run = \"scripts/hook.sh\"",
        ),
        KeyInfo::new(
            "matcher",
            Kind::String,
            Is("\"\""),
            "What the hook runs for: tools by the names that Claude Code or agent-team gives them, the `source` of \
             session_start, the `trigger` of pre_compact, or the `notification_type` of notification. A \
             vertical bar separates names, and `*` or `.*` matches any characters. Empty: everything.",
            "matcher = \"Edit|Write\"",
        ),
        KeyInfo::new(
            "timeout_seconds",
            Integer,
            Is("60"),
            "The time after which the hook is terminated, from 1 to 600.",
            "timeout_seconds = 5",
        ),
    ]],
};
