//! The conversation between the two programs whose connection is measured: one sends `ping`, the other answers with the
//! time at which the ping arrived. Works over any [`Transport`].

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::transport::{Transport, now_ns};

/// Length of every text, in bytes.
const TEXT: usize = 64;

fn padded(text: &str) -> String {
    format!("{text:<TEXT$}")
}

/// Answers every ping until the end of input; ignores other texts.
pub(crate) fn echo(transport: &mut impl Transport) -> Result<()> {
    while let Some((arrived, text)) = transport.receive()? {
        if text.starts_with("ping") {
            transport.send(&padded(&arrived.to_string()))?;
        }
    }
    Ok(())
}

/// Executes the commands of the bench from the control socket, and answers each with a line.
///
/// - `ping N` sends N pings, one after the other → the one-way and the round-trip time of each, in nanoseconds
/// - `flood N WINDOW` sends N messages, at most WINDOW of them unanswered → the duration in nanoseconds, and the number
///   of temporary refusals
/// - `ask NUMBER` asks permission for the command with that number → 1 when allowed, 0 when denied
pub(crate) fn run_commands(transport: &mut impl Transport, control: &Path) -> Result<()> {
    let mut control = UnixStream::connect(control).context("cannot connect to the bench")?;
    writeln!(control, "{}", std::process::id())?;
    let mut commands = BufReader::new(control.try_clone()?).lines();
    while let Some(command) = commands.next().transpose()? {
        let words: Vec<&str> = command.split(' ').collect();
        let answer = match words[..] {
            ["ping", count] => ping(transport, count.parse()?)?,
            ["flood", count, window] => {
                let begun = now_ns();
                let refusals = transport.flood(count.parse()?, window.parse()?)?;
                format!("{} {refusals}", now_ns() - begun)
            }
            ["ask", number] => u8::from(transport.ask(number.parse()?)?).to_string(),
            _ => bail!("unknown command: {command}"),
        };
        writeln!(control, "{answer}")?;
    }
    Ok(())
}

fn ping(transport: &mut impl Transport, count: u64) -> Result<String> {
    let text = padded("ping");
    let mut samples = Vec::new();
    for _ in 0..count {
        let sent = now_ns();
        transport.send(&text)?;
        let Some((returned, answer)) = transport.receive()? else {
            bail!("the connection ended");
        };
        let arrived: u64 = answer.trim_end().parse().context("not a time")?;
        samples.push(format!("{} {}", arrived - sent, returned - sent));
    }
    Ok(samples.join(" "))
}
