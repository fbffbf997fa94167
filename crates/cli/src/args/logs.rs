//! The arguments of `agent-team logs`.

use agent_team_protocol::MemberName;
use clap::Args;

use crate::complete;

/// Print the output of members
///
/// Without a name, prints the lines of all members, merged by time, each with the name of its member.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The members [default: all]
    #[arg(add = complete::members())]
    pub(crate) member: Vec<MemberName>,
    /// Keep printing new output
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Only lines of the last 90s, 10m, 2h or 1d
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    pub(crate) since: Option<u64>,
    /// Print the time of each line, in UTC
    #[arg(long)]
    pub(crate) timestamps: bool,
}

impl Logs {
    /// Whether no option selects or marks lines.
    pub(crate) fn shows_all_text(&self) -> bool {
        self.tail.is_none() && self.since.is_none() && !self.timestamps
    }
}

/// Parses `90s`, `10m`, `2h` or `1d`.
fn milliseconds(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let unit = match unit.trim() {
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("expected a number and a unit, such as 90s, 10m, 2h or 1d".into()),
    };
    let number = number.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "not a duration".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (typed, parsed) in [
            ("90s", 90_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(milliseconds(typed), Ok(parsed));
        }
        for typed in [
            "",
            "10",
            "m",
            "1.5h",
            "99999999999999999999d",
            "9999999999999999999s",
        ] {
            assert!(milliseconds(typed).is_err(), "{typed}");
        }
    }
}
