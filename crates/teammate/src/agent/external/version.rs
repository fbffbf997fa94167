//! The version of an external agent's program: `PROGRAM --version`. Called by side channels, which depend on details of the
//! program that its vendor does not document.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use agent_team_tools::program::Program;
use tokio::io::AsyncReadExt;

/// The time limit of the answer.
const LIMIT: Duration = Duration::from_secs(20);

/// The largest answer, in bytes.
const ANSWER_MAX: u64 = 4 << 10;

/// The first word of the answer that begins with a digit, such as `2.1.331`. `cwd`: the directory in which the program
/// is started afterwards. Version managers such as mise choose the version by the directory, so another directory would
/// give another answer. The project can change the behaviour of a program there, for example with its `.npmrc`. It can
/// then also change the later start, for which the user has trusted the project.
pub(super) async fn version_of(
    program: PathBuf,
    env: Vec<(OsString, OsString)>,
    cwd: PathBuf,
) -> Option<String> {
    let args = vec!["--version".into()];
    // Dropping `_running` terminates the program.
    let (_running, _stdin, output) = Program::start_with_stdio(program, args, env, cwd).ok()?;
    let mut answer = Vec::new();
    let read = output.take(ANSWER_MAX);
    let mut read = std::pin::pin!(read);
    let read = read.read_to_end(&mut answer);
    tokio::time::timeout(LIMIT, read).await.ok()?.ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let mut words = answer.split_whitespace();
    let version = words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    version.map(str::to_owned)
}

/// A warning about a version that was not tested. `tested`: the first and the last tested version.
pub(super) fn warning(version: Option<&str>, tested: [&str; 2]) -> Option<String> {
    let [first, last] = tested;
    let range = numbers(first)..=numbers(last);
    let version = match version {
        Some(version) if range.contains(&numbers(version)) => return None,
        Some(version) => format!("version {version}"),
        None => "a version that it does not report".to_owned(),
    };
    let tested = match first == last {
        true => first.to_owned(),
        false => format!("{first} to {last}"),
    };
    Some(format!(
        "warning: {version} is not tested; agent-team was tested with {tested}"
    ))
}

/// Checks the version of a program whose older versions cannot be used. Returns a warning about a version that was not
/// tested. `other`: the engine to use instead.
///
/// # Errors
/// If the version is older than the tested versions.
pub(super) fn check(
    version: Option<&str>,
    tested: [&str; 2],
    other: &str,
) -> std::io::Result<Option<String>> {
    let [first, _] = tested;
    let old = version.filter(|version| numbers(version) < numbers(first));
    match old {
        Some(version) => Err(std::io::Error::other(format!(
            "version {version} is too old: agent-team was tested with {first}; update it, or {other}"
        ))),
        None => Ok(warning(version, tested)),
    }
}

/// The numbers of a version, for comparisons.
fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split('.').map_while(|part| part.parse().ok());
    parts.collect()
}
