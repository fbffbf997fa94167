//! The report of a torture, as text.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Report;
use super::check::recoveries;
use super::history::{Call, FaultKind, Outcome};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let evidence = &self.evidence;
        let is_done = |outcome: &Outcome| matches!(outcome, Outcome::Done(_));
        let count = |is_it: fn(&Call) -> bool| {
            let of_it = evidence.operations.iter().filter(|it| is_it(&it.call));
            of_it.filter(|it| is_done(&it.outcome)).count()
        };
        let outcomes = |is_it: fn(&Outcome) -> bool| {
            let operations = evidence.operations.iter();
            operations.filter(|it| is_it(&it.outcome)).count()
        };
        writeln!(
            f,
            "operations    {} acknowledged, {} refused, {} unknown",
            outcomes(|it| matches!(it, Outcome::Done(_))),
            outcomes(|it| matches!(it, Outcome::Refused(_))),
            outcomes(|it| matches!(it, Outcome::Unknown)),
        )?;
        writeln!(
            f,
            "acknowledged  {} messages, {} tasks, {} claims, {} decisions",
            count(|call| matches!(call, Call::Send { .. })),
            count(|call| matches!(call, Call::AddTask { .. })),
            count(|call| matches!(call, Call::Claim { .. })),
            count(|call| matches!(call, Call::Allow { .. } | Call::Deny { .. })),
        )?;
        writeln!(
            f,
            "ran           {} tasks, {} commands that the user allowed",
            evidence.runs.len(),
            evidence.commands.len(),
        )?;
        writeln!(
            f,
            "events        {} stored, {} received by a subscriber",
            evidence.journal.len(),
            evidence.published.len(),
        )?;
        let mut faults: BTreeMap<FaultKind, usize> = BTreeMap::new();
        for fault in &evidence.faults {
            *faults.entry(fault.kind).or_default() += 1;
        }
        let faults: Vec<String> = faults
            .iter()
            .map(|(kind, n)| format!("{n} {kind:?}"))
            .collect();
        writeln!(f, "faults        {}", faults.join(", "))?;
        let recoveries = recoveries(evidence)
            .into_iter()
            .filter_map(|recovery| recovery.took);
        writeln!(f, "recovery      {}", quantiles(recoveries.collect()))?;
        let probes = evidence
            .probes
            .iter()
            .map(|probe| probe.ended - probe.began);
        writeln!(f, "probe         {}", quantiles(probes.collect()))?;
        writeln!(
            f,
            "supervisor    at most {} MiB, {} descriptors",
            evidence.memory >> 20,
            evidence.descriptors
        )?;
        let stalled: Duration = evidence.stalls.iter().map(|stall| stall.lasted).sum();
        writeln!(
            f,
            "machine       busy with other work for {:.1} s",
            stalled.as_secs_f64()
        )?;
        if let Some(kept) = &self.kept {
            writeln!(f, "kept          {}", kept.display())?;
            for fault in &evidence.faults {
                let (began, ended) = (fault.began.as_secs_f64(), fault.ended.as_secs_f64());
                writeln!(f, "  {began:8.3} to {ended:8.3} s  {:?}", fault.kind)?;
            }
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATED      {violation}")?;
            writeln!(
                f,
                "              guaranteed: {}",
                violation.guarantee.text()
            )?;
        }
        Ok(())
    }
}

fn quantiles(mut durations: Vec<Duration>) -> String {
    durations.sort();
    let at = |part: usize| durations.get(durations.len() * part / 100);
    match (at(50), at(99), durations.last()) {
        (Some(p50), Some(p99), Some(max)) => format!(
            "p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms of {}",
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
            max.as_secs_f64() * 1e3,
            durations.len()
        ),
        _ => "none".to_owned(),
    }
}
