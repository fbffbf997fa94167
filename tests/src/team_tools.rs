//! The client of the team's tools in fakes of agents.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Calls a tool of the team over MCP, and returns the text of the result. `server`: the command that the agent received
/// for the team's tools.
///
/// # Panics
/// When the server does not start or answer.
pub fn call(server: &[String], tool: &str, arguments: &Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments });
    let result = request(server, "tools/call", &params).expect("an answer");
    let text = result["content"][0]["text"].as_str();
    text.unwrap_or_default().to_owned()
}

/// Reads the list of the team's tools, as agents do when they start. `None`: the server has closed the connection.
///
/// # Panics
/// When the server does not start.
pub fn list(server: &[String]) -> Option<Value> {
    request(server, "tools/list", &json!({}))
}

fn request(server: &[String], method: &str, params: &Value) -> Option<Value> {
    let (program, args) = server.split_first().expect("a command");
    let mut server = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the MCP server starts");
    let mut stdin = server.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let mut send = |message: Value| writeln!(stdin, "{message}").ok();
    let mut answer = |id: u64| loop {
        let line = lines.next()?.ok()?;
        let message: Value = serde_json::from_str(&line).expect("JSON");
        if message["id"] == id {
            return Some(message["result"].clone());
        }
    };
    let mut exchange = || {
        send(
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": { "name": "fake", "version": "1.0.0" },
            } }),
        )?;
        answer(1)?;
        send(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        send(json!({ "jsonrpc": "2.0", "id": 2, "method": method, "params": params }))?;
        answer(2)
    };
    let result = exchange();
    drop(stdin);
    let _reaped = server.wait();
    result
}
