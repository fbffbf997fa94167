//! Which places there are for members, and why the others are not: told by the supervisor's program, which would use
//! them, without a supervisor.

use std::io::Write;
use std::process::{Command, Stdio};

use agent_team_protocol::place::PlaceReport;
use agent_team_system::daemon;

use super::Check;
use crate::session::caller_terminal;
use crate::verb::supervisor;

/// One for each place, and one for what `--panes auto` comes to.
pub(super) fn checks() -> Vec<Check> {
    match ask() {
        Ok(reports) => reports.into_iter().map(check).collect(),
        Err(why) => vec![Check::bad("places", why)],
    }
}

fn check(report: PlaceReport) -> Check {
    let PlaceReport {
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

fn ask() -> Result<Vec<PlaceReport>, String> {
    let program = daemon::sibling_binary(supervisor::BINARY).map_err(|error| error.to_string())?;
    let failed =
        |error: &dyn std::fmt::Display| format!("{} cannot tell them: {error}", program.display());
    let mut asked = Command::new(&program)
        .arg("--places")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error))?;
    let terminal = serde_json::to_vec(&caller_terminal()).expect("it has string keys");
    if let Some(mut stdin) = asked.stdin.take() {
        // Whoever does not read it says what is wrong, or nothing that reads.
        let _not_read = stdin.write_all(&terminal);
    }
    let said = asked.wait_with_output().map_err(|error| failed(&error))?;
    serde_json::from_slice(&said.stdout).map_err(|error| failed(&error))
}
