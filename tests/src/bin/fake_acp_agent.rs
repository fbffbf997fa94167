//! A fake of another vendor's agent: it speaks the Agent Client Protocol, version 1, on stdin and stdout, as real agents
//! were recorded, and has no model. What it does depends on words in the prompt:
//!
//! - `own the task`: asks for permission to run `echo made > made.txt`, runs it if allowed, and calls `complete_task`
//! - `overload`: refuses the prompt, unless it contains `ping`
//! - `ping`: answers `pong`, with its mode and the socket of the team's tools
//! - `slow`: waits for a message during the turn, and repeats it
//! - `deaf`: waits for ever, and ignores `session/cancel`
//! - `fragile`: waits for `session/cancel`, and answers the prompt with an error, unless it
//!   contains `ping`
//! - `wander`: changes its mode, and waits until the client sets it again
//! - `escape`: like `wander`, but refuses to change the mode again
//! - `forget`: ends its turn without a call
//! - `crash`: exits with 3
//!
//! It asks about each call of a team tool, as Claude does, unless the client allows these tools when it opens the session.
//!
//! The sessions that it knows are files in the directory `FAKE_ACP_SESSIONS`. With `FAKE_ACP_LOGIN`, it requires a
//! login; with `FAKE_ACP_SILENT`, it opens no session.

