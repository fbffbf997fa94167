//! Registers descriptors with tokio. The only place for the unsafe constructor of `AsyncFd`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime. `Into<OwnedFd>` ensures that `T` owns it.
///
/// Panics outside a tokio runtime.
pub(crate) fn register<T: AsRawFd + Into<OwnedFd>>(
    owner: T,
    interest: Interest,
) -> io::Result<AsyncFd<T>> {
    #[expect(
        unsafe_code,
        reason = "tokio cannot see that the descriptor stays open"
    )]
    // SAFETY: the types this is called with (OwnedFd, File, os::Handle) own one descriptor, keep it
    // open until they are dropped, and always show that same one.
    let registered = unsafe { AsyncFd::register_with_interest(owner, interest) };
    registered.map_err(|error| error.into_parts().1)
}
