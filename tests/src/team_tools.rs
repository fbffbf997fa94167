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
    let (program, args) = server.split_first().expect("a command");
    let mut server = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the MCP server starts");
    let mut stdin = server.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let mut send = |message: Value| writeln!(stdin, "{message}").expect("the server reads");
    let mut answer = |id: u64| loop {
        let line = lines.next().expect("an answer").expect("a line");
        let message: Value = serde_json::from_str(&line).expect("JSON");
        if message["id"] == id {
            return message;
        }
    };
    send(
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "fake", "version": "1.0.0" },
        } }),
    );
    answer(1);
    send(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    send(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments } }));
    let result = answer(2);
    let text = result["result"]["content"][0]["text"].as_str();
    drop(stdin);
    let _reaped = server.wait();
    text.unwrap_or_default().to_owned()
}
