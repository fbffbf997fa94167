//! Tests of the torture: it reports each planted fault as a violation of the fault's guarantee, and passes without a
//! planted fault.

#![expect(clippy::print_stderr, reason = "a failed test prints the report")]

use std::time::Duration;

use agent_team_tests::torture::{self, Options, Plant, Report};

/// A seed whose first faults leave the team time to work.
const SEED: u64 = 20_261_122;

async fn torture(seconds: u64, plant: Option<Plant>) -> Report {
    let options = Options {
        faults: Duration::from_secs(seconds),
        // With a planted fault the team may never finish its work.
        calm: Duration::from_secs(if plant.is_some() { 3 } else { 60 }),
        seed: SEED,
        placement: "headless".to_owned(),
        plant,
    };
    let report = torture::run(options).await;
    eprintln!("{report}");
    report
}

async fn assert_found(plant: Plant) {
    let report = torture(10, Some(plant)).await;
    let (guarantee, evidence) = torture::broken_by(plant);
    let mut violations = report.violations.iter();
    let found = violations
        .any(|violation| violation.guarantee == guarantee && violation.evidence.contains(evidence));
    assert!(
        found,
        "{plant:?} was not found: {guarantee:?}, {evidence:?}"
    );
}

#[tokio::test]
async fn a_short_torture_violates_no_guarantee() {
    let report = torture(10, None).await;
    assert_eq!(report.violations, []);
    assert!(!report.evidence.faults.is_empty() && !report.evidence.operations.is_empty());
}

#[tokio::test]
async fn a_lost_message_is_found() {
    assert_found(Plant::LostMessage).await;
}

#[tokio::test]
async fn a_double_claim_is_found() {
    assert_found(Plant::DoubleClaim).await;
}

#[tokio::test]
async fn a_second_writer_is_found() {
    assert_found(Plant::SecondWriter).await;
}

#[tokio::test]
async fn an_unasked_run_is_found() {
    assert_found(Plant::UnaskedRun).await;
}

#[tokio::test]
async fn a_stale_owner_is_found() {
    assert_found(Plant::StaleOwner).await;
}
