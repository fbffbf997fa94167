//! Reads the journal and checks that its events are possible.

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
            // Without a next event the supervisor has died: read the journal again.
            history.push(events.next().await?);
        }
        Some(history)
    })
    .await
}

/// Asserts that the journal is possible: one owner at a time, growing generations, one end for each launch before the
/// next launch of that member, no task completed twice.
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
                owners.get_mut(task).expect("it was claimed").0 = "";
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
