//! Checks time: jumps of the wall clock trigger no timeout, and after a reboot no recorded process is trusted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::history::Evidence;

/// The maximum age of the team when the torture's clock starts.
const HEAD_START: Duration = Duration::from_secs(60);

pub(super) fn time(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for probe in &evidence.probes {
        if probe.longest > probe.ended + HEAD_START {
            found.push(format!(
                "a member was in one state for {:?} at {:.3} s",
                probe.longest,
                probe.ended.as_secs_f64()
            ));
        }
    }
    let mut current: BTreeSet<&str> = BTreeSet::new();
    let mut void: BTreeSet<&str> = BTreeSet::new();
    for event in &evidence.journal {
        let launch = event.text("launch");
        match event.kind.as_str() {
            "launch_started" => drop(current.insert(launch)),
            "booted" => void.append(&mut current),
            // The user decides within seconds: no request expires.
            "request_denied" if event.text("by") != "user" => {
                let request = event.text("request");
                found.push(format!("{request} was denied by {:?}", event.text("by")));
            }
            kind if void.contains(launch) => {
                found.push(format!(
                    "{kind} of {launch}, which was started before the reboot"
                ));
            }
            _ => {}
        }
    }
    found
}
