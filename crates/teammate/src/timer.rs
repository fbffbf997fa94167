//! A timeout that may be absent. Called by the loops of the worker, the link, the pane and the attach helper.

use tokio::time::Instant;

/// Returns at the deadline, or never without one. Cancel-safe.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