use std::io::{BufRead, BufReader, Lines, StdinLock, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

struct Agent {
    lines: Lines<StdinLock<'static>>,
    session: String,
    team: Vec<String>,
    /// The client allows the calls of the team's tools.
    has_team_rule: bool,
    mode: String,
    requests: u64,
}

fn main() {
    let mut agent = Agent {
        lines: std::io::stdin().lock().lines(),
        session: String::new(),
        team: Vec::new(),
        has_team_rule: false,
        mode: "auto".to_owned(),
        requests: 0,
    };
    while let Some(message) = agent.next() {
        agent.handle(&message);
    }
}

fn sessions() -> PathBuf {
    std::env::var_os("FAKE_ACP_SESSIONS").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

impl Agent {
    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.ok()?;
        serde_json::from_str(&line).ok()
    }

    fn send(&self, mut message: Value) {
        message["jsonrpc"] = json!("2.0");
        writeln!(std::io::stdout(), "{message}").expect("the client reads");
    }

    fn answer(&self, request: &Value, result: Value) {
        self.send(json!({ "id": request["id"], "result": result }));
    }

    fn update(&self, update: Value) {
        let params = json!({ "sessionId": self.session, "update": update });
        self.send(json!({ "method": "session/update", "params": params }));
    }

    fn say(&self, text: &str) {
        let content = json!({ "type": "text", "text": text });
        self.update(json!({ "sessionUpdate": "agent_message_chunk", "content": content }));
    }

    fn open(&mut self, request: &Value) -> Value {
        let server = &request["params"]["mcpServers"][0];
        let args = server["args"].as_array().into_iter().flatten();
        self.team = std::iter::once(&server["command"])
            .chain(args)
            .map(|word| word.as_str().expect("a word").to_owned())
            .collect();
        let rules = &request["params"]["_meta"]["claudeCode"]["options"]["allowedTools"];
        let mut rules = rules.as_array().into_iter().flatten();
        self.has_team_rule = rules.any(|rule| rule == "mcp__team");
        json!({ "currentModeId": "auto", "availableModes": [
            { "id": "auto", "name": "Auto" }, { "id": "default", "name": "Ask" },
        ] })
    }

    fn handle(&mut self, request: &Value) {
        let params = &request["params"];
        match request["method"].as_str().unwrap_or_default() {
            "initialize" => self.answer(
                request,
                json!({
                    "protocolVersion": 1,
                    "agentInfo": { "name": "fake", "version": "1.0.0" },
                    "authMethods": [{ "id": "login", "name": "Log in with the fake" }],
                    "agentCapabilities": {
                        "sessionCapabilities": { "resume": {} },
                        "_meta": { "steering": { "supported": true } },
                    },
                }),
            ),
            "session/new" if std::env::var_os("FAKE_ACP_SILENT").is_some() => {}
            "session/new" if std::env::var_os("FAKE_ACP_LOGIN").is_some() => {
                let error = json!({ "code": -32000, "message": "Authentication required" });
                self.send(json!({ "id": request["id"], "error": error }));
            }
            "session/new" => {
                self.session = format!("s-{}", std::process::id());
                std::fs::write(sessions().join(&self.session), "").expect("a session");
                let modes = self.open(request);
                let result = json!({ "sessionId": self.session, "modes": modes });
                self.answer(request, result);
            }
            "session/resume" => {
                self.session = params["sessionId"].as_str().expect("an id").to_owned();
                assert!(sessions().join(&self.session).exists());
                let modes = self.open(request);
                self.answer(request, json!({ "modes": modes }));
            }
            "session/set_mode" => {
                self.mode = params["modeId"].as_str().expect("a mode").to_owned();
                self.answer(request, json!({}));
            }
            "session/prompt" => {
                let text = params["prompt"][0]["text"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if text.contains("overload") && !text.contains("ping") {
                    let error = json!({ "code": -32603, "message": "the fake is overloaded" });
                    self.send(json!({ "id": request["id"], "error": error }));
                } else if text.contains("fragile") && !text.contains("ping") {
                    self.say("I wait.\n");
                    self.until("session/cancel");
                    let error = json!({ "code": -32603, "message": "the fake was cancelled" });
                    self.send(json!({ "id": request["id"], "error": error }));
                } else {
                    let stop = self.turn(&text);
                    self.answer(request, json!({ "stopReason": stop }));
                }
            }
            _ => {}
        }
    }

    /// The next message with this method. Ignores others.
    fn until(&mut self, method: &str) -> Value {
        loop {
            let message = self.next().expect("the client is connected");
            if message["method"] == method {
                return message;
            }
        }
    }

    fn turn(&mut self, prompt: &str) -> &'static str {
        let has = |word: &str| prompt.contains(word);
        if has("crash") {
            self.say("I crash.");
            writeln!(std::io::stderr(), "the fake crashes").expect("the client reads");
            std::process::exit(3);
        } else if has("slow") {
            self.say("I wait.");
            while let Some(message) = self.next() {
                match message["method"].as_str().unwrap_or_default() {
                    "_session/steering" => {
                        self.answer(&message, json!({ "outcome": "injected" }));
                        let text = message["params"]["prompt"][0]["text"].as_str();
                        self.say(&format!("During the turn: {}", text.unwrap_or_default()));
                        return "end_turn";
                    }
                    "session/cancel" => return "cancelled",
                    _ => {}
                }
            }
        } else if has("deaf") {
            self.say("I do not listen.\n");
            while self.next().is_some() {}
        } else if has("wander") || has("escape") {
            self.mode = "auto".to_owned();
            self.update(json!({ "sessionUpdate": "current_mode_update", "currentModeId": "auto" }));
            let request = self.until("session/set_mode");
            if has("escape") {
                let error = json!({ "code": -32603, "message": "the fake stays" });
                self.send(json!({ "id": request["id"], "error": error }));
            } else {
                self.handle(&request);
                self.say(&format!("back in mode {}", self.mode));
            }
        } else if has("ping") {
            self.say(&format!("pong in mode {}", self.mode));
            self.say(&format!(
                ", tools at {} ",
                self.team.last().expect("a socket")
            ));
        } else if has("forget") || has("You still own") {
            self.say("I forget the rest.");
        } else if let Some((_, rest)) = prompt.split_once("own the task ") {
            let task = rest.split(':').next().unwrap_or_default().to_owned();
            self.work(&task);
        }
        "end_turn"
    }

    fn work(&mut self, task: &str) {
        let command = "echo made > made.txt";
        let call = json!({
            "toolCallId": "call-1", "title": command, "kind": "execute", "status": "pending",
            "rawInput": { "command": command },
        });
        let mut update = call.clone();
        update["sessionUpdate"] = json!("tool_call");
        self.update(update);
        let status = match self.may_call(&call) {
            true => {
                let ended = Command::new("/bin/sh").args(["-c", command]).status();
                assert!(ended.is_ok_and(|status| status.success()));
                "completed"
            }
            false => "failed",
        };
        self.update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "call-1", "status": status }));
        let (tool, field) = match status {
            "completed" => ("complete_task", "result"),
            _ => ("fail_task", "reason"),
        };
        let title = format!("mcp__team__{tool}");
        let call = json!({ "toolCallId": "call-2", "title": title, "kind": "other" });
        if !self.has_team_rule && !self.may_call(&call) {
            return;
        }
        let result = self.team_tool(tool, json!({ "task": task, field: "the fake is done" }));
        self.say(&format!("{tool}: {result}"));
    }

    /// Asks for the permission of a call.
    fn may_call(&mut self, call: &Value) -> bool {
        self.requests += 1;
        let id = self.requests;
        let options = json!([
            { "optionId": "yes-and-never-ask", "kind": "allow_always", "name": "Always" },
            { "optionId": "yes", "kind": "allow_once", "name": "Yes" },
            { "optionId": "no", "kind": "reject_once", "name": "No" },
        ]);
        let params = json!({ "sessionId": self.session, "toolCall": call, "options": options });
        self.send(json!({ "id": id, "method": "session/request_permission", "params": params }));
        while let Some(message) = self.next() {
            if message["id"] == id && message["method"].is_null() {
                return message["result"]["outcome"]["optionId"] == "yes";
            }
        }
        false
    }

    /// Calls a tool of the team, over MCP.
    fn team_tool(&self, tool: &str, arguments: Value) -> String {
        let (program, args) = self.team.split_first().expect("a command");
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
        let text = answer(2)["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        drop(stdin);
        let _reaped = server.wait();
        text
    }
}
