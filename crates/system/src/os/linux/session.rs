//! Starts a program without a terminal in its own session. Called by [`crate::spawn`].
//!
//! This file uses `posix_spawn`, because its child shares the parent's memory until exec. A fork copies the page tables
//! and then every page that either side writes; for a large supervisor that is a considerable part of a worker's start
//! time.

use std::ffi::{CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use nix::libc;
use nix::sys::signal::SigSet;
use rustix::process::{Pid, Resource, prlimit};

use super::close_descriptors_on_exec;
use crate::descriptors::original_limit;
use crate::spawn::ProgramSpec;

const SETSIGDEF: libc::c_short = libc::POSIX_SPAWN_SETSIGDEF as libc::c_short;
const SETSIGMASK: libc::c_short = libc::POSIX_SPAWN_SETSIGMASK as libc::c_short;

/// Starts a program in its own session, with default signal dispositions, with these descriptors as its stdin, stdout
/// and stderr, and with no others. Returns the program's pid.
pub(crate) fn spawn_session(
    spec: &ProgramSpec,
    [input, output, errors]: [BorrowedFd<'_>; 3],
) -> io::Result<u32> {
    // The descriptors that this process opened are close-on-exec. Also mark the descriptors that it inherited.
    close_descriptors_on_exec();
    let text = |text: &OsStr| Ok::<_, io::Error>(CString::new(text.as_bytes())?);
    let program = text(resolved(spec).as_os_str())?;
    let cwd = text(spec.cwd.as_os_str())?;
    let mut arguments = vec![text(spec.program.as_os_str())?];
    for argument in &spec.args {
        arguments.push(text(argument)?);
    }
    let mut environment = Vec::new();
    for (name, value) in &spec.env {
        let mut entry = name.clone();
        entry.push("=");
        entry.push(value);
        environment.push(text(&entry)?);
    }
    let pointers = |texts: &[CString]| -> Vec<*mut libc::c_char> {
        let all = texts.iter().map(|text| text.as_ptr().cast_mut());
        all.chain([ptr::null_mut()]).collect()
    };
    let (arguments_list, environment_list) = (pointers(&arguments), pointers(&environment));

    let mut actions = FileActions::new()?;
    actions.add(|actions| {
        #[expect(unsafe_code, reason = "nix does not wrap addchdir_np")]
        // SAFETY: `actions` was initialised, and copies the path.
        unsafe {
            libc::posix_spawn_file_actions_addchdir_np(actions, cwd.as_ptr())
        }
    })?;
    let stdio = [
        (input, libc::STDIN_FILENO),
        (output, libc::STDOUT_FILENO),
        (errors, libc::STDERR_FILENO),
    ];
    for (descriptor, number) in stdio {
        actions.add(|actions| {
            #[expect(unsafe_code, reason = "a call of the posix_spawn family")]
            // SAFETY: `actions` was initialised; the descriptor outlives the spawn below.
            unsafe {
                libc::posix_spawn_file_actions_adddup2(actions, descriptor.as_raw_fd(), number)
            }
        })?;
    }
    let attributes = Attributes::of_session()?;
    let mut pid = 0;
    #[expect(unsafe_code, reason = "nix lacks POSIX_SPAWN_SETSID and addchdir_np")]
    // SAFETY: the lists end with a null pointer. All pointers are to values that live until the call returns.
    let spawned = unsafe {
        libc::posix_spawn(
            &mut pid,
            program.as_ptr(),
            &actions.0,
            &attributes.0,
            arguments_list.as_ptr(),
            environment_list.as_ptr(),
        )
    };
    done(spawned)?;
    if let Some(limit) = original_limit() {
        // `posix_spawn` cannot set limits, so the program may run for a moment with the limit of this process. A worker
        // starts no program in that time: the supervisor admits it only after this call has returned.
        let _exited = prlimit(Pid::from_raw(pid), Resource::Nofile, *limit);
    }
    u32::try_from(pid).map_err(io::Error::other)
}

/// The program's path: a name is looked up in the `PATH` of the program's own environment.
fn resolved(spec: &ProgramSpec) -> PathBuf {
    let path = spec.env.iter().find(|(name, _)| name == "PATH");
    let in_path = path
        .filter(|_| spec.program.components().count() == 1)
        .into_iter()
        .flat_map(|(_, path)| std::env::split_paths(path))
        .map(|directory| directory.join(&spec.program))
        .find(|candidate| candidate.is_file());
    in_path.unwrap_or_else(|| spec.program.clone())
}

/// The result of a function of the `posix_spawn` family, which returns an error number or 0.
fn done(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> io::Result<FileActions> {
        let mut actions = MaybeUninit::uninit();
        #[expect(unsafe_code, reason = "a C structure")]
        // SAFETY: the structure is initialised if the call succeeds, and is not moved while it is in use.
        unsafe {
            done(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            Ok(FileActions(actions.assume_init()))
        }
    }

    fn add(
        &mut self,
        add: impl FnOnce(*mut libc::posix_spawn_file_actions_t) -> libc::c_int,
    ) -> io::Result<()> {
        done(add(&mut self.0))
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "a C structure")]
        // SAFETY: the structure was initialised and is not used afterwards.
        unsafe {
            libc::posix_spawn_file_actions_destroy(&mut self.0);
        }
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    /// Attributes for a new session in which all signals have their defaults and none is blocked.
    fn of_session() -> io::Result<Attributes> {
        let flags = libc::POSIX_SPAWN_SETSID | SETSIGDEF | SETSIGMASK;
        let mut attributes = MaybeUninit::uninit();
        #[expect(unsafe_code, reason = "a C structure")]
        // SAFETY: the structure is initialised if the first call succeeds; the other calls change only this structure.
        unsafe {
            done(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            let mut attributes = Attributes(attributes.assume_init());
            done(libc::posix_spawnattr_setflags(&mut attributes.0, flags))?;
            let all = SigSet::all();
            done(libc::posix_spawnattr_setsigdefault(
                &mut attributes.0,
                all.as_ref(),
            ))?;
            let none = SigSet::empty();
            done(libc::posix_spawnattr_setsigmask(
                &mut attributes.0,
                none.as_ref(),
            ))?;
            Ok(attributes)
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "a C structure")]
        // SAFETY: the structure was initialised and is not used afterwards.
        unsafe {
            libc::posix_spawnattr_destroy(&mut self.0);
        }
    }
}
