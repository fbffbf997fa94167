//! A fake of another vendor's agent. The fake speaks the Agent Client Protocol, version 1, on stdin and stdout, as in
//! recordings of real agents, and has no model. Words in the prompt select its behaviour:
//!
//! - `own the task`: asks for permission to run `echo made > made.txt`, runs it if allowed, and calls `complete_task`
//! - `overload`: refuses the prompt, unless the prompt contains `ping`
//! - `ping`: answers `pong`, with its mode and the socket of the team's tools
//! - `slow`: waits for a message during the turn, and repeats it
//! - `deaf`: waits forever, and ignores `session/cancel`
//! - `fragile`: waits for `session/cancel`, and answers the prompt with an error, unless the prompt contains `ping`
//! - `wander`: changes its mode, and waits until the client sets it again
//! - `escape`: like `wander`, but refuses to change the mode again
//! - `forget`: ends its turn without a call
//! - `crash`: exits with 3
//! - `fake:finish`: ends the goal of the team that it leads
//! - `fake:spend`: reports tokens, and a cost of 0.25 dollars more
//! - `fake:burn`: reports a higher cost again and again, until `session/cancel`
//! - `fake:flood`: sends updates without end, and reads nothing
//! - `fake:fork`: leaves a process behind, and exits
//! - `fake:huge`: asks for a call with an input of 1 MiB
//! - `fake:withdraw`: asks for a call, and withdraws the question after a message during the turn
//! - `fake:expired`: refuses the prompt, because its key has expired
//! - `fake:keys`: answers with the names of its variables for keys
//!
//! The fake asks about each call of a team tool, as Claude does, unless the client allows these tools when it opens the
//! session.
//!
//! The sessions of the fake are files in the directory `FAKE_ACP_SESSIONS`. With `FAKE_ACP_LOGIN`, or if its file name
//! is `kimi`, the fake requires a login; with `FAKE_ACP_SILENT`, it opens no session; with `FAKE_ACP_MUTE`, it answers
//! no request; with `FAKE_ACP_VERSION`, it speaks this version of the protocol; with `FAKE_ACP_OWN_VERSION`, it
//! reports this version of itself. The fake writes each answer to a question into the file `answers` in that directory.

