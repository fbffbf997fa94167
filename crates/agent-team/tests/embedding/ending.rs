//! An ended team leaves no thread, no socket and no file. The test runs in its own process, because the threads of other
//! tests would be counted.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_team::{Member, Team};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

fn files(directory: &std::path::Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory exists");
    entries
        .map(|entry| entry.expect("the entry can be read").path())
        .collect()
}

/// Environment variable: set in the process that runs only this test, with its own temporary directory.
const ALONE: &str = "AGENT_TEAM_TEST_ALONE";

const TEST: &str = "ending::an_ended_team_leaves_no_threads_and_no_files";

#[test]
fn an_ended_team_leaves_no_threads_and_no_files() {
    if std::env::var_os(ALONE).is_none() {
        let temporary = tempfile::tempdir().expect("a directory");
        let own = std::env::current_exe().expect("the path of this test");
        let mut again = std::process::Command::new(own);
        again.env(ALONE, "1").env("TMPDIR", temporary.path());
        let status = again
            .args(["--exact", TEST, "--test-threads", "1"])
            .status();
        assert!(status.expect("the test process runs").success());
        return;
    }
    let temporary = std::env::temp_dir();
    let before = threads();
    for dropped in [false, true] {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        // This runtime needs neither timers nor I/O.
        runtime.block_on(async {
            let team = Team::builder()
                .model("openai/gpt-x")
                .clear_env()
                .env("OPENAI_API_KEY", "none")
                .member(Member::new("ada"));
            let team = team.build().await.expect("a team");
            assert!(threads() > before);
            assert_eq!(files(&temporary).len(), 1);
            if !dropped {
                let directories = files(&temporary);
                let socket = directories
                    .iter()
                    .next()
                    .unwrap()
                    .join("run/supervisor.sock");
                std::fs::remove_file(&socket).expect("the socket file exists");
                let limit = Instant::now() + Duration::from_secs(10);
                while !socket.exists() {
                    assert!(
                        Instant::now() < limit,
                        "the removed socket is not bound again"
                    );
                    tokio::task::yield_now().await;
                }
                team.shutdown().await.expect("the team ends");
            }
        });
        assert_eq!(files(&temporary), BTreeSet::new());
        drop(runtime);
        // A member's connection ends shortly after the member.
        while threads() > before {
            std::thread::yield_now();
        }
    }
}
