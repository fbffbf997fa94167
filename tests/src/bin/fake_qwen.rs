//! A fake of Qwen Code in its own terminal interface. The fake runs the hooks of its settings, writes its dual output
//! and reads its input file as in recordings of the real program (0.24.4), shows dialogs on its terminal, and has no
//! model. Words in the prompt select its behaviour:
//!
//! - `own the task`: a call that runs `echo made >> made.txt`, then `complete_task` or `fail_task` with the outcome
//! - `try it`: the same call, without a task; `large`, `huge`: with a long line; `unasked`: without a dialog
//! - `try both`: the call and a change of a file at once; `helper`: the same call, by a helper; `unasked helper`: both
//! - `edit it`: a change of the file `edited.txt`
//! - `read FILE`, `search PATH`: a call that reads, about which the fake asks only outside of its directory
//! - `ping`: answers `pong`, with its mode
//! - `slow`: waits for a message during the turn, which joins its end; `step`: the message joins the result of a call
//! - `endless`: waits for Esc
//! - `broken`: ends the turn with an error of the model
//! - `ask me`: a question that only the user can answer
//! - `unreachable`: removes the socket of its hooks, then tries a call
//! - `flood`: writes text without end
//! - `hang up`: closes its dual output; `crash`: exits with 3; `fork`: leaves a process behind, and exits
//!
//! A line that is typed on the terminal is a prompt of the user; `/clear` begins a new session. In a dialog, `1`
//! allows, and `2` or Esc denies. Messages that wait when the user ends a turn return to the prompt line. The sessions
//! are files in the directory `FAKE_QWEN_SESSIONS`. With `FAKE_QWEN_VERSION`, the fake reports this version; with
//! `FAKE_QWEN_EXIT`, it prints this text and exits; with `FAKE_QWEN_DIALOG`, it shows this text until Enter, before it
//! opens its session; with `FAKE_QWEN_WITHOUT`, its hooks and its output lack this field.
#![expect(clippy::print_stdout, reason = "the fake draws on its terminal")]

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use agent_team_tests::fake_calls;
use agent_team_tests::fake_hooks::{self, Ended};
use agent_team_tests::fake_terminal::{ESCAPE, read_keys, show, show_dialog};
use agent_team_tests::team_tools;
use serde_json::{Value, json};

/// The interval at which the input file is read. The real program reads it every half second.
const INPUT_INTERVAL: Duration = Duration::from_millis(20);

enum Event {
    Key(u8),
    Submit(String),
    Confirmation { request: String, allowed: bool },
}

/// How a turn ended.
enum End {
    Stop(String),
    Failure(String),
    Interrupted,
}

struct Call {
    id: String,
    tool: &'static str,
    input: Value,
    /// The fake shows no dialog for the call.
    is_unasked: bool,
    is_helper: bool,
}

