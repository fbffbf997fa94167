//! The life of a worker, from its first connection to its exit. Pure: the worker passes times and events to this
//! module, and acts on the returned changes.
//!
//! ```text
//! Working ── stop ──► Stopping ── work ended ──┐
//!    │ ├─ stop, nothing runs; work ended for its own reason
//!    │ └────────────────────────────────────────► Settling ── reports answered ──► Leaving ── answered ──► Gone
//!    └── launch over ──► Vanishing ── work ended ──────────────────────────────────────────────────────────▲
//! ```

use std::time::Duration;

use agent_team_protocol::method::Exit;
use tokio::time::Instant;

/// The last part of a grace period, at most half of it, in which unfinished work is terminated and its reports are
/// sent, before the supervisor kills the worker.
const RESERVE: Duration = Duration::from_millis(1_500);

/// The time limit for the exit report, and the shortest time limit for the reports before it.
const EXIT_REPORT_LIMIT: Duration = Duration::from_secs(5);

/// The exit report and the exit code of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExitReport {
    pub(crate) code: u8,
    pub(crate) reason: String,
    /// A restart cannot help.
    pub(crate) hold: bool,
}

impl From<ExitReport> for Exit {
    fn from(report: ExitReport) -> Self {
        Self {
            code: report.code.into(),
            reason: report.reason,
            hold: report.hold,
        }
    }
}

/// A request to stop.
pub(crate) struct Stop<'a> {
    pub(crate) reason: &'a str,
    /// The work may finish by itself until this time.
    pub(crate) finish_at: Instant,
    /// The end of the grace period.
    pub(crate) over_at: Instant,
}

