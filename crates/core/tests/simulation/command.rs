//! Schedules: the commands that a simulation runs, and their generators.
//!
//! A command contains small numbers, which select tasks, members and launches when the command runs. So every part of a
//! schedule is also a valid schedule, and a failing schedule shrinks to a few lines.

use std::fmt;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) struct Schedule(pub(crate) Vec<Command>);

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|command| write!(f, "\n    {command:?}"))
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Call {
        by: By,
        ask: Ask,
        keyed: bool,
    },
    /// Repeats an earlier call with its key, and with the same or other arguments.
    Repeat {
        which: u8,
        changed: bool,
    },
    /// Every member and the user claim the same task.
    Race {
        task: u8,
    },
    /// Runs an effect, or lets a worker do its next action: correctly, badly or late.
    Outside {
        which: u8,
        how: u8,
    },
    /// Kills a worker's process.
    Die {
        which: u8,
    },
    /// Kills the worker of one member repeatedly, each time `every_ms` after its successor has connected.
    DieAgain {
        which: u8,
        deaths: u8,
        every_ms: u32,
    },
    /// Delivers a report of a stale launch.
    Late {
        which: u8,
        what: u8,
    },
    Wait {
        ms: u32,
    },
    SaveSnapshot,
    /// Kills the supervisor and drops its pending effects; another supervisor starts later.
    Crash {
        snapshot: u8,
        down_ms: u32,
    },
    /// Reboots the machine and starts a supervisor.
    Reboot {
        snapshot: u8,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum By {
    User(u8),
    Member(u8),
    /// A stale launch.
    Former(u8),
}

#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Up(FileChoice),
    Down {
        force: bool,
    },
    Spawn {
        name: Option<u8>,
        role: u8,
    },
    Stop(u8),
    Remove(u8),
    Kill(u8),
    Restart(u8),
    Send {
        to: u8,
        urgent: bool,
    },
    Read {
        count: u8,
    },
    Add {
        task: TaskChoice,
        after: Vec<u8>,
    },
    Update {
        task: u8,
        priority: i8,
        after: Option<Vec<u8>>,
    },
    Claim {
        task: Option<u8>,
    },
    Assign {
        task: u8,
        member: u8,
    },
    Complete {
        task: u8,
        generation: Gen,
    },
    Fail {
        task: u8,
        generation: Gen,
    },
    Release {
        task: u8,
        generation: Gen,
    },
    Retry(u8),
    Cancel(u8),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Gen {
    Current,
    Old,
    Next,
    Omitted,
}

/// A team file. Each mask has a bit for each worker that the file may contain.
#[derive(Debug, Clone)]
pub(crate) struct FileChoice {
    pub(crate) workers: u8,
    pub(crate) lead: bool,
    pub(crate) foreign: u8,
    pub(crate) changed_settings: u8,
    pub(crate) changed_colours: u8,
    pub(crate) runs_only: u8,
    pub(crate) assigned_only: u8,
    pub(crate) limit: u8,
    pub(crate) starting: u8,
    pub(crate) hooks: bool,
    pub(crate) tasks: Vec<(TaskChoice, Vec<u8>)>,
}

#[derive(Debug, Clone)]
pub(crate) struct TaskChoice {
    pub(crate) title: u8,
    pub(crate) version: u8,
    pub(crate) priority: i8,
    pub(crate) runs: bool,
    pub(crate) rerun: bool,
    pub(crate) role: Option<u8>,
    pub(crate) assignee: Option<u8>,
}

/// How often each kind of fault occurs in a schedule: weights beside those of the other commands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) deaths: u32,
    pub(crate) crashes: u32,
    pub(crate) reboots: u32,
}

pub(crate) fn schedule(faults: Faults, length: usize) -> impl Strategy<Value = Schedule> {
    let command = prop_oneof![
        20 => (by(), ask(), any::<bool>()).prop_map(|(by, ask, keyed)| Command::Call { by, ask, keyed }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, changed)| Command::Repeat { which, changed }),
        1 => any::<u8>().prop_map(|task| Command::Race { task }),
        60 => (any::<u8>(), any::<u8>()).prop_map(|(which, how)| Command::Outside { which, how }),
        faults.deaths => death(),
        6 => prop_oneof![8 => 0_u32..3_000, 4 => 0_u32..40_000, 1 => 0_u32..900_000].prop_map(|ms| Command::Wait { ms }),
        faults.crashes => prop_oneof![
            Just(Command::SaveSnapshot),
            (any::<u8>(), 0_u32..30_000).prop_map(|(snapshot, down_ms)| Command::Crash { snapshot, down_ms }),
        ],
        faults.reboots => any::<u8>().prop_map(|snapshot| Command::Reboot { snapshot }),
    ];
    vec(command, 0..length).prop_map(Schedule)
}

