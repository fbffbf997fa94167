//! Tests of the simulation: the same seed gives the same journal, a simulation without a planted fault violates no
//! guarantee, and each planted fault is found.

use std::process::Command;

/// Runs a simulation; returns whether it found a violation, and its output.
fn simulate(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_agent-team-simulation"))
        .args(arguments)
        .output()
        .expect("the simulation runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{errors}\n{text}");
    (!output.status.success(), text)
}

/// The line of the first round.
fn round(seed: &str) -> String {
    let (_, text) = simulate(&["--steps", "1", "--seconds", "12", "--seed", seed]);
    let line = text.lines().find(|line| line.starts_with("round"));
    line.unwrap_or_else(|| panic!("no round: {text}"))
        .to_owned()
}

#[test]
fn the_same_seed_gives_the_same_journal() {
    let (one, again, other) = (round("7"), round("7"), round("8"));
    assert_eq!(one, again);
    let digest = |line: &str| line.rsplit(' ').next().map(str::to_owned);
    assert_ne!(digest(&one), digest(&other));
}

#[test]
fn a_short_simulation_violates_no_guarantee() {
    let (found, text) = simulate(&["--steps", "10000", "--seconds", "20", "--seed", "20261122"]);
    assert!(!found, "{text}");
    for fault in ["KillSupervisor", "KillWorker", "CutConnections"] {
        assert!(text.contains(fault), "no {fault}: {text}");
    }
}

/// Asserts that a simulation with this planted fault reports this guarantee as violated, with this evidence.
fn assert_found(plant: &str, guarantee: &str, evidence: &str) {
    let (found, text) = simulate(&[
        "--steps",
        "40000",
        "--seconds",
        "12",
        "--seed",
        "1",
        "--plant",
        plant,
    ]);
    assert!(found, "{plant} was not found: {text}");
    let violated = format!("VIOLATED      {guarantee}: ");
    let has_evidence = |line: &str| line.starts_with(&violated) && line.contains(evidence);
    assert!(text.lines().any(has_evidence), "no evidence: {text}");
    let again = format!("--plant {plant}");
    assert!(
        text.lines()
            .any(|line| line.contains("repeat with: ") && line.ends_with(&again))
    );
}

#[test]
fn a_lost_message_is_found() {
    assert_found("lost-message", "Delivery", "is stored as");
}

#[test]
fn a_double_claim_is_found() {
    assert_found("double-claim", "Claims", "at once");
}

#[test]
fn a_second_writer_is_found() {
    assert_found("second-writer", "OneWriter", "no disk fault was injected");
}

#[test]
fn an_unasked_run_is_found() {
    assert_found("unasked-run", "Requests", "ran and was never allowed");
}

#[test]
fn a_stale_owner_is_found() {
    assert_found("stale-owner", "Claims", "was changed by generation");
}
