//! Tests of directories, private files, locks and the reserve: refusals and races.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_team_system::announcement::{self, Announced};
use agent_team_system::directories::{Directories, DirectoriesError, Problem};
use agent_team_system::disk::{self, FileIdentity, FileIdentityError};
use agent_team_system::lock::FileLock;
use agent_team_system::process::ProcessId;
use agent_team_system::{clock, private_file};
use tempfile::TempDir;

use crate::rig::Script;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn directories() -> (TempDir, Directories) {
    let home = tempfile::tempdir().unwrap();
    let directories = Directories {
        state: home.path().join("state"),
        run: home.path().join("run"),
        config: home.path().join("config"),
    };
    (home, directories)
}

fn refusal(directories: &Directories) -> (String, Problem) {
    match directories.prepare() {
        Err(error @ DirectoriesError::Unsafe { problem, .. }) => (error.to_string(), problem),
        other => panic!("{other:?}"),
    }
}

#[test]
fn prepare_creates_private_directories_and_can_repeat() {
    let (_home, directories) = directories();
    directories.prepare().unwrap();
    directories.prepare().unwrap();
    let team = directories.prepare_team("payments-1a2b").unwrap();
    for path in [
        &directories.state,
        &directories.run,
        &directories.launch_files(),
        &team,
    ] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    assert!(!directories.config.exists());
}

#[test]
fn a_symlinked_run_directory_is_refused() {
    let (home, directories) = directories();
    let planted = home.path().join("planted");
    fs::create_dir(&planted).unwrap();
    symlink(&planted, &directories.run).unwrap();
    let (text, problem) = refusal(&directories);
    assert_eq!(problem, Problem::Symlink);
    assert!(
        text.contains(directories.run.to_str().unwrap()) && text.contains("remove it"),
        "{text}"
    );
    assert_eq!(fs::read_dir(planted).unwrap().count(), 0);
}

#[test]
fn a_dangling_symlink_is_refused_as_a_symlink() {
    let (_home, directories) = directories();
    symlink("/nowhere", &directories.state).unwrap();
    assert_eq!(refusal(&directories).1, Problem::Symlink);
}

#[test]
fn a_directory_open_to_others_is_refused_not_repaired() {
    for open in [0o720, 0o702, 0o750, 0o701] {
        let (_home, directories) = directories();
        fs::create_dir(&directories.run).unwrap();
        fs::set_permissions(&directories.run, Permissions::from_mode(open)).unwrap();
        let (text, problem) = refusal(&directories);
        assert_eq!(problem, Problem::TooOpen(open));
        assert!(text.contains("chmod 700"), "{text}");
        assert_eq!(mode(&directories.run), open);
    }
}

#[test]
fn a_file_in_place_of_a_directory_is_refused() {
    let (_home, directories) = directories();
    fs::write(&directories.run, "").unwrap();
    assert_eq!(refusal(&directories).1, Problem::NotADirectory);
}

#[test]
fn another_users_directory_is_refused() {
    let (_home, mut directories) = directories();
    let owner = if nix::unistd::geteuid().is_root() {
        fs::create_dir(&directories.state).unwrap();
        std::os::unix::fs::chown(&directories.state, Some(65534), None).unwrap();
        65534
    } else {
        directories.state = "/usr".into();
        0
    };
    let (text, problem) = refusal(&directories);
    assert_eq!(problem, Problem::ForeignOwner(owner));
    assert!(text.contains("AGENT_TEAM_HOME"), "{text}");
}

#[test]
fn exactly_one_concurrent_take_gets_the_file() {
    const TAKERS: usize = 4;
    let directory = tempfile::tempdir().unwrap();
    for round in 0..100 {
        let path = directory.path().join(round.to_string());
        private_file::create(&path, b"token").unwrap();
        let start = Barrier::new(TAKERS);
        let taken: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let take = || {
                start.wait();
                private_file::take(&path).unwrap()
            };
            let takers: Vec<_> = (0..TAKERS).map(|_| scope.spawn(take)).collect();
            takers
                .into_iter()
                .filter_map(|taker| taker.join().unwrap())
                .collect()
        });
        assert_eq!(taken, [b"token"]);
        assert!(!private_file::discard(&path).unwrap());
    }
}

#[test]
fn create_makes_a_0600_file_and_fails_if_it_exists() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    private_file::create(&path, b"one").unwrap();
    assert_eq!(mode(&path), 0o600);
    let error = private_file::create(&path, b"two").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(private_file::read(&path).unwrap(), b"one");

    let link = directory.path().join("link");
    symlink(directory.path().join("target"), &link).unwrap();
    assert!(private_file::create(&link, b"three").is_err());
    assert!(!directory.path().join("target").exists());
}

