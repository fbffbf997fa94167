//! Runs the program of native workers for an answer about models or about agents of other vendors: only that program
//! knows providers, keys and prices. The program prints no key. Called by `models` and by [`super::doctor`].

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use agent_team_protocol::engine::Engine;
use agent_team_system::sibling_binary::sibling_binary;
use serde::de::DeserializeOwned;

/// Runs the program with this argument and input, and returns the document that it prints. `env` overrides the
/// inherited environment. The error is a text for the user.
pub(super) fn ask<T: DeserializeOwned>(
    argument: &str,
    input: &[u8],
    env: &BTreeMap<String, String>,
) -> Result<T, String> {
    let worker = Engine::Native.worker();
    let path = sibling_binary(worker).map_err(|error| error.to_string())?;
    let cannot = |error: std::io::Error| format!("cannot run {worker}: {error}");
    let mut child = Command::new(path)
        .arg(argument)
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    // The program reads all of its input before it prints.
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input).map_err(cannot)?;
    drop(stdin);
    let output = child.wait_with_output().map_err(cannot)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let text = text.trim();
        let text = text.strip_prefix(&format!("{worker}: ")).unwrap_or(text);
        return Err(text.to_owned());
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cannot read the output of {worker}: {error}"))
}
