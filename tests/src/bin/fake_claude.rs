//! A fake of Claude Code in its own terminal interface: it runs the hooks of `--settings` as in recordings of the real
//! program (2.1.331), shows dialogs on its terminal, and has no model. Words in the prompt select its behaviour:
//!
//! - `own the task`: a call that runs `echo made > made.txt`, then `complete_task` or `fail_task` with the outcome
//! - `try it`: the same call, without a task
//! - `ping`: answers `pong`, with its mode
//! - `slow`: waits for a message during the turn, and repeats it
//! - `endless`: waits for Esc
//! - `broken`: ends the turn with an error of the model
//! - `unreachable`: removes the socket of its hooks, then tries a call
//! - `crash`: exits with 3
//!
//! A line that is typed on its terminal is a prompt of the user; `/clear` begins a new session. In a dialog, `1` allows, and
//! `2` or Esc denies. The sessions are files in the directory `FAKE_CLAUDE_SESSIONS`. With `FAKE_CLAUDE_VERSION`, it
//! reports this version; with `FAKE_CLAUDE_EXIT`, it prints this text and exits.
#![expect(clippy::print_stdout, reason = "it draws on its terminal")]
#![expect(
    clippy::zombie_processes,
    reason = "the hook of an abandoned dialog ends with the program"
)]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};

use agent_team_tests::fake_hooks::{self, Ended};
use agent_team_tests::fake_terminal::{ESCAPE, read_keys, show};
use agent_team_tests::team_tools;
use serde_json::{Value, json};

enum Event {
    Key(u8),
    /// A hook that waits in the background has exited with 2.
    Mail(String),
    /// The hook of a dialog has printed this.
    Decision(String),
}

struct Fake {
    settings: Value,
    team: Vec<String>,
    mode: String,
    session: String,
    events: Receiver<Event>,
    sender: Sender<Event>,
    /// The hook of the dialog on the screen.
    dialog: Option<Child>,
    calls: u64,
}

/// How a turn ended.
enum End {
    Stop(String),
    Failure(String),
    /// No hook reports it.
    Interrupted,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of = |flag: &str| {
        let mut words = arguments.iter();
        words.find(|word| *word == flag)?;
        words.next().cloned()
    };
    if arguments.iter().any(|word| word == "--version") {
        let version = std::env::var("FAKE_CLAUDE_VERSION");
        println!("{} (Claude Code)", version.as_deref().unwrap_or("2.1.331"));
        return;
    }
    if let Ok(text) = std::env::var("FAKE_CLAUDE_EXIT") {
        println!("{text}");
        std::process::exit(1);
    }
    assert!(arguments.iter().any(|word| word == "--strict-mcp-config"));
    let rules = of("--append-system-prompt").expect("the rules");
    assert!(rules.contains("From agent-team:"), "{rules}");
    let nested = std::env::vars().find(|(name, _)| name.starts_with("CLAUDE"));
    assert!(nested.is_none(), "{nested:?}");
    let (sender, events) = channel();
    let keys = sender.clone();
    read_keys(move |key| keys.send(Event::Key(key)).is_ok());
    let json = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
    let server = json(of("--mcp-config").expect("servers"))["mcpServers"]["team"].take();
    let words = server["args"].as_array().into_iter().flatten();
    let words = std::iter::once(&server["command"]).chain(words);
    let earlier = of("--resume");
    let mut fake = Fake {
        settings: json(of("--settings").expect("settings")),
        team: words
            .map(|word| word.as_str().expect("a word").to_owned())
            .collect(),
        mode: of("--permission-mode").expect("a mode"),
        session: earlier
            .clone()
            .or_else(|| of("--session-id"))
            .expect("a session"),
        events,
        sender,
        dialog: None,
        calls: 0,
    };
    if earlier.is_some() && !fake.file().exists() {
        println!("No conversation found with session ID: {}", fake.session);
        std::process::exit(1);
    }
    show("Welcome to the fake");
    let source = if earlier.is_some() {
        "resume"
    } else {
        "startup"
    };
    fake.hook("SessionStart", json!({ "source": source }));
    fake.run();
}

impl Fake {
    fn file(&self) -> PathBuf {
        let sessions = std::env::var_os("FAKE_CLAUDE_SESSIONS").expect("a directory");
        PathBuf::from(sessions).join(format!("{}.jsonl", self.session))
    }