#[test]
fn replace_leaves_one_private_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    private_file::replace(&path, b"one").unwrap();
    private_file::replace(&path, b"two").unwrap();
    assert_eq!(private_file::read(&path).unwrap(), b"two");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn only_private_regular_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    private_file::create(&path, b"token").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        private_file::read(&path).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert_eq!(
        private_file::take(&path).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert!(
        path.exists(),
        "a refused file is removed, so the user cannot inspect it"
    );

    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(private_file::read(&link).is_err());

    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(
        private_file::read(&fifo).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
}

#[test]
fn a_lock_has_one_holder_and_its_file_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    assert!(!FileLock::is_held(&path).unwrap());
    assert_eq!(FileLock::contents(&path).unwrap(), None);
    let mut lock = FileLock::try_acquire(&path).unwrap().unwrap();
    lock.write_contents("a long first socket").unwrap();
    lock.write_contents("socket").unwrap();
    assert!(FileLock::try_acquire(&path).unwrap().is_none());
    assert!(FileLock::is_held(&path).unwrap());
    drop(lock);
    assert!(!FileLock::is_held(&path).unwrap());
    assert_eq!(
        FileLock::contents(&path).unwrap().as_deref(),
        Some("socket")
    );
    assert!(FileLock::try_acquire(&path).unwrap().is_some());
}

#[test]
fn is_held_never_makes_try_acquire_fail() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                FileLock::is_held(&path).unwrap();
            }
        });
        let always = (0..5_000).all(|_| FileLock::try_acquire(&path).unwrap().is_some());
        done.store(true, Ordering::Relaxed);
        assert!(always);
    });
}

#[tokio::test]
async fn a_killed_holder_releases_its_lock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let script = format!(
        "exec 9>{}; flock -n 9; echo held; exec sleep 600",
        path.display()
    );
    let mut holder = Script::start(&script, &[]);
    assert_eq!(holder.line().await, "held");
    assert!(FileLock::is_held(&path).unwrap());
    assert!(FileLock::try_acquire(&path).unwrap().is_none());
    holder
        .child
        .signal(agent_team_system::process::Signal::SIGKILL)
        .unwrap();
    holder.child.wait().await.unwrap();
    assert!(FileLock::try_acquire(&path).unwrap().is_some());
}

#[test]
fn a_supervisor_is_found_by_its_lock() {
    let (_home, directories) = directories();
    directories.prepare().unwrap();
    assert_eq!(announcement::find(&directories).unwrap(), None);
    let mut lock = FileLock::try_acquire(&directories.supervisor_lock())
        .unwrap()
        .unwrap();
    assert_eq!(
        announcement::find(&directories).unwrap(),
        None,
        "the lock file contains no socket yet"
    );
    for process in [None, Some(ProcessId::current().unwrap())] {
        let announced = Announced {
            socket: "/somewhere/socket".into(),
            process,
        };
        let path = directories.supervisor_lock();
        announced.write(&mut lock, &path).unwrap();
        let found = announcement::find(&directories).unwrap();
        assert_eq!(found.as_ref(), Some(&announced.socket));
        let read = Announced::read(&path).unwrap();
        assert_eq!(read, Some(announced));
        // Workers of the first build read the whole file as the socket's path.
        let whole = fs::read_to_string(&path).unwrap();
        assert_eq!(whole.trim(), "/somewhere/socket");
    }
    Announced::withdraw(&mut lock, &directories.supervisor_lock()).unwrap();
    assert_eq!(announcement::find(&directories).unwrap(), None);
    assert!(!directories.state.join("supervisor.pid").exists());
    drop(lock);
    assert_eq!(announcement::find(&directories).unwrap(), None);
}

#[test]
fn a_process_recorded_in_another_boot_is_ignored() {
    let (_home, directories) = directories();
    directories.prepare().unwrap();
    let lock = directories.supervisor_lock();
    fs::write(&lock, "/somewhere/socket\n").unwrap();
    let own = ProcessId::current().unwrap();
    let file = directories.state.join("supervisor.pid");
    let process = |boot: &str| {
        let _first = private_file::discard(&file);
        let text = format!("{} {} {boot}\n", own.pid, own.start_time);
        private_file::create(&file, text.as_bytes()).unwrap();
        Announced::read(&lock).unwrap().unwrap().process
    };
    assert_eq!(process(&clock::boot_id().unwrap()), Some(own));
    assert_eq!(process("another-boot"), None);
}

#[test]
fn a_removed_or_replaced_file_is_detected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("team.db");
    let file = File::create(&path).unwrap();
    let identity = FileIdentity::of(&file).unwrap();
    identity.check(&path).unwrap();
    fs::rename(&path, directory.path().join("elsewhere")).unwrap();
    assert!(matches!(
        identity.check(&path),
        Err(FileIdentityError::Removed(_))
    ));
    File::create(&path).unwrap();
    assert!(matches!(
        identity.check(&path),
        Err(FileIdentityError::Replaced(_))
    ));
    fs::remove_file(&path).unwrap();
    symlink(directory.path().join("elsewhere"), &path).unwrap();
    assert!(matches!(
        identity.check(&path),
        Err(FileIdentityError::Replaced(_))
    ));
}

#[test]
fn reserve_allocates_disk_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("reserve");
    disk::reserve(&path, 1 << 20).unwrap();
    disk::reserve(&path, 1 << 20).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), 1 << 20);
    assert!(metadata.blocks() * 512 >= 1 << 20);
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert!(disk::release(&path).unwrap());
    assert!(!disk::release(&path).unwrap());
}
