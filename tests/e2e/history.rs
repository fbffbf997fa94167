//! Reads a team's events, and checks that the events about claims, launches and the ends of tasks are consistent.

use std::collections::{BTreeMap, BTreeSet};

use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_tests::{Event, Rig, until};

/// All events so far.
pub(crate) async fn history(rig: &Rig) -> Vec<Event> {
    until("the history", async || {
        let revision = rig.ask::<TeamShow>(Nothing {}).await.revision.0;
        let mut events = rig.events().await;
        let mut history = Vec::new();
        while events.last() < revision {
            // If the connection closes, the supervisor has died: read all events again from the next supervisor.
            history.push(events.next().await?);
        }
        Some(history)
    })
    .await
}

/// Asserts that a task has one owner at a time, that each claim has a higher generation than the claim before it, that
/// a launch ends before the next launch of its member starts, and that a task ends once and is not claimed afterwards.
pub(crate) fn check(history: &[Event]) {
    let mut owners: BTreeMap<&str, (&str, u64)> = BTreeMap::new();
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    let mut launches: BTreeMap<&str, &str> = BTreeMap::new();
    for event in history {
        let task = event.text("task");
        match event.kind.as_str() {
            "task_claimed" => {
                let generation = event.data["generation"].as_u64().unwrap();
                let owner = event.text("owner");
                assert!(!ended.contains(task), "{task} is over: {event:?}");
                if let Some((before, last)) = owners.insert(task, (owner, generation)) {
                    assert!(generation > last, "{event:?}");
                    assert!(before == owner || before.is_empty(), "{event:?}");
                }
            }
            "task_released" => {
                owners.get_mut(task).expect("the task was claimed").0 = "";
            }
            "task_completed" | "task_failed" => {
                assert!(ended.insert(task), "{task} ended twice");
            }
            "launch_started" => {
                let before = launches.insert(event.text("member"), event.text("launch"));
                assert_eq!(before, None, "{event:?}");
            }
            "launch_ended" => {
                let launch = launches.remove(event.text("member"));
                assert_eq!(launch, Some(event.text("launch")), "{event:?}");
            }
            _ => {}
        }
    }
}
