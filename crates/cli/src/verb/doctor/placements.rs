//! Finds the usable placements for members, and the reasons why other placements are not usable. Runs the supervisor's
//! program with `--placements`, which probes the placements without starting a supervisor. Called by `doctor`.

use std::io::Write;
use std::process::{Command, Stdio};

use agent_team_protocol::placement::PlacementReport;
use agent_team_protocol::text::visible_line;
use agent_team_system::sibling_binary::sibling_binary;

use super::check::Check;
use crate::caller;
use crate::verb::supervisor;

/// One check for each placement, and one for the choice of `--panes auto`. If the supervisor's program gives no report,
/// a single failed check.
pub(super) fn checks() -> Vec<Check> {
    match probe() {
        Ok(reports) => reports.into_iter().map(check).collect(),
        Err(why) => vec![Check::bad("placements", why)],
    }
}

fn check(report: PlacementReport) -> Check {
    let PlacementReport {
        name,
        ok,
        detail,
        hint,
    } = report;
    Check {
        name: name.into(),
        ok,
        detail,
        hint,
    }
}

fn probe() -> Result<Vec<PlacementReport>, String> {
    let program = sibling_binary(supervisor::BINARY).map_err(|error| error.to_string())?;
    let failed = |error: &dyn std::fmt::Display| {
        format!(
            "cannot read the placements from {}: {error}",
            program.display()
        )
    };
    let mut child = Command::new(&program)
        .arg("--placements")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let terminal = serde_json::to_vec(&caller::terminal()).expect("a terminal has string keys");
    if let Some(mut stdin) = child.stdin.take() {
        // Ignore a failed write: a program that fails before it reads its stdin prints no report, so parsing its output
        // fails below.
        let _not_read = stdin.write_all(&terminal);
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.trim();
        let why = why.strip_prefix("error: ").unwrap_or(why);
        return Err(failed(&visible_line(why)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))
}
