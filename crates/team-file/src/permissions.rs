//! `[permissions]`: rules that hold members back. A file of the project may do that to everybody; what would let pass
//! something needs the person's trust first, and is not carried out yet.

use agent_team_policy::{Effect, Rule};
use agent_team_protocol::spec::{Permissions, milliseconds};

use super::later;
use super::source::Source;
use super::table::{At, Table};

pub(super) fn read(source: &Source<'_>, table: Option<Table<'_>>) -> Permissions {
    let Some(mut table) = table else {
        return Permissions::default();
    };
    let mut rules = |key, effect| -> Vec<String> {
        let found = table.strings(key).unwrap_or_default().into_iter();
        let fit = found.filter(|rule| is_carried_out(source, *rule, effect));
        fit.map(|rule| rule.value.to_owned()).collect()
    };
    let permissions = Permissions {
        ask: rules("ask", Effect::Ask),
        deny: rules("deny", Effect::Deny),
        expire_ms: table.amount("expire_minutes").map(milliseconds),
    };
    table.finish();
    permissions
}

/// Says what is wrong with a rule that is not.
fn is_carried_out(source: &Source<'_>, rule: At<&str>, effect: Effect) -> bool {
    match Rule::parse(rule.value, effect) {
        Ok(parsed) if parsed.is_about_commands_or_pages() => return true,
        Ok(_) => source.fault_with_hint(
            rule.at,
            later::sentence(rule.value),
            "rules about commands and pages are, such as Bash(git push:*)",
        ),
        Err(error) => source.fault(rule.at, error.to_string()),
    }
    false
}
