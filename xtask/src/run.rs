//! Runs other programs and propagates their failures. Used by all commands.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// The interval between two reads of a screen or of a team's state.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// A failed program or check. `code` becomes the exit code of this program.
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

pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let package = std::env::var_os("CARGO_MANIFEST_DIR");
        let root = root_of(package.as_deref(), env!("CARGO_MANIFEST_DIR"));
        root.expect("the package is in the repository")
    });
    &ROOT
}

/// The repository that contains this package. Prefers the path at run time: cargo does not build this program again
/// when the repository is moved.
fn root_of(at_run_time: Option<&OsStr>, compiled: &str) -> Option<PathBuf> {
    let package = at_run_time.map_or(Path::new(compiled), Path::new);
    let mut directories = package.ancestors();
    let root = directories.find(|directory| directory.join("Cargo.lock").is_file());
    root.map(Path::to_owned)
}

/// A cargo command in the repository, with the cargo that runs this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    // `cargo run` sets variables such as `CARGO_PKG_NAME` to the values of this package. Remove them: the build script
    // of ring reruns when one of these variables changes, so `cargo build` after `cargo xtask`, or the reverse, would
    // compile ring and all crates that use it again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new(root().join("scripts").join(name));
    command.current_dir(root());
    command
}

/// Runs a command with inherited stdio. A failure is [`Failed`] with the command's exit code, or 1 after a signal.
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

/// Runs a command and returns its stdout; its stderr is inherited.
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
        .with_context(|| format!("{shown} wrote output that is not UTF-8"))
}

/// Whether the command succeeds; its output is discarded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Waits until the condition holds. Returns whether it held within the limit.
pub(crate) fn wait(limit: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    loop {
        if condition()? {
            return Ok(true);
        }
        if start.elapsed() > limit {
            return Ok(false);
        }
        sleep(INTERVAL);
    }
}

/// The directory of the binaries of the dev profile, which contains this executable too.
pub(crate) fn dev_binaries() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this executable")?;
    Ok(program
        .parent()
        .context("this executable has no parent directory")?
        .to_path_buf())
}

/// The directory of the binaries of this profile.
pub(crate) fn built(profile: &str) -> Result<PathBuf> {
    Ok(dev_binaries()?.with_file_name(profile))
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
    fn the_root_follows_a_moved_repository() {
        let moved = tempfile::tempdir().unwrap();
        let package = moved.path().join("xtask");
        std::fs::create_dir(&package).unwrap();
        std::fs::write(moved.path().join("Cargo.lock"), "").unwrap();
        let compiled = env!("CARGO_MANIFEST_DIR");
        let root = root_of(Some(package.as_os_str()), compiled);
        assert_eq!(root.as_deref(), Some(moved.path()));
        let here = root_of(None, compiled).unwrap();
        assert!(here.join("xtask/src/run.rs").is_file(), "{here:?}");
        assert_eq!(root_of(None, "/nonexistent/xtask"), None);
    }

    #[test]
    fn exit_codes_are_propagated() {
        let error = check(Command::new("sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(error.downcast_ref::<Failed>().expect("a `Failed`").code, 7);
        let error = output(Command::new("sh").args(["-c", "exit 9"])).unwrap_err();
        assert_eq!(error.downcast_ref::<Failed>().expect("a `Failed`").code, 9);
    }

    #[test]
    fn a_signal_counts_as_exit_code_1() {
        let error = check(Command::new("sh").args(["-c", "kill -TERM $$"])).unwrap_err();
        assert_eq!(error.downcast_ref::<Failed>().expect("a `Failed`").code, 1);
    }
}
