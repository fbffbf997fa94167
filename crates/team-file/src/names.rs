//! Names made from other texts.

use agent_team_protocol::TeamName;

/// Converts a directory name to a team name: `team` if it contains no letter from a to z.
pub(super) fn slug(text: &str) -> TeamName {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || (c.is_ascii_digit() && !slug.is_empty()) {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(agent_team_protocol::id::NAME_MAX);
    slug.trim_end_matches('-')
        .parse()
        .unwrap_or_else(|_| "team".parse().expect("`team` is a valid name"))
}
