//! A fake of Claude Code in its own terminal interface. The fake runs the hooks of `--settings` as in recordings of the
//! real program (2.1.331), shows dialogs on its terminal, and has no model. Words in the prompt select its behaviour:
//!
//! - `own the task`: a call that runs `echo made >> made.txt`, then `complete_task` or `fail_task` with the outcome
//! - `try it`: the same call, without a task; `large`, `huge`: with a long line
//! - `read FILE`, `search PATH`: a call that reads, about which the fake asks only outside of its directory
//! - `ping`: answers `pong`, with its mode
//! - `slow`: waits for a message during the turn, and repeats it
//! - `endless`: waits for Esc
//! - `broken`: ends the turn with an error of the model
//! - `unreachable`: removes the socket of its hooks, then tries a call
//! - `flood`: writes text without end
//! - `crash`: exits with 3; `fork`: leaves a process behind, and exits
//!
//! A line that is typed on the terminal is a prompt of the user; `/clear` begins a new session. In a dialog, `1`
//! allows, and `2` or Esc denies. The sessions are files in the directory `FAKE_CLAUDE_SESSIONS`. With
//! `FAKE_CLAUDE_VERSION`, the fake reports this version; with `FAKE_CLAUDE_EXIT`, it prints this text and exits; with
//! `FAKE_CLAUDE_DIALOG`, it shows this text until Enter, before it opens its session; with `FAKE_CLAUDE_WITHOUT`, its
//! hooks lack this field; with `FAKE_CLAUDE_WITHOUT_TOOLS`, it does not connect its MCP server. Like the real program,
//! the fake does not have the tools of a server that connects after the first prompt.
#![expect(clippy::print_stdout, reason = "the fake draws on its terminal")]
#![expect(
    clippy::zombie_processes,
    reason = "the hook of an abandoned dialog ends with the program"
)]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use agent_team_tests::fake_calls;
use agent_team_tests::fake_hooks::{self, Ended};
use agent_team_tests::fake_terminal::{ESCAPE, read_keys, show, show_dialog};
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
    /// Messages that have arrived while a dialog was open.
    queue: VecDeque<String>,
    calls: u64,
    /// The fake connects its MCP server.
    is_connected: Arc<AtomicBool>,
    /// Whether the conversation has the team's tools, from its first prompt.
    has_tools: Option<bool>,
}

