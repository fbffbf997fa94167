//! What tmux says of its panes, and how many fit into a window.

use agent_team_protocol::spec::Layout;

use super::call::Command;

pub(super) const TEAM_TAG: &str = "@agent_team_team";
pub(super) const MEMBER_TAG: &str = "@agent_team_member";
pub(super) const LAUNCH_TAG: &str = "@agent_team_launch";

/// One pane per line, as [`parse`] reads it. Tags hold no tabs: they are names and ids.
pub(super) const FORMAT: &str = "#{pane_id}\t#{pane_pid}\t#{window_id}\t#{session_id}\t#{@agent_team_team}\t#{@agent_team_member}";

/// A pane is at least this wide and high, its border included.
pub(super) const SMALLEST: (u16, u16) = (40, 7);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pane {
    pub(super) id: String,
    pub(super) pid: u32,
    pub(super) window: String,
    pub(super) session: String,
    /// Empty: it is not ours.
    pub(super) team: String,
    pub(super) member: String,
}

pub(super) fn list() -> Command {
    Command::new("list-panes").flag("-a").option("-F", FORMAT)
}

pub(super) fn show(pane: &str) -> Command {
    Command::new("display-message")
        .flag("-p")
        .option("-t", pane)
        .word(FORMAT)
}

/// Lines that are no panes are passed over.
pub(super) fn parse(text: &str) -> Vec<Pane> {
    let pane = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        Some(Pane {
            id: fields.next().filter(|id| id.starts_with('%'))?,
            pid: fields.next()?.parse().ok()?,
            window: fields.next()?,
            session: fields.next()?,
            team: fields.next().unwrap_or_default(),
            member: fields.next().unwrap_or_default(),
        })
    };
    text.lines().filter_map(pane).collect()
}

/// The window that was made last, with its panes in the order in which they were made.
pub(super) fn newest_window(ours: &[Pane]) -> Option<(&str, Vec<&Pane>)> {
    let number = |id: &str| id[1..].parse::<u64>().unwrap_or(0);
    let newest = ours
        .iter()
        .map(|pane| pane.window.as_str())
        .max_by_key(|window| number(window))?;
    let mut panes: Vec<&Pane> = ours.iter().filter(|pane| pane.window == newest).collect();
    panes.sort_by_key(|pane| number(&pane.id));
    Some((newest, panes))
}

/// How many panes a window of this size holds in this layout.
pub(super) fn room((columns, rows): (u16, u16), layout: Layout) -> usize {
    let across = usize::from((columns + 1) / (SMALLEST.0 + 1)).max(1);
    let down = usize::from(rows / SMALLEST.1).max(1);
    match layout {
        // One pane beside a column.
        Layout::MainVertical if across > 1 => 1 + down,
        Layout::MainVertical | Layout::EvenVertical => down,
        Layout::Tiled => across * down,
        Layout::EvenHorizontal => across,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_reads_back() {
        let text = "%0\t12\t@0\t$0\t\t\n%3\t13\t@1\t$0\tdemo-12345678\tada\nnoise\n";
        let panes = parse(text);
        assert_eq!(panes.len(), 2);
        assert_eq!((panes[0].team.as_str(), panes[0].pid), ("", 12));
        assert_eq!(
            (panes[1].member.as_str(), panes[1].window.as_str()),
            ("ada", "@1")
        );
    }

    #[test]
    fn the_newest_window_is_the_one_with_the_highest_number() {
        let text = "%12\t1\t@10\t$0\tt\ta\n%2\t1\t@9\t$0\tt\tb\n%9\t1\t@10\t$0\tt\tc\n";
        let panes = parse(text);
        let (window, inside) = newest_window(&panes).unwrap();
        assert_eq!(window, "@10");
        assert_eq!(
            inside
                .iter()
                .map(|pane| pane.id.as_str())
                .collect::<Vec<_>>(),
            ["%9", "%12"]
        );
    }

    #[test]
    fn no_pane_is_planned_below_the_smallest_size() {
        let room_of = |size| {
            [
                Layout::MainVertical,
                Layout::Tiled,
                Layout::EvenVertical,
                Layout::EvenHorizontal,
            ]
            .map(|layout| room(size, layout))
        };
        assert_eq!(room_of((81, 24)), [4, 6, 3, 2]);
        assert_eq!(room_of((200, 50)), [8, 28, 7, 4]);
        assert_eq!(room_of((10, 3)), [1, 1, 1, 1]);
    }
}
