//! A team of real agents of other vendors, whose models are scripted: `cargo xtask test real-clis`.
//!
//! ```text
//!  script (playbook) ◄── requests of each agent's own wire ── real agent ◄── ACP ── agent-team
//!         │                                                                          ▲
//!         └── what the models saw ──► checks ── verbs and calls of the user ─────────┘
//! ```
//! Each check asserts one promise of `docs/clis.md` for one agent; the results are a table of that page. A failed check
//! is a result: the other checks continue. The agents have an empty home, and reach no model but the script.

mod checks;
mod cli;
mod playbook;
mod schemas;
mod table;
mod wire;

use std::path::PathBuf;

use crate::fake_model_server::FakeModelServer;
use crate::{Rig, logs};
use checks::Checks;
pub use cli::{CLIS, Cli};
use playbook::Playbook;
pub use schemas::{write_codex, write_opencode};
pub use table::{Row, write};

/// Runs all checks with the agents that are installed in these directories.
///
/// # Panics
/// When the team itself cannot work.
pub async fn run(installed: &[(&'static Cli, PathBuf)]) -> Vec<Row> {
    let playbook = Playbook::default();
    let script = playbook.clone();
    let server = FakeModelServer::start(move |request| script.reply(request)).await;
    let mut rig = Rig::new();
    let clis: Vec<_> = installed.iter().map(|(cli, _)| *cli).collect();
    let launchers = cli::write_team(&rig, &clis, &server);
    // The package of codex-acp contains another version of `codex`, so the later packages precede it in the path.
    let own = installed.iter().rev();
    let own = std::iter::once(launchers).chain(own.map(|(_, directory)| directory.clone()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(own.chain(std::env::split_paths(&path)));
    rig.set("PATH", path.expect("no colon in a path"));
    rig.ok(["up", "--detach"]).await;
    let mut rows = Vec::new();
    for cli in clis {
        let checks = Checks {
            rig: &rig,
            playbook: &playbook,
            cli,
        };
        rows.push(checks.run().await);
    }
    if !rows.iter().all(Row::is_good) {
        logs::print(&rig.directories().state);
    }
    rig.ok(["down"]).await;
    rows
}