impl<'a> Stop<'a> {
    pub(super) fn new(reason: &'a str, now: Instant, grace: Duration) -> Self {
        Self {
            reason,
            finish_at: now + grace.saturating_sub(RESERVE).max(grace / 2),
            over_at: now + grace,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    Working,
    /// The work may finish by itself until `end_at`. `None`: the work is being terminated.
    Stopping {
        report: ExitReport,
        end_at: Option<Instant>,
    },
    /// The work is being terminated, and the worker exits without a report.
    Vanishing,
    /// No work runs. The exit report follows when every other report is answered, or at `until`.
    Settling {
        report: ExitReport,
        until: Instant,
    },
    /// The exit report is sent and not yet answered.
    Leaving {
        code: u8,
        give_up_at: Instant,
    },
    Gone {
        code: u8,
    },
}

impl Life {
    pub(crate) fn is_working(&self) -> bool {
        matches!(self, Self::Working)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Stopping { .. } => "stopping",
            Self::Vanishing => "vanishing",
            Self::Settling { .. } => "settling",
            Self::Leaving { .. } => "leaving",
            Self::Gone { .. } => "gone",
        }
    }

    /// The time of the next timeout, if any.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Stopping { end_at, .. } => *end_at,
            Self::Settling { until: at, .. } | Self::Leaving { give_up_at: at, .. } => Some(*at),
            Self::Working | Self::Vanishing | Self::Gone { .. } => None,
        }
    }

    /// Called when a stop is requested while work runs. `end_at` is the time at which to terminate the work; `None` if
    /// the work is being terminated.
    pub(super) fn stop(&mut self, report: ExitReport, end_at: Option<Instant>) {
        match self {
            Self::Working => *self = Self::Stopping { report, end_at },
            // `None` is less than any time: work that is being terminated gets no new time limit.
            Self::Stopping { end_at: at, .. } => *at = (*at).min(end_at),
            Self::Vanishing | Self::Settling { .. } | Self::Leaving { .. } | Self::Gone { .. } => {}
        }
    }

    /// Why the member stops, as a sentence.
    pub(super) fn stop_reason(&self) -> String {
        match self {
            Self::Stopping { report, .. } | Self::Settling { report, .. } => report.reason.clone(),
            Self::Working | Self::Vanishing | Self::Leaving { .. } | Self::Gone { .. } => {
                String::new()
            }
        }
    }

    /// Called when the work is terminated before `end_at`.
    pub(crate) fn work_is_ending(&mut self) {
        if let Self::Stopping { end_at, .. } = self {
            *end_at = None;
        }
    }

    /// Called when the deadline has passed. Returns whether the work must be terminated now.
    pub(super) fn deadline_passed(&mut self) -> bool {
        match self {
            Self::Stopping { end_at, .. } => end_at.take().is_some(),
            Self::Leaving { code, .. } => {
                *self = Self::Gone { code: *code };
                false
            }
            Self::Working | Self::Vanishing | Self::Settling { .. } | Self::Gone { .. } => false,
        }
    }

    /// Called when the work has ended. `own` is the work's own reason to exit, which replaces the reason of a stop.
    pub(super) fn ended(&mut self, own: Option<ExitReport>, now: Instant) {
        let until = now + EXIT_REPORT_LIMIT;
        let (report, until) = match (&*self, own) {
            (Self::Working, Some(report)) => (report, until),
            (Self::Stopping { report, end_at }, own) => (
                own.unwrap_or_else(|| report.clone()),
                end_at.map_or(until, |at| at.max(until)),
            ),
            (Self::Vanishing, _) => {
                *self = Self::Gone { code: 0 };
                return;
            }
            (Self::Working, None)
            | (Self::Settling { .. } | Self::Leaving { .. } | Self::Gone { .. }, _) => return,
        };
        self.leave(report, until);
    }

    /// Leaves with this report once every other report is answered, or at `until`.
    pub(super) fn leave(&mut self, report: ExitReport, until: Instant) {
        *self = Self::Settling { report, until };
    }

    /// Like [`Self::leave`], at the end of this grace period or after [`EXIT_REPORT_LIMIT`], whichever is later.
    pub(super) fn leave_within(&mut self, report: ExitReport, now: Instant, grace: Duration) {
        self.leave(report, now + grace.max(EXIT_REPORT_LIMIT));
    }

    /// Returns the exit report if it must be sent now.
    pub(super) fn settle(&mut self, is_settled: bool, now: Instant) -> Option<ExitReport> {
        match self {
            Self::Settling { report, until } if is_settled || now >= *until => {
                let report = report.clone();
                *self = Self::Leaving {
                    code: report.code,
                    give_up_at: now + EXIT_REPORT_LIMIT,
                };
                Some(report)
            }
            Self::Settling { .. }
            | Self::Working
            | Self::Stopping { .. }
            | Self::Vanishing
            | Self::Leaving { .. }
            | Self::Gone { .. } => None,
        }
    }

    pub(super) fn exit_answered(&mut self) {
        if let Self::Leaving { code, .. } = self {
            *self = Self::Gone { code: *code };
        }
    }

    /// Called when the launch is over. `is_over`: nothing runs for which the worker must wait.
    pub(super) fn vanish(&mut self, is_over: bool) {
        *self = match self {
            Self::Working | Self::Stopping { .. } | Self::Vanishing if !is_over => Self::Vanishing,
            Self::Working | Self::Stopping { .. } | Self::Vanishing => Self::Gone { code: 0 },
            Self::Settling {
                report: ExitReport { code, .. },
                ..
            }
            | Self::Leaving { code, .. }
            | Self::Gone { code } => Self::Gone { code: *code },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn report(code: u8) -> ExitReport {
        ExitReport {
            code,
            reason: "stopping".into(),
            hold: false,
        }
    }

    /// A worker that was asked to stop while work runs, and the time at which the work is terminated.
    fn stopping(now: Instant) -> (Life, Instant) {
        let stop = Stop::new("stopping", now, GRACE);
        let mut life = Life::Working;
        life.stop(report(0), Some(stop.finish_at));
        (life, stop.finish_at)
    }

    #[test]
    fn work_that_finishes_in_time_is_not_terminated() {
        let now = Instant::now();
        let (mut life, end_at) = stopping(now);
        assert_eq!(life.deadline(), Some(end_at));
        life.ended(None, now);
        assert_eq!(life.settle(true, now), Some(report(0)));
        life.exit_answered();
        assert_eq!(life, Life::Gone { code: 0 });
    }

    #[test]
    fn late_work_is_terminated_once() {
        let (mut life, _) = stopping(Instant::now());
        assert!(life.deadline_passed());
        assert_eq!(life.deadline(), None);
        assert!(!life.deadline_passed());
    }

    #[test]
    fn a_second_stop_never_extends_the_first() {
        let now = Instant::now();
        let (mut life, end_at) = stopping(now);
        life.stop(report(0), Some(end_at + GRACE));
        assert_eq!(life.deadline(), Some(end_at));
        life.stop(report(0), Some(now));
        assert_eq!(life.deadline(), Some(now));
        life.work_is_ending();
        life.stop(report(0), None);
        assert_eq!(life.deadline(), None);
    }

    #[test]
    fn the_exit_report_follows_all_other_reports() {
        let now = Instant::now();
        let mut life = Life::Working;
        life.leave_within(report(0), now, GRACE);
        assert_eq!(life.settle(false, now), None);
        assert_eq!(life.deadline(), Some(now + GRACE));
        assert_eq!(life.settle(false, now + GRACE), Some(report(0)));
        assert_eq!(life.settle(true, now), None, "sent once");
    }

    #[test]
    fn a_worker_exits_even_if_its_report_is_not_answered() {
        let now = Instant::now();
        let mut life = Life::Working;
        life.leave(report(3), now);
        life.settle(true, now);
        assert_eq!(life.deadline(), Some(now + EXIT_REPORT_LIMIT));
        assert!(!life.deadline_passed());
        assert_eq!(life, Life::Gone { code: 3 });
    }

    #[test]
    fn the_engines_own_reason_replaces_the_stop() {
        let now = Instant::now();
        let (mut life, _) = stopping(now);
        life.ended(Some(report(4)), now);
        assert_eq!(life.settle(true, now), Some(report(4)));
        life.ended(None, now);
        assert_eq!(life.name(), "leaving");
    }

    #[test]
    fn an_end_without_reason_does_not_stop_a_worker() {
        let mut life = Life::Working;
        life.ended(None, Instant::now());
        assert!(life.is_working());
    }

    #[test]
    fn a_lost_launch_waits_only_for_its_work() {
        let now = Instant::now();
        let (mut life, _) = stopping(now);
        life.vanish(false);
        assert_eq!(life.deadline(), None);
        life.stop(report(0), Some(now));
        assert_eq!(life, Life::Vanishing);
        life.ended(None, now);
        assert_eq!(life, Life::Gone { code: 0 });

        let mut life = Life::Working;
        life.leave(report(3), now);
        life.vanish(true);
        assert_eq!(life, Life::Gone { code: 3 });
    }
}
