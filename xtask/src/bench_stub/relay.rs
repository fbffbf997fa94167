//! A minimal relay between two ends: read, optionally store, write.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Forwards between the first two connections until one of them closes.
pub(crate) fn run(socket: &Path, file: Option<&Path>) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    let mut ends = [listener.accept()?.0, listener.accept()?.0];
    let mut file = file.map(File::create_new).transpose()?;
    let mut buffer = [0; 64 * 1024];
    loop {
        let mut waiting = ends
            .each_ref()
            .map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
        poll(&mut waiting, PollTimeout::NONE)?;
        let ready = waiting.map(|end| end.any() == Some(true));
        for from in [0, 1].into_iter().filter(|from| ready[*from]) {
            let length = ends[from].read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            if let Some(file) = &mut file {
                file.write_all(&buffer[..length])?;
                file.sync_data()?;
            }
            ends[1 - from].write_all(&buffer[..length])?;
        }
    }
}
