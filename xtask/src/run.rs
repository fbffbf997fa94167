//! Starting another program and passing its failure on. Every command uses it; it knows none of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// A program or a check that said no. `code` becomes our own exit code.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) what: String,
    pub(crate) code: u8,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failed {}

/// The repository's top directory.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask/ lies in the repository")
}

/// A cargo command in the repository; the same cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// A script of ours.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new(root().join("scripts").join(name));
    command.current_dir(root());
    command
}

/// Runs to the end with our own terminal. A non-zero end is [`Failed`] with that code; a signal counts as 1.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start {shown}"))?;
    if status.success() {
        return Ok(());
    }
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Err(Failed {
        what: format!("{shown}: {status}"),
        code,
    }
    .into())
}

/// Runs to the end and gives what it wrote to stdout; its stderr is ours.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        let code = output
            .status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1);
        return Err(Failed {
            what: format!("{shown}: {}", output.status),
            code,
        }
        .into());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{shown} wrote something that is not text"))
}

/// Whether this can be started and ends well; nothing of it is shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Where cargo puts the binaries of the dev profile: beside ours.
pub(crate) fn dev_binaries() -> Result<PathBuf> {
    let ours = std::env::current_exe().context("cannot find our own executable")?;
    Ok(ours
        .parent()
        .context("our executable has no directory")?
        .to_path_buf())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_own_code_is_passed_on() {
        let error = check(Command::new("sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(error.downcast_ref::<Failed>().expect("a refusal").code, 7);
        let error = output(Command::new("sh").args(["-c", "exit 9"])).unwrap_err();
        assert_eq!(error.downcast_ref::<Failed>().expect("a refusal").code, 9);
    }

    #[test]
    fn a_program_ended_by_a_signal_has_failed() {
        let error = check(Command::new("sh").args(["-c", "kill -TERM $$"])).unwrap_err();
        assert_eq!(error.downcast_ref::<Failed>().expect("a refusal").code, 1);
    }
}
