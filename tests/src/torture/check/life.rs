//! Processes: how soon a supervisor is back, why launches end, what load costs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::history::{Evidence, FaultKind, Probe};

/// How soon a new supervisor serves after `kill -9`.
const RECOVERY_LIMIT: Duration = Duration::from_secs(2);

/// How long a call takes at most beside slow readers and floods.
const LATENCY_LIMIT: Duration = Duration::from_secs(2);

/// Bounds of a supervisor under the torture's load. The dev profile's binaries need about a quarter of it.
const MEMORY_LIMIT: u64 = 192 << 20;

const DESCRIPTOR_LIMIT: u64 = 700;

/// Faults that delay a supervisor or its successor beside a kill of its own.
const DELAYS: [FaultKind; 9] = [
    FaultKind::KillSupervisor,
    FaultKind::KillWorker,
    FaultKind::KillEverything,
    FaultKind::StopSupervisor,
    FaultKind::StopWorker,
    FaultKind::RestartSupervisor,
    FaultKind::RemoveSocket,
    FaultKind::FullDisk,
    FaultKind::FailedSync,
];

/// Faults that end a supervisor.
const DEATHS: [FaultKind; 4] = [
    FaultKind::KillSupervisor,
    FaultKind::KillEverything,
    FaultKind::RestartSupervisor,
    FaultKind::FailedSync,
];

pub(super) fn recovery(evidence: &Evidence) -> Vec<String> {
    recoveries(evidence)
        .into_iter()
        .filter(|recovery| recovery.took > RECOVERY_LIMIT + recovery.stalled)
        .map(|Recovery { pid, at, took, stalled }| {
            format!(
                "after the kill of {pid} at {:.3} s it took {took:?} (the machine was busy for {stalled:?} of it)",
                at.as_secs_f64()
            )
        })
        .collect()
}

/// How long it took from the kill of a supervisor to the first answer of the next one.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    pub pid: u32,
    pub at: Duration,
    pub took: Duration,
    pub stalled: Duration,
}

/// The recoveries that no other fault delayed.
pub fn recoveries(evidence: &Evidence) -> Vec<Recovery> {
    let mut recoveries = Vec::new();
    for fault in &evidence.faults {
        let &[pid] = &fault.pids[..] else { continue };
        if fault.kind != FaultKind::KillSupervisor {
            continue;
        }
        let next = |probe: &&Probe| probe.ended > fault.ended && probe.supervisor != pid;
        let Some(probe) = evidence
            .probes
            .iter()
            .filter(next)
            .min_by_key(|probe| probe.ended)
        else {
            continue;
        };
        // The backoff after a supervisor that died at its start lasts longer than that kill.
        let before = fault.began.saturating_sub(Duration::from_secs(2));
        if evidence
            .faults_in(&DELAYS, fault.began, probe.ended)
            .count()
            > 1
            || evidence.faults_in(&DEATHS, before, probe.ended).count() > 1
        {
            continue;
        }
        recoveries.push(Recovery {
            pid,
            at: fault.began,
            took: probe.ended - fault.ended,
            stalled: evidence.stalled_in(fault.began, probe.ended),
        });
    }
    recoveries
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
            "launch_ended" => match launches.remove(member) {
                Some((current, process)) if current == launch => {
                    let cause = process.is_none_or(|pid| killed.contains(&pid));
                    if !cause && !draining.contains(launch) {
                        found.push(format!(
                            "{member}: {launch} of process {process:?} ended without a fault"
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
            .faults_in(&DELAYS, began.saturating_sub(Duration::from_secs(2)), ended)
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