struct Fake {
    settings: Value,
    team: Vec<String>,
    mode: String,
    session: String,
    output: Option<File>,
    input: File,
    keys: Receiver<u8>,
    _keys: Sender<u8>,
    /// Bytes of the input file without a line break.
    unread: Vec<u8>,
    events: VecDeque<Event>,
    /// Texts that wait for the end of the turn, or join it.
    queue: VecDeque<String>,
    /// The task whose call was denied in its dialog.
    task: String,
    count: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of = |flag: &str| {
        let mut words = arguments.iter();
        words.find(|word| *word == flag)?;
        words.next().cloned()
    };
    if arguments.iter().any(|word| word == "--version") {
        let version = std::env::var("FAKE_QWEN_VERSION");
        return println!("{}", version.as_deref().unwrap_or("0.24.4"));
    }
    if let Ok(text) = std::env::var("FAKE_QWEN_EXIT") {
        println!("{text}");
        std::process::exit(1);
    }
    assert!(arguments.iter().any(|word| word == "--chat-recording"));
    assert_eq!(of("--allowed-tools").as_deref(), Some("mcp__team"));
    let rules = of("--append-system-prompt").expect("the rules");
    assert!(rules.contains("From agent-team:"), "{rules}");
    let nested = std::env::vars().find(|(name, _)| name.starts_with("CLAUDE"));
    assert!(nested.is_none(), "{nested:?}");
    let (sender, keys) = channel();
    let of_keys = sender.clone();
    read_keys(move |key| of_keys.send(key).is_ok());
    let json = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
    let server = json(of("--mcp-config").expect("servers"))["mcpServers"]["team"].take();
    assert_eq!(server["alwaysLoadTools"], true);
    let words = server["args"].as_array().into_iter().flatten();
    let words = std::iter::once(&server["command"]).chain(words);
    let earlier = of("--resume");
    let defaults = std::env::var("QWEN_CODE_SYSTEM_DEFAULTS_PATH").expect("settings");
    let output = of("--json-file").expect("an output");
    let output = OpenOptions::new().write(true).open(output);
    let mut input = File::open(of("--input-file").expect("an input")).expect("the input");
    // Skip the text that was written before the start, as the real program does.
    input.seek(SeekFrom::End(0)).expect("a regular file");
    let mut fake = Fake {
        settings: json(std::fs::read_to_string(defaults).expect("settings")),
        team: words
            .map(|word| word.as_str().expect("a word").to_owned())
            .collect(),
        mode: of("--approval-mode").expect("a mode"),
        session: earlier
            .clone()
            .or_else(|| of("--session-id"))
            .expect("a session"),
        output: Some(output.expect("the output")),
        input,
        keys,
        _keys: sender,
        unread: Vec::new(),
        events: VecDeque::new(),
        queue: VecDeque::new(),
        task: String::new(),
        count: 0,
    };
    if earlier.is_some() && !fake.file().exists() {
        println!("No saved session found with ID {}.", fake.session);
        std::process::exit(1);
    }
    if show_dialog("FAKE_QWEN_DIALOG") {
        while fake.keys.recv() != Ok(b'\r') {}
    }
    let data = json!({ "session_id": fake.session, "protocol_version": 2, "version": "0.24.4" });
    fake.emit(json!({ "type": "system", "subtype": "session_start", "data": data }));
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
        let sessions = std::env::var_os("FAKE_QWEN_SESSIONS").expect("a directory");
        PathBuf::from(sessions).join(format!("{}.jsonl", self.session))
    }

    fn record(&self, text: &str) {
        let record =
            json!({ "type": "user", "message": { "role": "user", "parts": [{ "text": text }] } });
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file());
        writeln!(file.expect("a file"), "{record}").expect("a record");
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Writes an event to the dual output.
    fn emit(&mut self, mut event: Value) {
        if event["type"] != "control_request" && event["type"] != "control_response" {
            event["session_id"] = self.session.clone().into();
            event["parent_tool_use_id"] = Value::Null;
        }
        fake_calls::without_field("FAKE_QWEN_WITHOUT", &mut event);
        if let Some(output) = &mut self.output {
            // Without a reader, the real program also stops writing.
            let _closed = writeln!(output, "{event}");
        }
    }

    fn hook_input(&mut self, event: &str, fields: Value) -> Value {
        let timestamp = format!("2026-11-25T00:00:{:06}Z", self.number());
        let mut input = json!({
            "session_id": self.session, "transcript_path": self.file(), "permission_mode": self.mode,
            "hook_event_name": event, "timestamp": timestamp,
            "cwd": std::env::current_dir().expect("a directory"),
        });
        let fields = fields.as_object().cloned().unwrap_or_default();
        input.as_object_mut().expect("an object").extend(fields);
        fake_calls::without_field("FAKE_QWEN_WITHOUT", &mut input);
        input
    }

    /// Runs the hook of an event.
    fn hook(&mut self, event: &str, fields: Value) -> Ended {
        let input = self.hook_input(event, fields);
        let mut hooks = fake_hooks::of(&self.settings, event);
        let hook = hooks.next().expect("a hook");
        fake_hooks::wait(fake_hooks::start(hook, &input))
    }

    /// Runs the hook of an event, and does not wait for its end.
    fn notify(&mut self, event: &str, fields: Value) {
        let input = self.hook_input(event, fields);
        let mut hooks = fake_hooks::of(&self.settings, event);
        let hook = fake_hooks::start(hooks.next().expect("a hook"), &input);
        std::thread::spawn(move || fake_hooks::wait(hook));
    }

    fn idle(&mut self) {
        let fields = json!({ "notification_type": "idle_prompt" });
        self.notify("Notification", fields);
    }

    /// The next event.
    fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            match self.keys.recv_timeout(INPUT_INTERVAL) {
                Ok(key) => return Event::Key(key),
                Err(RecvTimeoutError::Timeout) => self.read_input(),
                Err(RecvTimeoutError::Disconnected) => std::process::exit(0),
            }
        }
    }

    fn read_input(&mut self) {
        self.input
            .read_to_end(&mut self.unread)
            .expect("the input can be read");
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let command: Value = serde_json::from_slice(&line).expect("JSON");
            let text = |field: &str| command[field].as_str().expect("a text").to_owned();
            self.events.push_back(match &*text("type") {
                "submit" => Event::Submit(text("text")),
                "confirmation_response" => Event::Confirmation {
                    request: text("request_id"),
                    allowed: command["allowed"] == true,
                },
                other => panic!("unknown command: {other}"),
            });
        }
    }

    fn run(&mut self) {
        let mut typed = String::new();
        loop {
            if let Some(prompt) = self.queue.pop_front() {
                self.turn(&prompt);
                continue;
            }
            match self.next() {
                Event::Key(b'\r' | b'\n') => {
                    let prompt = std::mem::take(&mut typed);
                    if prompt == "/clear" {
                        self.session = format!("cleared-{}", std::process::id());
                        self.hook("SessionStart", json!({ "source": "clear" }));
                        self.idle();
                        show("cleared");
                    } else {
                        self.queue.push_back(prompt);
                    }
                }
                Event::Key(ESCAPE) => {}
                Event::Key(key) => typed.push(key.into()),
                Event::Submit(text) => self.queue.push_back(text),
                Event::Confirmation { request, .. } => self.unknown(&request),
            }
        }
    }

    fn unknown(&mut self, request: &str) {
        let response = json!({ "subtype": "error", "request_id": request, "error": "unknown" });
        self.emit(json!({ "type": "control_response", "response": response }));
    }

    fn turn(&mut self, prompt: &str) {
        let content = json!([{ "type": "text", "text": prompt }]);
        let message = json!({ "role": "user", "content": content });
        self.emit(json!({ "type": "user", "message": message }));
        let fields = json!({ "prompt": prompt, "submitted_prompt": prompt });
        self.hook("UserPromptSubmit", fields);
        self.record(prompt);
        match self.answer(prompt) {
            End::Stop(text) => {
                show(&text);
                self.stream(&text);
                let fields = json!({ "last_assistant_message": text, "input_tokens": 100,
                    "context_limit": 1000 });
                self.hook("Stop", fields);
                self.message(json!([{ "type": "text", "text": text }]));
                self.idle();
            }
            End::Failure(text) => {
                show(&text);
                self.idle();
                let fields = json!({ "error": "unknown", "error_details": text });
                self.notify("StopFailure", fields);
            }
            End::Interrupted => {
                show("Request cancelled");
                let returned = std::mem::take(&mut self.queue);
                for text in returned {
                    show(&format!("> {text}"));
                }
                self.idle();
            }
        }
    }

    fn stream(&mut self, text: &str) {
        let start = json!({ "type": "message_start", "message": {} });
        let delta = json!({ "type": "text_delta", "text": text });
        let delta = json!({ "type": "content_block_delta", "index": 0, "delta": delta });
        for event in [start, delta] {
            self.emit(json!({ "type": "stream_event", "event": event }));
        }
    }

    /// An answer of the model.
    fn message(&mut self, content: Value) {
        let usage = json!({ "input_tokens": 100, "output_tokens": 10, "total_tokens": 110,
            "cache_read_input_tokens": 40 });
        let message = json!({ "role": "assistant", "content": content, "usage": usage });
        self.emit(json!({ "type": "assistant", "message": message }));
    }

    fn answer(&mut self, prompt: &str) -> End {
        let has = |word: &str| prompt.contains(word);
        let is_unasked = has("unasked");
        let is_helper = has("helper");
        if has("was denied. ") {
            return match std::mem::take(&mut self.task) {
                task if task.is_empty() => End::Stop(format!("denied: {prompt}")),
                task => self.call_team("fail_task", &json!({ "task": task, "reason": prompt })),
            };
        } else if has("crash") {
            show("the fake crashes");
            std::process::exit(3);
        } else if has("fork") {
            fake_calls::leave_process();
            std::process::exit(0);
        } else if has("flood") {
            loop {
                self.stream(&"flood ".repeat(1000));
            }
        } else if has("hang up") {
            self.output = None;
            return self.endless();
        } else if has("broken") {
            return End::Failure("the model is broken".to_owned());
        } else if has("slow") || has("step") {
            return self.with_message(has("step"));
        } else if has("endless") {
            show("I never end");
            return self.endless();
        } else if has("ask me") {
            let input = json!({ "question": "Which?" });
            let call = self.call("ask_user_question", input, false, false);
            return match self.ran(vec![call]) {
                Ok(()) => End::Stop("you have answered".to_owned()),
                Err(end) => end,
            };
        } else if has("unreachable") {
            let hook = fake_hooks::of(&self.settings, "PreToolUse").next();
            let command = hook.expect("a hook")["command"].as_str().expect("a line");
            let mut words = command.split('\'');
            let socket = words.find(|word| word.ends_with(".sock"));
            std::fs::remove_file(socket.expect("a socket")).expect("the socket exists");
            let call = self.made(prompt, true, false);
            return match self.ran(vec![call]) {
                Ok(()) => End::Stop("it ran".to_owned()),
                Err(end) => end,
            };
        } else if let Some((_, rest)) = prompt.split_once("own the task ") {
            let task = rest.split(':').next().unwrap_or_default().to_owned();
            let call = self.made(prompt, false, false);
            self.task.clone_from(&task);
            return match self.ran(vec![call]) {
                Ok(()) => self.call_team(
                    "complete_task",
                    &json!({ "task": task, "result": "the fake is done" }),
                ),
                Err(End::Stop(why)) => {
                    self.call_team("fail_task", &json!({ "task": task, "reason": why }))
                }
                Err(end) => end,
            };
        } else if has("edit it") {
            let call = self.edited();
            return match self.ran(vec![call]) {
                Ok(()) => End::Stop("it is edited".to_owned()),
                Err(end) => end,
            };
        } else if has("try both") {
            let calls = vec![self.made(prompt, false, false), self.edited()];
            return match self.ran(calls) {
                Ok(()) => End::Stop("both ran".to_owned()),
                Err(end) => end,
            };
        } else if has("try it") || is_helper || is_unasked {
            let call = self.made(prompt, is_unasked, is_helper);
            return match self.ran(vec![call]) {
                Ok(()) => End::Stop("it ran".to_owned()),
                Err(end) => end,
            };
        } else if let Some((_, file)) = prompt.split_once("read ") {
            let path = std::env::current_dir()
                .expect("a directory")
                .join(first_word(file));
            return self.read("read_file", json!({ "file_path": path }));
        } else if let Some((_, path)) = prompt.split_once("search ") {
            let input = json!({ "pattern": ".", "path": first_word(path), "limit": 5 });
            return self.read("grep_search", input);
        } else if has("ping") {
            return End::Stop(format!("pong in mode {}", self.mode));
        }
        End::Stop("I have nothing to do".to_owned())
    }

    fn endless(&mut self) -> End {
        loop {
            match self.next() {
                Event::Key(ESCAPE) => return End::Interrupted,
                Event::Submit(text) => self.queue.push_back(text),
                Event::Key(_) | Event::Confirmation { .. } => {}
            }
        }
    }

    /// Waits for a message that joins the turn.
    fn with_message(&mut self, is_in_step: bool) -> End {
        show("I wait");
        loop {
            match self.next() {
                Event::Submit(text) => {
                    if is_in_step {
                        self.hook("UserPromptSubmit", json!({ "prompt": text }));
                    }
                    self.record(&text);
                    return End::Stop(format!("During the turn: {text}"));
                }
                Event::Key(ESCAPE) => return End::Interrupted,
                Event::Key(_) | Event::Confirmation { .. } => {}
            }
        }
    }

    fn call_team(&mut self, tool: &str, arguments: &Value) -> End {
        let fields = json!({ "tool_name": format!("mcp__team__{tool}"), "tool_input": {},
            "tool_use_id": "team", "tool_call_id": "team" });
        let ended = self.hook("PreToolUse", fields);
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(0), ""),
            "the hook decided a call of a team tool"
        );
        let text = team_tools::call(&self.team, tool, arguments);
        End::Stop(format!("{tool}: {text}"))
    }

    fn call(
        &mut self,
        tool: &'static str,
        input: Value,
        is_unasked: bool,
        is_helper: bool,
    ) -> Call {
        let id = format!("call_{}_{}", std::process::id(), self.number());
        Call {
            id,
            tool,
            input,
            is_unasked,
            is_helper,
        }
    }

    /// Makes a call that creates a file.
    fn made(&mut self, prompt: &str, is_unasked: bool, is_helper: bool) -> Call {
        let line = fake_calls::line(prompt);
        let input = json!({ "command": line, "is_background": false, "description": "Make it" });
        self.call("run_shell_command", input, is_unasked, is_helper)
    }

    /// Makes a call that reads a file or directory.
    fn read(&mut self, tool: &'static str, input: Value) -> End {
        let path = input["file_path"].as_str().or(input["path"].as_str());
        let path = std::fs::canonicalize(path.expect("a path")).expect("the path exists");
        let is_unasked = path.starts_with(std::env::current_dir().expect("a directory"));
        let call = self.call(tool, input, is_unasked, false);
        match self.ran(vec![call]) {
            Ok(()) => End::Stop("it is read".to_owned()),
            Err(end) => end,
        }
    }

    fn edited(&mut self) -> Call {
        let path = std::env::current_dir().expect("a directory");
        let input = json!({ "file_path": path.join("edited.txt"), "content": "edited\n" });
        self.call("write_file", input, false, false)
    }

    /// Makes the calls of one answer. The error is the reason why a call did not run, or how the turn ended.
    fn ran(&mut self, calls: Vec<Call>) -> Result<(), End> {
        let blocks = calls.iter().filter(|call| !call.is_helper).map(|call| {
            json!({ "type": "tool_use", "id": call.id, "name": call.tool, "input": call.input })
        });
        let blocks: Vec<_> = blocks.collect();
        if !blocks.is_empty() {
            self.message(blocks.into());
        }
        // All dialogs of one answer are open at the same time.
        let mut dialogs = Vec::new();
        for call in &calls {
            let decision = match call.is_unasked {
                true => Value::Null,
                false => {
                    let fields = json!({ "tool_name": call.tool, "tool_input": call.input });
                    let ended = self.hook("PermissionRequest", of(call, fields));
                    ended.decision()["hookSpecificOutput"]["decision"].take()
                }
            };
            match decision["behavior"].as_str() {
                Some("deny") => {
                    let why = decision["message"].as_str().unwrap_or_default();
                    return Err(self.denied(call, why));
                }
                Some(_) => {}
                None if call.is_unasked => {}
                None if call.is_helper => {
                    return Err(self.denied(call, "its dialog is in its own tab"));
                }
                None => dialogs.push((self.open_dialog(call), call)),
            }
        }
        self.wait_for(dialogs)?;
        for call in &calls {
            self.run_call(call)?;
        }
        self.hook("UserPromptSubmit", json!({ "prompt": "" }));
        Ok(())
    }

    fn run_call(&mut self, call: &Call) -> Result<(), End> {
        let fields = json!({ "tool_name": call.tool, "tool_input": call.input,
            "tool_use_id": format!("toolu_{}", call.id), "tool_call_id": call.id });
        let ended = self.hook("PreToolUse", of(call, fields));
        if ended.code == Some(2) {
            let why = format!("blocked: {}", ended.stderr.trim());
            return Err(self.denied(call, &why));
        }
        let decision = ended.decision()["hookSpecificOutput"].take();
        match decision["permissionDecision"].as_str() {
            Some("deny") => {
                let why = decision["permissionDecisionReason"].as_str();
                return Err(self.denied(call, why.unwrap_or_default()));
            }
            Some("ask") => {
                let dialog = self.open_dialog(call);
                self.wait_for(vec![(dialog, call)])?;
            }
            Some(_) | None => {}
        }
        match call.input["file_path"].as_str() {
            Some(path) if call.tool == "write_file" => {
                std::fs::write(path, "edited\n").expect("a file")
            }
            None if call.tool == "run_shell_command" => {
                fake_calls::run(call.input["command"].as_str().expect("a line"));
            }
            Some(_) | None => {}
        }
        self.result(call, false, "done");
        Ok(())
    }

    fn denied(&mut self, call: &Call, why: &str) -> End {
        self.result(call, true, why);
        self.hook("UserPromptSubmit", json!({ "prompt": "" }));
        End::Stop(format!("denied: {why}"))
    }

    fn result(&mut self, call: &Call, is_error: bool, text: &str) {
        if call.is_helper {
            return;
        }
        let block = json!({ "type": "tool_result", "tool_use_id": call.id, "is_error": is_error,
            "content": text });
        let message = json!({ "role": "user", "content": [block] });
        self.emit(json!({ "type": "user", "message": message }));
    }

    /// Opens a dialog. Returns the id of its request.
    fn open_dialog(&mut self, call: &Call) -> String {
        let id = format!("request-{}", self.number());
        let request = json!({ "subtype": "can_use_tool", "tool_name": call.tool,
            "tool_use_id": call.id, "input": call.input });
        self.emit(json!({ "type": "control_request", "request_id": id, "request": request }));
        show("Do you want to proceed? 1. Yes 2. No");
        id
    }

    /// Waits for the answers to the dialogs. The first answer counts. If no call is allowed, the turn ends without a
    /// report.
    fn wait_for(&mut self, mut dialogs: Vec<(String, &Call)>) -> Result<(), End> {
        let mut denied = Vec::new();
        let mut is_any_allowed = dialogs.is_empty();
        while !dialogs.is_empty() {
            let (at, allowed) = match self.next() {
                Event::Key(b'1') => (0, true),
                Event::Key(b'2' | ESCAPE) => (0, false),
                Event::Key(_) => continue,
                Event::Submit(text) => {
                    self.queue.push_back(text);
                    continue;
                }
                Event::Confirmation { request, allowed } => {
                    let Some(at) = dialogs.iter().position(|(id, _)| *id == request) else {
                        self.unknown(&request);
                        continue;
                    };
                    show("The dialog is closed");
                    (at, allowed)
                }
            };
            let (request, call) = dialogs.remove(at);
            is_any_allowed |= allowed;
            if !allowed {
                denied.push(call);
            }
            if dialogs.is_empty() && !is_any_allowed {
                return Err(End::Interrupted);
            }
            let response = json!({ "subtype": "success", "request_id": request,
                "response": { "allowed": allowed } });
            self.emit(json!({ "type": "control_response", "response": response }));
        }
        match denied.first() {
            None => Ok(()),
            Some(call) => {
                let why = "[Operation Cancelled] Reason: User did not allow tool call";
                let end = self.denied(call, why);
                Err(self.and_message(end))
            }
        }
    }

    /// The turn continues until the message about the denial joins it.
    fn and_message(&mut self, end: End) -> End {
        match self.with_message(true) {
            End::Stop(text) => End::Stop(text),
            End::Failure(_) | End::Interrupted => end,
        }
    }
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// The fields of a hook about the call.
fn of(call: &Call, mut fields: Value) -> Value {
    if call.is_helper {
        fields["agent_id"] = "helper-1".into();
    }
    fields
}
