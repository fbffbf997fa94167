//! Many callers in one thread, each with its own connection and several calls in flight.
//!
//! The load generator must cost little compared with the measured system. It calls `poll` once for all connections,
//! writes requests in batches, and parses answers only as far as needed.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use agent_team_protocol::TeamId;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::Method;
use agent_team_protocol::rpc::{self, Call, TeamRef};
use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Bench;
use super::stats::Figure;

/// A measurement fails when more calls than this are refused in one run.
const REFUSALS_MAX: usize = 100_000;

pub(super) struct Swarm {
    callers: Vec<Caller>,
    next_id: u64,
}

struct Caller {
    stream: UnixStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    in_flight: usize,
}

impl Swarm {
    /// The client id of each caller is `name` and a number.
    pub(super) fn connect(socket: &Path, name: &str, callers: usize) -> Result<Self> {
        let connect = |number| {
            let mut stream =
                UnixStream::connect(socket).context("cannot connect to the supervisor")?;
            let initialize = Initialize::client(format!("{name}-{number}"));
            stream.write_all(rpc::initialize(0, &initialize).as_bytes())?;
            let mut incoming = vec![0; 4096];
            let length = stream.read(&mut incoming)?;
            if !is_success(&incoming[..length]) {
                bail!("the supervisor refused initialize");
            }
            stream.set_nonblocking(true)?;
            Ok(Caller {
                stream,
                outgoing: Vec::new(),
                incoming: Vec::new(),
                in_flight: 0,
            })
        };
        Ok(Self {
            callers: (0..callers).map(connect).collect::<Result<_>>()?,
            next_id: 0,
        })
    }

    /// Makes calls, `window` of them in flight for each caller, until `total` have succeeded. `succeeded` receives
    /// every successful answer. Refused calls are replaced by new ones. Returns the time from the first call to the
    /// last answer.
    pub(super) fn run<M: Method>(
        &mut self,
        team: &TeamId,
        window: usize,
        total: usize,
        mut args: impl FnMut() -> M::Args,
        mut succeeded: impl FnMut(&[u8]),
    ) -> Result<Duration> {
        let team = TeamRef::Id(team.clone());
        let (mut done, mut in_flight, mut refused) = (0, 0, 0);
        let started = Instant::now();
        while done < total {
            for caller in &mut self.callers {
                while caller.in_flight < window && done + in_flight < total {
                    self.next_id += 1;
                    let call = Call {
                        team: Some(team.clone()),
                        key: Some(self.next_id.to_string()),
                        args: args(),
                    };
                    caller
                        .outgoing
                        .extend_from_slice(rpc::request::<M>(self.next_id, &call).as_bytes());
                    caller.in_flight += 1;
                    in_flight += 1;
                }
                caller.write()?;
            }
            self.wait()?;
            for caller in &mut self.callers {
                caller.read(|answer| {
                    in_flight -= 1;
                    if is_success(answer) {
                        done += 1;
                        succeeded(answer);
                        Ok(())
                    } else {
                        refused += 1;
                        if refused > REFUSALS_MAX {
                            bail!("{}", String::from_utf8_lossy(answer))
                        } else {
                            Ok(())
                        }
                    }
                })?;
            }
        }
        Ok(started.elapsed())
    }

    fn wait(&self) -> Result<()> {
        let mut polled: Vec<PollFd<'_>> = self
            .callers
            .iter()
            .map(|caller| {
                let writable = if caller.outgoing.is_empty() {
                    PollFlags::empty()
                } else {
                    PollFlags::POLLOUT
                };
                PollFd::new(caller.stream.as_fd(), PollFlags::POLLIN | writable)
            })
            .collect();
        poll(&mut polled, PollTimeout::from(60_000_u16))?;
        Ok(())
    }
}

/// The rate of calls over sockets without the supervisor: a stub answers the same callers without delay. The supervisor
/// cannot be faster than the stub, because it also stores each change.
pub(super) struct SocketsAlone {
    per_second: Figure,
}

impl SocketsAlone {
    /// Measures the stub with this number of callers, each with `window` calls in flight.
    pub(super) fn measure<M: Method>(
        bench: &Bench,
        callers: usize,
        window: usize,
        args: impl Fn() -> M::Args,
    ) -> Result<Self> {
        const CALLS: usize = 20_000;
        let directory = tempfile::tempdir_in(&bench.directory)?;
        let socket = directory.path().join("answerer");
        let listener = UnixListener::bind(&socket)?;
        let mut answerer = Command::new(&bench.programs.stub)
            .arg("answer")
            .stdin(OwnedFd::from(listener))
            .spawn()?;
        let mut swarm = Swarm::connect(&socket, "caller", callers)?;
        let team = TeamId::new(&"none".parse()?, Path::new("/nowhere"));
        let mut rates = Vec::new();
        for _ in 0..bench.pick(5, 3) {
            let took = swarm.run::<M>(&team, window, CALLS, &args, |_| {})?;
            rates.push(CALLS as f64 / took.as_secs_f64());
        }
        drop(swarm);
        answerer.wait()?;
        Ok(Self {
            per_second: Figure::of(rates),
        })
    }

    /// Compares the rate `ours` with a limit. At the limit, a call takes the time of one call over the sockets, plus
    /// the time of one row in a store that writes `stored` rows per second.
    pub(super) fn comparison(&self, ours: &Figure, stored: &Figure) -> String {
        let sockets = self.per_second.median;
        let both = 1.0 / (1.0 / sockets + 1.0 / stored.median);
        format!(
            "sockets alone: {:.0}k/s; sockets and SQLite loop one after the other: {:.0}k/s; the measured rate is {:.2} × \
             the second limit",
            sockets / 1e3,
            both / 1e3,
            ours.median / both
        )
    }
}

impl Caller {
    fn write(&mut self) -> Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read(&mut self, mut answered: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("the supervisor closed the connection"),
            Ok(length) => self.incoming.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let whole = self
            .incoming
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        for answer in self.incoming[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|answer| !answer.is_empty())
        {
            self.in_flight -= 1;
            answered(answer)?;
        }
        self.incoming.drain(..whole);
        Ok(())
    }
}

/// Whether an answer is `{"jsonrpc":"2.0","id":7,"result":…`. The key is near the start, so only the start is searched.
fn is_success(answer: &[u8]) -> bool {
    const RESULT: &[u8] = b"\"result\":";
    answer[..answer.len().min(60)]
        .windows(RESULT.len())
        .any(|window| window == RESULT)
}
