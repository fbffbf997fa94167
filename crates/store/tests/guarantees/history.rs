//! Pages and lists that are read while the writer writes.

use std::thread;

use agent_team_protocol::id::{MessageId, Party, Revision, TaskId};
use agent_team_store::{Archived, Batch, History};

use crate::rig::{Team, batch, commit, member, message, record, records};

/// Reads pages of `limit` until there are no more, and returns their revisions.
fn all_pages(history: &History, mut after: Revision, limit: usize) -> Vec<u64> {
    let mut revisions = Vec::new();
    loop {
        let page = history.events_after(after, limit).unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else {
            return revisions;
        };
        after = last.revision;
        revisions.extend(page.iter().map(|entry| entry.revision.0));
    }
}

#[test]
fn pages_have_no_gap_and_no_duplicate() {
    let team = Team::new();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=100))).unwrap();
    for limit in [1, 7, 100, 1_000] {
        assert_eq!(
            all_pages(&opened.history, Revision(0), limit),
            (1..=100).collect::<Vec<_>>()
        );
    }
    assert_eq!(all_pages(&opened.history, Revision(98), 7), [99, 100]);
    assert_eq!(all_pages(&opened.history, Revision(100), 7), [0; 0]);
}

#[test]
fn a_page_of_long_events_is_short() {
    let team = Team::new();
    let mut opened = team.open();
    let long = "x".repeat(60 << 10);
    let messages = (1..=100)
        .map(|n| message(n, Party::User, vec![member("ada")], &long))
        .collect();
    commit(&mut opened.writer, batch(1, messages)).unwrap();
    let page = opened.history.events_after(Revision(0), 100).unwrap();
    assert!(page.len() < 20, "{} events", page.len());
    assert_eq!(
        all_pages(&opened.history, Revision(0), 100),
        (1..=100).collect::<Vec<_>>()
    );
}

#[test]
fn readers_beside_the_writer_see_every_event_once() {
    let team = Team::new();
    let mut opened = team.open();
    let last = 5_000;
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let history = opened.history.clone();
            thread::spawn(move || {
                let mut seen = Vec::new();
                while seen.len() < last {
                    let after = seen.last().copied().unwrap_or(0);
                    seen.extend(all_pages(&history, Revision(after), 64));
                }
                seen
            })
        })
        .collect();
    for first in (1..=last as u64).step_by(5) {
        commit(&mut opened.writer, batch(first, records(first..=first + 4))).unwrap();
    }
    for reader in readers {
        assert_eq!(
            reader.join().unwrap(),
            (1..=last as u64).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_newest_messages_are_listed_in_order() {
    let team = Team::new();
    let mut opened = team.open();
    let (ada, ad, bob) = (member("ada"), member("ad"), member("bob"));
    let journal = vec![
        message(1, Party::User, vec![ada.clone(), bob.clone()], "one"),
        record(1),
        message(2, bob.clone(), vec![ada.clone()], "two | ad | three"),
        message(3, ada.clone(), vec![Party::User], "three"),
        record(2),
        message(4, Party::System, vec![bob.clone()], "four"),
    ];
    commit(&mut opened.writer, batch(1, journal)).unwrap();
    let list = |of: Option<&Party>, limit| {
        let messages = opened.history.messages(of, limit).unwrap();
        messages
            .iter()
            .map(|message| message.id.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None, 100), [1, 2, 3, 4]);
    assert_eq!(list(None, 2), [3, 4]);
    assert_eq!(list(Some(&ada), 100), [1, 2, 3]);
    assert_eq!(list(Some(&ada), 2), [2, 3]);
    assert_eq!(list(Some(&ad), 100), [0; 0]);
    assert_eq!(list(Some(&bob), 100), [1, 2, 4]);
    assert_eq!(list(Some(&Party::System), 100), [4]);

    let first = &opened.history.messages(None, 100).unwrap()[0];
    assert_eq!(
        (first.id, &first.from, &*first.text, first.at),
        (MessageId(1), &Party::User, "one", 1_001)
    );
    assert_eq!(first.to, [ada, bob]);
}

#[test]
fn messages_are_listed_after_restarts_and_refused_batches() {
    let team = Team::new();
    let from_user = |n| message(n, Party::User, vec![member("ada")], "hello");
    commit(
        &mut team.open().writer,
        batch(1, vec![from_user(1), record(2), from_user(3)]),
    )
    .unwrap();

    let mut opened = team.open();
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON archive BEGIN SELECT raise(ABORT, 'no'); END";
    team.sqlite().execute_batch(refuse).unwrap();
    let archived = vec![Archived {
        task: TaskId(1),
        view: "{}".into(),
    }];
    let refused = Batch {
        archived,
        ..batch(4, vec![from_user(4), from_user(5)])
    };
    commit(&mut opened.writer, refused).unwrap_err();
    commit(&mut opened.writer, batch(4, vec![record(4), record(5)])).unwrap();
    commit(&mut opened.writer, batch(6, vec![from_user(6)])).unwrap();
    drop(opened.writer);

    let mut opened = team.open();
    commit(&mut opened.writer, batch(7, vec![record(7)])).unwrap();
    let messages = opened.history.messages(None, 10).unwrap();
    let ids: Vec<_> = messages.iter().map(|message| message.id.0).collect();
    assert_eq!(ids, [1, 3, 6]);
}

#[test]
fn completed_tasks_are_listed_by_id() {
    let team = Team::new();
    let mut opened = team.open();
    let archived = [10, 9, 2].map(|n| Archived {
        task: TaskId(n),
        view: format!(r#"{{"id":"T-{n}"}}"#),
    });
    commit(
        &mut opened.writer,
        Batch {
            archived: archived.into(),
            ..batch(1, records(1..=1))
        },
    )
    .unwrap();
    drop(opened.writer);
    let history = team.open().history;
    let all = history.archived_after(TaskId(0), 10).unwrap();
    assert_eq!(
        all,
        [r#"{"id":"T-2"}"#, r#"{"id":"T-9"}"#, r#"{"id":"T-10"}"#]
    );
    assert_eq!(history.archived_after(TaskId(2), 1).unwrap(), all[1..2]);
    assert_eq!(history.archived_after(TaskId(10), 1).unwrap(), [""; 0]);
    assert_eq!(history.archived(TaskId(9)).unwrap().as_ref(), Some(&all[1]));
    assert_eq!(history.archived(TaskId(3)).unwrap(), None);
}
