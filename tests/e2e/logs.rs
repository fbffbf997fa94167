//! `logs` of several members: merged by time, selected by age and number, and followed.

use serde_json::Value;

use crate::teams::headless;

/// Ada prints `one`, then ben prints `two`, then ada prints `three`.
const TASKS: &str = "\
[[task]]
title = \"First\"
for = \"ada\"
run = \"echo one\"
[[task]]
title = \"Second\"
for = \"ben\"
after = [\"First\"]
run = \"sleep 0.2; echo two\"
[[task]]
title = \"Third\"
for = \"ada\"
after = [\"Second\"]
run = \"sleep 0.2; echo three\"
";

#[tokio::test]
async fn logs_of_all_members_are_merged_by_time() {
    let rig = headless(&["ada", "ben"], TASKS);
    rig.ok(["up", "--wait"]).await;
    let all = rig.ok(["logs"]).await.stdout;
    let printed: Vec<&str> = all
        .lines()
        .filter(|line| {
            ["one", "two", "three"]
                .iter()
                .any(|text| line.ends_with(&format!("│ {text}")))
        })
        .collect();
    assert_eq!(printed, ["ada │ one", "ben │ two", "ada │ three"], "{all}");

    let newest = rig.ok(["logs", "--tail", "1", "--timestamps"]).await.stdout;
    let (time, line) = newest.split_once(' ').expect("a time and a line");
    assert!(time.ends_with('Z') && time.len() == 20, "{newest}");
    assert!(line.starts_with("ada │ ✓ T-3"), "{newest}");

    let two = rig.json(["logs", "ben", "ada", "--since", "1h"]).await;
    let lines = two["lines"].as_array().expect("lines");
    assert!(lines.iter().all(|line| line["at"].is_u64()), "{two}");
    let texts: Vec<&Value> = lines.iter().map(|line| &line["text"]).collect();
    assert!(texts.contains(&&Value::from("two")), "{two}");
    assert_eq!(rig.ok(["logs", "--since", "0s"]).await.stdout, "");
    // The lines of a single selected member are printed without its name.
    let of_ben = rig.ok(["logs", "ben", "--tail", "2"]).await.stdout;
    assert!(of_ben.starts_with("two\n"), "{of_ben}");

    rig.run(["logs", "bne"])
        .await
        .expect(3)
        .assert_prints("did you mean `ben`?");
}

#[tokio::test]
async fn logs_of_all_members_are_followed() {
    let rig = headless(&["ada", "ben"], "");
    rig.ok(["up"]).await;
    let mut logs = rig.start(["logs", "-f"]);
    for (member, line) in [("ada", "ada │ from ada"), ("ben", "ben │ from ben")] {
        let run = format!("echo from {member}");
        rig.ok(["task", "add", "Say", "--for", member, "--run", &run])
            .await;
        logs.line_with(line).await;
    }
}

#[tokio::test]
async fn logs_omit_the_output_of_full_screen_programs() {
    let run = r"printf 'before\033[?1049h\033[Hpage 1\033[?1049lafter\n'";
    let task = format!("[[task]]\ntitle = \"Page\"\nrun = '''{run}'''\n");
    let rig = headless(&["ada"], &task);
    rig.ok(["up", "--wait"]).await;
    let log = rig.ok(["logs", "ada"]).await.stdout;
    let drawn = "\nbefore\n… full-screen output\nafter\n";
    assert!(log.contains(drawn), "{log}");
}
