//! Checks processes: recovery time of the supervisor, reasons why launches end, memory and latency under load.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::history::{Evidence, Fault, FaultKind, Probe};

/// How soon a new supervisor serves after `kill -9`.
const RECOVERY_LIMIT: Duration = Duration::from_secs(2);

/// The maximum latency of a call while other clients do not read their answers, or flood the supervisor.
const LATENCY_LIMIT: Duration = Duration::from_secs(2);

/// Limit for a supervisor under the torture's load. A supervisor of the dev profile needs about a quarter of this
/// limit.
const MEMORY_LIMIT: u64 = 192 << 20;

const DESCRIPTOR_LIMIT: u64 = 700;

/// Several deaths of supervisors within this time are a series. In a series, workers pause longer before they start
/// another supervisor, so the limit of the recovery is larger.
const SERIES: Duration = Duration::from_secs(2);

/// How soon a new supervisor serves after the last kill of a series.
const SERIES_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn recovery(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for recovery in recoveries(evidence) {
        let Recovery { at, stalled, .. } = recovery;
        let limit = recovery.limit + stalled;
        let at = at.as_secs_f64();
        match recovery.took {
            Some(took) if took <= limit => {}
            Some(took) => found.push(format!(
                "after the kill at {at:.3} s the next answer took {took:?}; the limit is {limit:?}, including {stalled:?} in which the machine was busy"
            )),
            None => found.push(format!("after the kill at {at:.3} s no call was answered")),
        }
    }
    found
}

/// The time from the kill of a supervisor to the first answer of the next one.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    pub at: Duration,
    /// `None`: no supervisor answered again.
    pub took: Option<Duration>,
    pub limit: Duration,
    pub stalled: Duration,
}

/// The recovery after each kill of a supervisor. The nemesis waits for the answer before it injects the next fault.
pub fn recoveries(evidence: &Evidence) -> Vec<Recovery> {
    let kills = evidence.faults.iter().filter(|fault| {
        let kind = fault.kind;
        use FaultKind::{KillEverything, KillSupervisor, KillSupervisors};
        matches!(kind, KillSupervisor | KillSupervisors | KillEverything)
    });
    let recovery = |fault: &Fault| {
        let next =
            |probe: &&Probe| probe.ended > fault.ended && !fault.pids.contains(&probe.supervisor);
        let answers = evidence.probes.iter().filter(next);
        let answered = answers.map(|probe| probe.ended).min();
        let before = fault.began.saturating_sub(SERIES);
        let deaths = evidence.faults_in(FaultKind::ends_supervisor, before, fault.began);
        let is_series = fault.kind == FaultKind::KillSupervisors || deaths.count() > 1;
        Recovery {
            at: fault.began,
            took: answered.map(|answered| answered - fault.ended),
            limit: if is_series {
                SERIES_LIMIT
            } else {
                RECOVERY_LIMIT
            },
            stalled: evidence.stalled_in(fault.began, answered.unwrap_or(fault.ended)),
        }
    };
    kills.map(recovery).collect()
}

pub(super) fn launches(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let killed: BTreeSet<u64> = evidence
        .faults
        .iter()
        .flat_map(|fault| fault.pids.iter().copied().map(u64::from))
        .collect();
    let mut launches: BTreeMap<&str, (&str, Option<u64>)> = BTreeMap::new();
    let mut draining: BTreeSet<&str> = BTreeSet::new();
    let mut reasons: BTreeMap<&str, &str> = BTreeMap::new();
    for event in &evidence.journal {
        let (member, launch) = (event.text("member"), event.text("launch"));
        match event.kind.as_str() {
            "launch_started" => {
                if let Some((other, _)) = launches.insert(member, (launch, None)) {
                    found.push(format!("{member}: {launch} started beside {other}"));
                }
            }
            "launch_ready" => {
                let pid = event.data["process"]["pid"].as_u64();
                match launches.get_mut(member) {
                    Some((current, process)) if *current == launch => *process = pid,
                    other => {
                        found.push(format!("{member}: {launch} is ready, current is {other:?}"))
                    }
                }
            }
            "launch_draining" => drop(draining.insert(launch)),
            "launch_ending" => drop(reasons.insert(launch, event.text("reason"))),
            "launch_ended" => match launches.remove(member) {
                Some((current, process)) if current == launch => {
                    let cause = process.is_none_or(|pid| killed.contains(&pid));
                    if !cause && !draining.contains(launch) {
                        let reason = reasons.get(launch).copied().unwrap_or_default();
                        found.push(format!(
                            "{member}: {launch} of process {process:?} ended without a fault ({reason}), revision {}",
                            event.revision
                        ));
                    }
                }
                other => found.push(format!("{member}: {launch} ended, current is {other:?}")),
            },
            "booted" => launches.clear(),
            _ => {}
        }
    }
    found
}

pub(super) fn load(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    if evidence.memory > MEMORY_LIMIT {
        found.push(format!(
            "a supervisor took {} MiB of memory",
            evidence.memory >> 20
        ));
    }
    if evidence.descriptors > DESCRIPTOR_LIMIT {
        found.push(format!(
            "a supervisor had {} descriptors open",
            evidence.descriptors
        ));
    }
    for probe in &evidence.probes {
        let took = probe.ended - probe.began;
        let (began, ended) = (probe.began, probe.ended);
        let explained = evidence
            .faults_in(
                FaultKind::delays,
                began.saturating_sub(Duration::from_secs(2)),
                ended,
            )
            .count()
            > 0;
        if !explained && took > LATENCY_LIMIT + evidence.stalled_in(began, ended) {
            let near = evidence.faults.iter().filter(|fault| {
                fault.began <= ended && fault.ended + Duration::from_secs(3) >= began
            });
            let near: Vec<_> = near.map(|fault| (fault.kind, fault.began)).collect();
            found.push(format!(
                "a call at {:.3} s took {took:?}, near the faults {near:?}",
                began.as_secs_f64()
            ));
        }
    }
    found
}
