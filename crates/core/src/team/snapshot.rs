//! Snapshots: a short list of events that rebuilds a team, in the journal's own format. A snapshot only speeds up a
//! start; the journal alone rebuilds the same state. This file puts the events in order; the files of `apply/` make
//! most of them.

use crate::team::Team;
use crate::team::event::{Event, Record};
use crate::team::plan_lock::PlanLock;
use crate::time::Tick;

impl Team {
    /// Records that rebuild this team when an empty team replays them.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut put = |tick: Tick, at: u64, event: Event| {
            records.push(Record {
                at,
                tick,
                event,
                call: None,
            })
        };
        let now = Tick(0);

        put(
            now,
            0,
            Event::TeamPlanned {
                spec: self.spec.clone(),
            },
        );
        if let Some(boot) = &self.boot {
            put(now, 0, Event::Booted { boot: boot.clone() });
        }
        for (since, event) in self.member_events() {
            put(since, 0, event);
        }
        for event in self.task_events() {
            put(now, 0, event);
        }
        for event in self.message_events() {
            put(now, 0, event);
        }
        // Write the runs after the messages: the replay of a message to the lead changes `reported`.
        for (at, event) in self.run_events() {
            put(now, at, event);
        }
        for event in self.request_events() {
            put(now, 0, event);
        }
        for member in self.members.values() {
            let (member, account) = (member.spec.name.clone(), member.account);
            put(now, 0, Event::AccountKept { member, account });
        }
        for member in self.members.values() {
            if member.lock != PlanLock::default() {
                let (member, lock) = (member.spec.name.clone(), member.lock);
                put(now, 0, Event::LockKept { member, lock });
            }
        }
        let (account, spent) = (self.account, self.spent);
        put(now, 0, Event::TeamAccountKept { account, spent });
        for (last_used, call) in self.answers.iter() {
            put(last_used, 0, Event::CallAnswered { call: call.clone() });
        }
        put(
            now,
            0,
            Event::Counted {
                revision: self.revision,
                tasks: self.board.last,
                messages: self.last_message,
                completed: self.board.completed,
                spawned: self
                    .spawned
                    .iter()
                    .map(|(role, last)| (role.clone(), *last))
                    .collect(),
                requests: self.requests.last,
            },
        );
        records
    }
}