/// How a turn ended.
enum End {
    Stop(String),
    Failure(String),
    /// No hook reports an interrupted turn.
    Interrupted,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of = |flag: &str| {
        let mut words = arguments.iter();
        words.find(|word| *word == flag)?;
        words.next().cloned()
    };
    if arguments.iter().any(|word| word == "status") {
        // The exit code 0 means that the user is logged in.
        return;
    }
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
        queue: VecDeque::new(),
        calls: 0,
        is_connected: Arc::default(),
        has_tools: None,
    };
    if earlier.is_some() && !fake.file().exists() {
        println!("No conversation found with session ID: {}", fake.session);
        std::process::exit(1);
    }
    if show_dialog("FAKE_CLAUDE_DIALOG") {
        while !matches!(fake.events.recv(), Ok(Event::Key(b'\r'))) {}
    }
    show("Welcome to the fake");
    let source = if earlier.is_some() {
        "resume"
    } else {
        "startup"
    };
    fake.hook("SessionStart", json!({ "source": source }));
    // The real program connects its MCP servers beside its hooks.
    let (team, is_connected) = (fake.team.clone(), Arc::clone(&fake.is_connected));
    std::thread::spawn(move || {
        if std::env::var_os("FAKE_CLAUDE_WITHOUT_TOOLS").is_some() {
            return None;
        }
        // Set before the request: the worker can pass a message as soon as it has received the request.
        is_connected.store(true, Ordering::SeqCst);
        team_tools::list(&team)
    });
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
        loop {
            if let Some(text) = self.queue.pop_front() {
                self.turn(&mail(&text));
                continue;
            }
            let Ok(event) = self.events.recv() else {
                return;
            };
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
            "hook_event_name": event, "cwd": std::env::current_dir().expect("a directory"),
        });
        let fields = fields.as_object().cloned().unwrap_or_default();
        input.as_object_mut().expect("an object").extend(fields);
        fake_calls::without_field("FAKE_CLAUDE_WITHOUT", &mut input);
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
        let is_connected = self.is_connected.load(Ordering::SeqCst);
        let has_tools = *self.has_tools.get_or_insert(is_connected);
        self.record(prompt);
        self.hook("UserPromptSubmit", json!({ "prompt": prompt }));
        let end = match has_tools {
            true => self.answer(prompt),
            false => End::Stop("I have no tools of the team".to_owned()),
        };
        if let Some(mut dialog) = self.dialog.take() {
            // The hook of a dialog ends no later than its call.
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
        } else if has("fork") {
            fake_calls::leave_process();
            std::process::exit(0);
        } else if has("flood") {
            self.flood();
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
                match event {
                    Event::Key(ESCAPE) => return End::Interrupted,
                    Event::Mail(text) => self.queue.push_back(text),
                    Event::Key(_) | Event::Decision(_) => {}
                }
            }
        } else if has("unreachable") {
            let command = &self.settings["hooks"]["PreToolUse"][0]["hooks"][0]["command"];
            let words = command.as_str().expect("a command").split('\'');
            let socket = words.into_iter().find(|word| word.ends_with(".sock"));
            std::fs::remove_file(socket.expect("a socket")).expect("the socket exists");
            let Err(end) = self.made(prompt) else {
                return End::Stop("it ran".to_owned());
            };
            return end;
        } else if let Some((_, rest)) = prompt.split_once("own the task ") {
            let task = rest.split(':').next().unwrap_or_default().to_owned();
            let (tool, field, text) = match self.made(prompt) {
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
                "the hook decided a call of a team tool"
            );
            let text = team_tools::call(&self.team, tool, &json!({ "task": task, field: text }));
            self.hook("PostToolUse", call);
            return End::Stop(format!("{tool}: {text}"));
        } else if has("try it") {
            return match self.made(prompt) {
                Ok(()) => End::Stop("it ran".to_owned()),
                Err(end) => end,
            };
        } else if let Some((_, file)) = prompt.split_once("read ") {
            let path = std::env::current_dir()
                .expect("a directory")
                .join(first_word(file));
            return self.read("Read", json!({ "file_path": path }));
        } else if let Some((_, path)) = prompt.split_once("search ") {
            let input =
                json!({ "pattern": ".", "path": first_word(path), "output_mode": "content" });
            return self.read("Grep", input);
        } else if has("ping") {
            return End::Stop(format!("pong in mode {}", self.mode));
        }
        End::Stop("I have nothing to do".to_owned())
    }

    /// Makes a call that creates a file. The error is the reason why the call did not run, or how the turn ended.
    fn made(&mut self, prompt: &str) -> Result<(), End> {
        let command = fake_calls::line(prompt);
        let mut call = self.call(
            "Bash",
            json!({ "command": command, "description": "Make a file" }),
        );
        self.permitted(&call, true)?;
        fake_calls::run(&command);
        call["tool_response"] = json!({ "stdout": "", "stderr": "" });
        self.hook("PostToolUse", call);
        Ok(())
    }

    fn call(&mut self, tool: &str, input: Value) -> Value {
        self.calls += 1;
        let id = format!("toolu_{}_{}", std::process::id(), self.calls);
        json!({ "tool_name": tool, "tool_use_id": id, "tool_input": input })
    }

    /// Makes a call that reads a file or directory.
    fn read(&mut self, tool: &str, input: Value) -> End {
        let path = input["file_path"].as_str().or(input["path"].as_str());
        let path = std::fs::canonicalize(path.expect("a path")).expect("the path exists");
        let asks = !path.starts_with(std::env::current_dir().expect("a directory"));
        let mut call = self.call(tool, input);
        if let Err(end) = self.permitted(&call, asks) {
            return end;
        }
        call["tool_response"] = json!({ "type": "text" });
        self.hook("PostToolUse", call);
        End::Stop("it is read".to_owned())
    }

    /// Calls the hook of a call. `asks`: the fake asks about the call unless the hook allows the call. The error is the
    /// reason why the call may not run, or how the turn ended.
    fn permitted(&mut self, call: &Value, asks: bool) -> Result<(), End> {
        let ended = self.hook("PreToolUse", call.clone());
        if ended.code == Some(2) {
            return Err(End::Stop(format!("blocked: {}", ended.stderr.trim())));
        }
        let decision = ended.decision();
        let specific = &decision["hookSpecificOutput"];
        match specific["permissionDecision"].as_str() {
            Some("allow") => Ok(()),
            Some("deny") => {
                if decision["continue"] == false {
                    return Err(End::Interrupted);
                }
                let why = specific["permissionDecisionReason"].as_str();
                Err(End::Stop(format!("denied: {}", why.unwrap_or_default())))
            }
            None if !asks => Ok(()),
            Some(_) | None => self.dialog(call),
        }
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
                Event::Mail(text) => self.queue.push_back(text),
                Event::Key(_) => {}
            }
        }
        Err(End::Interrupted)
    }

    fn flood(&self) -> ! {
        loop {
            let delta = "flood ".repeat(1000);
            show(&delta);
            let fields = json!({ "index": 0, "final": false, "delta": delta });
            self.hook("MessageDisplay", fields);
        }
    }
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// A message as the program passes it to its model.
fn mail(text: &str) -> String {
    format!(
        "<task-notification>\n</task-notification>\n<system-reminder>\nFrom agent-team: {text}\n</system-reminder>"
    )
}