    fn record(&self, text: &str) {
        let record =
            json!({ "type": "user", "message": { "content": [{ "type": "text", "text": text }] } });
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file());
        writeln!(file.expect("a file"), "{record}").expect("a record");
    }

    fn run(&mut self) {
        let mut typed = String::new();
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Key(b'\r' | b'\n') => {
                    let prompt = std::mem::take(&mut typed);
                    if prompt == "/clear" {
                        self.session = format!("cleared-{}", std::process::id());
                        self.hook("SessionStart", json!({ "source": "clear" }));
                        show("cleared");
                    } else {
                        self.turn(&prompt);
                    }
                }
                Event::Key(ESCAPE) => {}
                Event::Key(key) => typed.push(key.into()),
                Event::Mail(text) => self.turn(&mail(&text)),
                Event::Decision(_) => {}
            }
        }
    }

    fn input(&self, event: &str, fields: Value) -> Value {
        let mut input = json!({
            "session_id": self.session, "transcript_path": self.file(), "permission_mode": self.mode,
            "hook_event_name": event,
        });
        let fields = fields.as_object().cloned().unwrap_or_default();
        input.as_object_mut().expect("an object").extend(fields);
        input
    }

    /// Runs the hooks of an event. Returns the end of the last hook that does not run in the background.
    fn hook(&self, event: &str, fields: Value) -> Ended {
        let input = self.input(event, fields);
        let mut last = Ended::default();
        for hook in fake_hooks::of(&self.settings, event) {
            let child = fake_hooks::start(hook, &input);
            if hook["asyncRewake"] == true {
                let sender = self.sender.clone();
                std::thread::spawn(move || {
                    let ended = fake_hooks::wait(child);
                    if ended.code == Some(2) {
                        // The receiver is gone once the main thread has ended.
                        let _ended = sender.send(Event::Mail(ended.stderr));
                    }
                });
            } else {
                last = fake_hooks::wait(child);
            }
        }
        last
    }

    fn turn(&mut self, prompt: &str) {
        self.record(prompt);
        self.hook("UserPromptSubmit", json!({ "prompt": prompt }));
        let end = self.answer(prompt);
        if let Some(mut dialog) = self.dialog.take() {
            // The hook of a dialog ends at the latest with its call.
            let _ended = dialog.kill();
            let _reaped = dialog.wait();
        }
        match end {
            End::Stop(text) => {
                show(&text);
                let fields = json!({ "index": 0, "final": true, "delta": text });
                self.hook("MessageDisplay", fields);
                self.hook("Stop", json!({ "last_assistant_message": text }));
            }
            End::Failure(text) => {
                show(&text);
                let fields = json!({ "error": "unknown", "last_assistant_message": text });
                self.hook("StopFailure", fields);
            }
            End::Interrupted => {
                show("Interrupted");
                self.record("[Request interrupted by user]");
            }
        }
    }

    fn answer(&mut self, prompt: &str) -> End {
        let has = |word: &str| prompt.contains(word);
        if has("crash") {
            show("the fake crashes");
            std::process::exit(3);
        } else if has("broken") {
            return End::Failure("the model is broken".to_owned());
        } else if has("slow") {
            show("I wait");
            while let Ok(event) = self.events.recv() {
                if let Event::Mail(text) = event {
                    self.hook("UserPromptSubmit", json!({ "prompt": mail(&text) }));
                    return End::Stop(format!("During the turn: {text}"));
                }
            }
        } else if has("endless") {
            show("I never end");
            while let Ok(event) = self.events.recv() {
                if let Event::Key(ESCAPE) = event {
                    return End::Interrupted;
                }
            }
        } else if has("unreachable") {
            let command = &self.settings["hooks"]["PreToolUse"][0]["hooks"][0]["command"];
            let words = command.as_str().expect("a command").split('\'');
            let socket = words.into_iter().find(|word| word.ends_with(".sock"));
            std::fs::remove_file(socket.expect("a socket")).expect("it is there");
            let Err(end) = self.made() else {
                return End::Stop("it ran".to_owned());
            };
            return end;
        } else if let Some((_, rest)) = prompt.split_once("own the task ") {
            let task = rest.split(':').next().unwrap_or_default().to_owned();
            let (tool, field, text) = match self.made() {
                Ok(()) => ("complete_task", "result", "the fake is done".to_owned()),
                Err(End::Stop(why)) => ("fail_task", "reason", why),
                Err(end) => return end,
            };
            let call = json!({ "tool_name": format!("mcp__team__{tool}"), "tool_input": {},
                "tool_use_id": "team" });
            let ended = self.hook("PreToolUse", call.clone());
            assert_eq!(
                (ended.code, &*ended.stdout),
                (Some(0), ""),
                "the team's tools need no decision"
            );
            let text = team_tools::call(&self.team, tool, &json!({ "task": task, field: text }));
            self.hook("PostToolUse", call);
            return End::Stop(format!("{tool}: {text}"));
        } else if has("try it") {
            return match self.made() {
                Ok(()) => End::Stop("it ran".to_owned()),
                Err(end) => end,
            };
        } else if has("ping") {
            return End::Stop(format!("pong in mode {}", self.mode));
        }
        End::Stop("I have nothing to do".to_owned())
    }

    /// A call that makes a file. The error is the reason why it did not run, or how the turn ended.
    fn made(&mut self) -> Result<(), End> {
        let command = "echo made > made.txt";
        self.calls += 1;
        let id = format!("toolu_{}_{}", std::process::id(), self.calls);
        let mut call = json!({ "tool_name": "Bash", "tool_use_id": id,
            "tool_input": { "command": command, "description": "Make a file" } });
        let ended = self.hook("PreToolUse", call.clone());
        if ended.code == Some(2) {
            return Err(End::Stop(format!("blocked: {}", ended.stderr.trim())));
        }
        let decision = ended.decision();
        let specific = &decision["hookSpecificOutput"];
        match specific["permissionDecision"].as_str() {
            Some("allow") => {}
            Some("deny") => {
                if decision["continue"] == false {
                    return Err(End::Interrupted);
                }
                let why = specific["permissionDecisionReason"].as_str();
                return Err(End::Stop(format!("denied: {}", why.unwrap_or_default())));
            }
            Some(_) | None => self.dialog(&call)?,
        }
        let ran = Command::new("/bin/sh").args(["-c", command]).status();
        assert!(ran.is_ok_and(|status| status.success()));
        call["tool_response"] = json!({ "stdout": "", "stderr": "" });
        self.hook("PostToolUse", call);
        Ok(())
    }

    /// Shows a dialog, while its hook waits for a decision. The first decision counts.
    fn dialog(&mut self, call: &Value) -> Result<(), End> {
        let mut call = call.clone();
        call.as_object_mut()
            .expect("an object")
            .remove("tool_use_id");
        let input = self.input("PermissionRequest", call);
        let hook = fake_hooks::of(&self.settings, "PermissionRequest").next();
        let mut child = fake_hooks::start(hook.expect("a hook"), &input);
        let mut output = child.stdout.take().expect("a pipe");
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let mut text = String::new();
            if output.read_to_string(&mut text).is_ok() && !text.is_empty() {
                let _ended = sender.send(Event::Decision(text));
            }
        });
        show("Do you want to proceed? 1. Yes 2. No");
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Key(b'1') => {
                    self.dialog = Some(child);
                    return Ok(());
                }
                Event::Key(b'2' | ESCAPE) => {
                    let _ended = child.kill();
                    let _reaped = child.wait();
                    return Err(End::Interrupted);
                }
                Event::Decision(text) => {
                    let _reaped = child.wait();
                    let decision: Value = serde_json::from_str(&text).expect("JSON");
                    let decision = &decision["hookSpecificOutput"]["decision"];
                    show("The dialog is closed");
                    return match decision["behavior"].as_str() {
                        Some("allow") => Ok(()),
                        _ if decision["interrupt"] == true => Err(End::Interrupted),
                        _ => {
                            let why = decision["message"].as_str().unwrap_or_default();
                            Err(End::Stop(format!("denied: {why}")))
                        }
                    };
                }
                Event::Key(_) | Event::Mail(_) => {}
            }
        }
        Err(End::Interrupted)
    }
}

/// A message as the program passes it to its model.
fn mail(text: &str) -> String {
    format!(
        "<task-notification>\n</task-notification>\n<system-reminder>\nFrom agent-team: {text}\n</system-reminder>"
    )
}