fn death() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => any::<u8>().prop_map(|which| Command::Die { which }),
        1 => (any::<u8>(), 1_u8..8, 0_u32..20_000)
            .prop_map(|(which, deaths, every_ms)| Command::DieAgain { which, deaths, every_ms }),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(which, what)| Command::Late { which, what }),
    ]
}

/// The position of a member name, usually of a name that most teams contain.
fn member() -> impl Strategy<Value = u8> {
    prop_oneof![6 => 0_u8..4, 1 => 4_u8..8]
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![
        6 => (0_u8..3).prop_map(By::User),
        3 => any::<u8>().prop_map(By::Member),
        1 => any::<u8>().prop_map(By::Former),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let claim = || {
        let generation = prop_oneof![
            4 => Just(Gen::Current),
            2 => Just(Gen::Old),
            1 => Just(Gen::Next),
            1 => Just(Gen::Omitted),
        ];
        (any::<u8>(), generation)
    };
    prop_oneof![
        2 => file().prop_map(Ask::Up),
        1 => any::<bool>().prop_map(|force| Ask::Down { force }),
        1 => (option::of(member()), 0_u8..2).prop_map(|(name, role)| Ask::Spawn { name, role }),
        1 => member().prop_map(Ask::Stop),
        1 => member().prop_map(Ask::Remove),
        2 => member().prop_map(Ask::Kill),
        2 => member().prop_map(Ask::Restart),
        6 => (0_u8..12, prop::bool::weighted(0.2)).prop_map(|(to, urgent)| Ask::Send { to, urgent }),
        2 => any::<u8>().prop_map(|count| Ask::Read { count }),
        12 => (task(), vec(any::<u8>(), 0..3)).prop_map(|(task, after)| Ask::Add { task, after }),
        4 => (any::<u8>(), -2_i8..3, option::of(vec(any::<u8>(), 0..4)))
            .prop_map(|(task, priority, after)| Ask::Update { task, priority, after }),
        5 => option::weighted(0.7, any::<u8>()).prop_map(|task| Ask::Claim { task }),
        2 => (any::<u8>(), member()).prop_map(|(task, member)| Ask::Assign { task, member }),
        5 => claim().prop_map(|(task, generation)| Ask::Complete { task, generation }),
        2 => claim().prop_map(|(task, generation)| Ask::Fail { task, generation }),
        2 => claim().prop_map(|(task, generation)| Ask::Release { task, generation }),
        2 => any::<u8>().prop_map(Ask::Retry),
        2 => any::<u8>().prop_map(Ask::Cancel),
    ]
}

fn task() -> impl Strategy<Value = TaskChoice> {
    let claimants = (
        option::weighted(0.2, 0_u8..2),
        option::weighted(0.2, member()),
    );
    (
        0_u8..6,
        0_u8..2,
        -2_i8..3,
        any::<bool>(),
        prop::bool::weighted(0.8),
        claimants,
    )
        .prop_map(
            |(title, version, priority, runs, rerun, (role, assignee))| TaskChoice {
                title,
                version,
                priority,
                runs,
                rerun,
                role,
                assignee,
            },
        )
}

fn file() -> impl Strategy<Value = FileChoice> {
    let masks = (0_u8..16, 0_u8..16, 0_u8..16, 0_u8..16, 0_u8..16, 0_u8..16);
    let tasks = vec((task(), vec(0_u8..6, 0..2)), 0..4);
    let team = (prop::bool::weighted(0.8), 3_u8..8, 1_u8..3, any::<bool>());
    (masks, team, tasks).prop_map(
        |(
            (workers, foreign, changed_settings, changed_colours, runs_only, assigned_only),
            team,
            tasks,
        )| {
            let (lead, limit, starting, hooks) = team;
            FileChoice {
                workers,
                lead,
                foreign,
                changed_settings: changed_settings & foreign,
                changed_colours,
                runs_only,
                assigned_only: assigned_only & runs_only,
                limit,
                starting,
                hooks,
                tasks,
            }
        },
    )
}
