//! A fake of OpenCode. Its server and its terminal interface speak to each other and to the worker as in recordings of
//! the real program (1.18.33), and there is no model. The server exits when a request, an answer or an event does not
//! match the schema of that version. Words in the text of a turn select its behaviour:
//!
//! - `own the task`: a command that makes `made.txt`, then `complete_task` or `fail_task` with the outcome
//! - `try it`: the same command, without a task; `large`, `huge`: with a long line; `helper`: a helper runs the command
//! - `allow itself`: a program of the agent allows its calls at the server
//! - `edit it`: a change of the file `edited.txt`; `try both`: the command and the change at once
//! - `read FILE`: asks to read the file, and does not read it
//! - `list elsewhere`: the command `ls` in another directory
//! - `use a tool`: a call of a tool of another MCP server
//! - `ping`: answers `pong`, with the permissions of the conversation
//! - `slow`: waits for a message during the turn, and repeats it
//! - `endless`: waits for an abort
//! - `broken`: the model fails; `unknown model`: the prompt is accepted, and cannot be added to the conversation
//! - `ask me`: a question that only the user can answer
//! - `flood`: writes text without end; `fork`: the server leaves a process behind, and exits
//! - `crash`: the server exits with 3; `hang up`: the server closes the stream of events
//!
//! A line that is typed in the interface is a prompt of the user; `/new` begins a conversation with the next line,
//! `/quit` ends the interface. In a dialog, `y` allows once, `a` allows always, and Esc rejects. Without a dialog, Esc
//! aborts the turn. The conversations are files in the directory `FAKE_OPENCODE_SESSIONS`. With
//! `FAKE_OPENCODE_VERSION`, the fake reports this version; with `FAKE_OPENCODE_PASSWORD`, its server requires this
//! password; with `FAKE_OPENCODE_EVENTS`, its events have names of another version; with `FAKE_OPENCODE_ADDRESS`, it
//! reports this address; with `FAKE_OPENCODE_RULES`, it drops the permissions of a conversation; with
//! `FAKE_OPENCODE_MUTE`, its server answers no request; with `FAKE_OPENCODE_WITHOUT`, its events lack this field; with
//! `FAKE_OPENCODE_DIALOG`, its interface shows this text until Enter.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the fake draws on its terminal"
)]

mod http;
mod interface;
mod server;
mod shapes;
mod turn;

use std::path::PathBuf;

use http::Client;
use interface::Interface;
use server::Server;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|word| word == "--version") {
        let version = variable("FAKE_OPENCODE_VERSION");
        return println!("{}", version.as_deref().unwrap_or("1.18.33"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", "--hostname", "127.0.0.1", "--port", "0"] => runtime.block_on(Server::serve()),
        ["attach", url, "--dir", directory, "-s", session] => {
            let client = Client::new(url, directory);
            runtime.block_on(Interface::run(client, session));
        }
        other => panic!("unknown arguments: {other:?}"),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn cwd() -> PathBuf {
    std::env::current_dir().expect("a directory")
}