use std::io::{BufRead, Lines, StdinLock, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use agent_team_protocol::external::EXTERNAL;
use agent_team_tests::team_tools;
use serde_json::{Value, json};

struct Agent {
    lines: Lines<StdinLock<'static>>,
    session: String,
    team: Vec<String>,
    /// The client allows the calls of the team's tools.
    has_team_rule: bool,
    mode: String,
    requests: u64,
    /// The cost of the session, in dollars.
    cost: f64,
}

fn main() {
    let mut agent = Agent {
        lines: std::io::stdin().lock().lines(),
        session: String::new(),
        team: Vec::new(),
        has_team_rule: false,
        mode: "auto".to_owned(),
        requests: 0,
        cost: 0.0,
    };
    while let Some(message) = agent.next() {
        agent.handle(&message);
    }
}

fn sessions() -> PathBuf {
    std::env::var_os("FAKE_ACP_SESSIONS").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// The tested version of the agent in whose place the fake runs.
fn own_version() -> String {
    let program = std::env::args().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let mut known = EXTERNAL.iter();
    let tested = known.find_map(|known| known.tested.filter(|_| known.command[0] == name));
    std::env::var("FAKE_ACP_OWN_VERSION").unwrap_or_else(|_| tested.unwrap_or("1.0.0").to_owned())
}

/// The version of the protocol.
fn version() -> u64 {
    let version = std::env::var("FAKE_ACP_VERSION").ok();
    version.map_or(1, |version| version.parse().expect("a number"))
}

fn needs_login() -> bool {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    std::env::var_os("FAKE_ACP_LOGIN").is_some() || program.ends_with("/kimi")
}

impl Agent {
    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.ok()?;
        let message: Value = serde_json::from_str(&line).ok()?;
        if message["method"].is_null() {
            let mut answers = std::fs::OpenOptions::new();
            let answers = answers.create(true).append(true);
            let file = answers.open(sessions().join("answers"));
            writeln!(file.expect("a file"), "{line}").expect("the file can be written");
        }
        Some(message)
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

    fn send_text(&self, text: &str) {
        let content = json!({ "type": "text", "text": text });
        self.update(json!({ "sessionUpdate": "agent_message_chunk", "content": content }));
    }

    fn open(&mut self, request: &Value) -> Value {
        let server = &request["params"]["mcpServers"][0];
        let args = server["args"].as_array().into_iter().flatten();
        let words = std::iter::once(&server["command"]).chain(args);
        let words = words.filter_map(|word| word.as_str());
        self.team = words.map(str::to_owned).collect();
        let rules = &request["params"]["_meta"]["claudeCode"]["options"]["allowedTools"];
        let mut rules = rules.as_array().into_iter().flatten();
        self.has_team_rule = rules.any(|rule| rule == "mcp__team");
        json!({ "currentModeId": "auto", "availableModes": [
            { "id": "auto", "name": "Auto" }, { "id": "default", "name": "Ask" },
        ] })
    }

    fn handle(&mut self, request: &Value) {
        let params = &request["params"];
        if std::env::var_os("FAKE_ACP_MUTE").is_some() {
            return;
        }
        match request["method"].as_str().unwrap_or_default() {
            "initialize" => self.answer(
                request,
                json!({
                    "protocolVersion": version(),
                    "agentInfo": { "name": "fake", "version": own_version() },
                    "authMethods": [{ "id": "login", "name": "Log in with the fake" }],
                    "agentCapabilities": {
                        "sessionCapabilities": { "resume": {} },
                        "_meta": { "steering": { "supported": true } },
                    },
                }),
            ),
            "session/new" if std::env::var_os("FAKE_ACP_SILENT").is_some() => {}
            "session/new" if needs_login() => {
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
                } else if text.contains("fake:expired") && !text.contains("ping") {
                    let text = "401: the key \u{1b}[31mhas expired";
                    let error = json!({ "code": -32603, "message": text });
                    self.send(json!({ "id": request["id"], "error": error }));
                } else if text.contains("fragile") && !text.contains("ping") {
                    self.send_text("I wait.\n");
                    self.until("session/cancel");
                    let error = json!({ "code": -32603, "message": "the fake was cancelled" });
                    self.send(json!({ "id": request["id"], "error": error }));
                } else {
                    let stop = self.turn(&text);
                    let mut result = json!({ "stopReason": stop });
                    if text.contains("fake:spend") {
                        result["usage"] = json!({ "inputTokens": 1000, "outputTokens": 200,
                            "cachedReadTokens": 3000, "totalTokens": 4200 });
                    }
                    self.answer(request, result);
                }
            }
            _ => {}
        }
    }

    /// The next message with this method. Ignores other messages.
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
            self.send_text("I crash.");
            writeln!(std::io::stderr(), "the fake crashes").expect("the client reads");
            std::process::exit(3);
        } else if has("slow") {
            self.send_text("I wait.");
            while let Some(message) = self.next() {
                match message["method"].as_str().unwrap_or_default() {
                    "_session/steering" => {
                        self.answer(&message, json!({ "outcome": "injected" }));
                        let text = message["params"]["prompt"][0]["text"].as_str();
                        self.send_text(&format!("During the turn: {}", text.unwrap_or_default()));
                        return "end_turn";
                    }
                    "session/cancel" => return "cancelled",
                    _ => {}
                }
            }
        } else if has("deaf") {
            self.send_text("I do not listen.\n");
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
                self.send_text(&format!("back in mode {}", self.mode));
            }
        } else if has("ping") {
            self.send_text(&format!("pong in mode {}", self.mode));
            self.send_text(&format!(
                ", tools at {} ",
                self.team.last().expect("a socket")
            ));
        } else if has("fake:finish") {
            let result = team_tools::call(
                &self.team,
                "finish",
                &json!({ "answer": "the fake is done" }),
            );
            self.send_text(&format!("finish: {result}"));
        } else if has("fake:spend") {
            self.costs_more();
            self.send_text("I have spent it.");
        } else if has("fake:burn") {
            self.send_text("I burn.\n");
            for _ in 0..8 {
                self.costs_more();
            }
            self.until("session/cancel");
            return "cancelled";
        } else if has("fake:flood") {
            loop {
                self.send_text(&format!("{}\n", "flood ".repeat(20)));
            }
        } else if has("fake:fork") {
            let left = Command::new("sleep")
                .arg("600")
                .stdin(Stdio::null())
                .spawn();
            self.send_text(&format!(
                "I leave {}.\n",
                left.expect("the process starts").id()
            ));
            std::process::exit(0);
        } else if has("fake:huge") {
            let command = format!("echo made > made.txt #{}", "x".repeat(1 << 20));
            let call = json!({
                "toolCallId": "call-1", "title": "huge", "kind": "execute", "status": "pending",
                "rawInput": { "command": command },
            });
            let may_call = self.may_call(&call);
            self.send_text(&format!("huge: {may_call}\n"));
        } else if has("fake:withdraw") {
            self.withdraw();
        } else if has("fake:keys") {
            let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            let mut names: Vec<_> = names
                .filter(|name| name.ends_with("_KEY") || name.ends_with("_TOKEN"))
                .collect();
            names.sort();
            self.send_text(&format!("my keys: {}.\n", names.join(" ")));
        } else if has("forget") || has("You still own") {
            self.send_text("I forget the rest.");
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
        let result = team_tools::call(
            &self.team,
            tool,
            &json!({ "task": task, field: "the fake is done" }),
        );
        self.send_text(&format!("{tool}: {result}"));
    }

    /// Reports a higher cost of the session.
    fn costs_more(&mut self) {
        self.cost += 0.25;
        self.update(json!({
            "sessionUpdate": "usage_update", "used": 5000, "size": 10_000,
            "cost": { "amount": self.cost, "currency": "USD" },
        }));
    }

    /// Asks for a call, withdraws the question after a message, and never runs it.
    fn withdraw(&mut self) {
        let command = "echo made > made.txt";
        let call = json!({
            "toolCallId": "call-1", "title": command, "kind": "execute", "status": "pending",
            "rawInput": { "command": command },
        });
        let id = self.ask(&call);
        let message = self.until("_session/steering");
        self.answer(&message, json!({ "outcome": "injected" }));
        self.send(json!({ "method": "$/cancel_request", "params": { "requestId": id } }));
        self.send_text("I have withdrawn it.\n");
        self.until("session/cancel");
    }

    /// Asks for permission to make a call. Returns the id of the request.
    fn ask(&mut self, call: &Value) -> u64 {
        self.requests += 1;
        let id = self.requests;
        let options = json!([
            { "optionId": "yes-and-never-ask", "kind": "allow_always", "name": "Always" },
            { "optionId": "yes", "kind": "allow_once", "name": "Yes" },
            { "optionId": "no", "kind": "reject_once", "name": "No" },
        ]);
        let params = json!({ "sessionId": self.session, "toolCall": call, "options": options });
        self.send(json!({ "id": id, "method": "session/request_permission", "params": params }));
        id
    }

    /// Asks for permission to make a call, and waits for the answer.
    fn may_call(&mut self, call: &Value) -> bool {
        let id = self.ask(call);
        while let Some(message) = self.next() {
            if message["id"] == id && message["method"].is_null() {
                return message["result"]["outcome"]["optionId"] == "yes";
            }
        }
        false
    }
}
