//! Registers descriptors with tokio. The only place for the unsafe constructor of `AsyncFd`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime. `Into<OwnedFd>` ensures that `T` owns it.
///
/// # Panics
/// Outside a tokio runtime.
pub(crate) fn register<T: AsRawFd + Into<OwnedFd>>(
    owner: T,
    interest: Interest,
) -> io::Result<AsyncFd<T>> {
    #[expect(
        unsafe_code,
        reason = "tokio cannot see that the descriptor stays open"
    )]
    // SAFETY: each type that callers pass (OwnedFd, File, os::Handle) owns one descriptor, keeps it open until the
    // value is dropped, and always returns that descriptor from `as_raw_fd`.
    let registered = unsafe { AsyncFd::register_with_interest(owner, interest) };
    registered.map_err(|error| error.into_parts().1)
}
