//! Tests of the `sandbox-exec` profile, of trials and of placeholders. `tests/system/sandbox.rs` tests the sandboxes of
//! Linux with real programs.

use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime};

use super::trial::{Trial, remove_abandoned};
use super::{Absent, AbsentPaths, Network, Placeholders, Profile, seatbelt};

#[test]
fn seatbelt_rules_are_ordered_by_path_depth() {
    let script = seatbelt::profile(&Profile {
        writable: vec!["/srv/me/\"our\" code".into(), "/tmp/ours".into()],
        protected: vec!["/srv/me/\"our\" code/.git/hooks".into()],
        absent: Some(AbsentPaths {
            directory: "/srv/me/\"our\" code".into(),
            all: vec![Absent {
                path: "/srv/me/\"our\" code/.envrc".into(),
                content: Some(""),
            }],
        }),
        hidden: vec!["/srv/me".into(), "/srv/me/tool/key".into()],
        readable: vec!["/srv/me/tool".into()],
        links: Vec::new(),
        scratch: vec!["/tmp".into()],
        replaced: Vec::new(),
        network: Network::None,
        limits: Default::default(),
        group: None,
    });
    let rules = script
        .split_once("/dev/tty\"))\n")
        .expect("the base rules")
        .1;
    assert_eq!(
        rules,
        "(deny file-read* file-write* (subpath \"/tmp\"))\n\
         (deny file-read* file-write* (subpath \"/srv/me\"))\n\
         (allow file-read* file-write* (subpath \"/tmp/ours\"))\n\
         (allow file-read* (subpath \"/srv/me/tool\"))\n\
         (allow file-read* file-write* (subpath \"/srv/me/\\\"our\\\" code\"))\n\
         (deny file-read* file-write* (subpath \"/srv/me/tool/key\"))\n\
         (deny file-write* (subpath \"/srv/me/\\\"our\\\" code/.envrc\"))\n\
         (deny file-write* (subpath \"/srv/me/\\\"our\\\" code/.git/hooks\"))\n"
    );
    assert!(
        script.starts_with("(version 1)\n(deny default)\n"),
        "{script}"
    );
}

#[test]
fn seatbelt_denies_unix_sockets_even_with_network() {
    let script = seatbelt::profile(&Profile {
        writable: Vec::new(),
        protected: Vec::new(),
        absent: None,
        hidden: Vec::new(),
        readable: Vec::new(),
        links: Vec::new(),
        scratch: Vec::new(),
        replaced: Vec::new(),
        network: Network::Host,
        limits: Default::default(),
        group: None,
    });
    let allowed = script.find("(allow network*)").expect("the network");
    let denied = script
        .find("(deny network* (remote unix-socket))")
        .expect("sockets");
    assert!(
        allowed < denied,
        "the denial is not the later rule: {script}"
    );
}

#[test]
fn abandoned_trials_are_removed_and_running_ones_stay() {
    let directory = tempfile::tempdir().unwrap();
    let running = Trial::within(directory.path()).unwrap();
    let abandoned = directory.path().join("agent-team-trial-1-2-3");
    let young = directory.path().join("agent-team-trial-1-2-4");
    let other = directory.path().join("trial");
    for made in [&abandoned, &young, &other] {
        fs::create_dir_all(made.join("inside")).unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    for old in [&running.root, &abandoned, &other] {
        let times = FileTimes::new().set_modified(long_ago);
        File::open(old).unwrap().set_times(times).unwrap();
    }
    remove_abandoned(directory.path());
    assert!(!abandoned.exists());
    assert!(running.root.exists() && young.exists() && other.exists());
    let root = running.root.clone();
    drop(running);
    assert!(!root.exists());
}

fn absent(directory: &std::path::Path) -> AbsentPaths {
    let path = |name: &str, content| Absent {
        path: directory.join(name),
        content,
    };
    AbsentPaths {
        directory: directory.to_owned(),
        all: vec![
            path(".vscode", None),
            path(".envrc", Some("")),
            path("commondir", Some(".\n")),
            path("missing/parent", Some("")),
        ],
    }
}

fn names(directory: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn placeholders_stay_until_the_last_sandbox_exits() {
    let project = tempfile::tempdir().unwrap();
    let paths = absent(project.path());
    let first = Placeholders::make(&paths).unwrap();
    let second = Placeholders::make(&paths).unwrap();
    assert_eq!(names(project.path()), [".envrc", ".vscode", "commondir"]);
    drop(first);
    assert_eq!(
        names(project.path()).len(),
        3,
        "the second sandbox needs the placeholders"
    );
    drop(second);
    assert_eq!(names(project.path()), [""; 0]);
}

#[test]
fn a_sandbox_that_outlives_its_worker_keeps_placeholders() {
    let project = tempfile::tempdir().unwrap();
    let paths = absent(project.path());
    let worker = Placeholders::make(&paths).unwrap();
    let sandbox = worker.lock().unwrap();
    drop(worker);
    paths.remove_placeholders();
    assert_eq!(names(project.path()).len(), 3);
    drop(sandbox);
    paths.remove_placeholders();
    assert_eq!(names(project.path()), [""; 0]);
}

#[test]
fn user_files_are_never_taken_for_placeholders() {
    let project = tempfile::tempdir().unwrap();
    let paths = absent(project.path());
    // The user's own file, which is empty like a placeholder.
    fs::write(project.path().join(".envrc"), "").unwrap();
    let placeholders = Placeholders::make(&paths).unwrap();
    // The user writes while a command runs.
    fs::write(project.path().join(".vscode/settings.json"), "{}").unwrap();
    fs::write(project.path().join("commondir"), ".\n").unwrap();
    drop(placeholders);
    assert_eq!(names(project.path()), [".envrc", ".vscode", "commondir"]);
    // An unfinished placeholder of a killed process.
    let unfinished = project.path().join(".agent-team-placeholder-1-1");
    fs::write(&unfinished, "").unwrap();
    paths.remove_placeholders();
    assert!(!unfinished.exists());
}
