//! Permission requests as people see them, in short.

use agent_team_protocol::request::RequestView;
use agent_team_protocol::text::visible_line;

/// The tool and what it is given, on one line.
pub(crate) fn what(view: &RequestView) -> String {
    let input: serde_json::Value = serde_json::from_str(view.input.get()).unwrap_or_default();
    let told = match input["command"].as_str() {
        Some(command) => command.to_owned(),
        None => input.to_string(),
    };
    visible_line(&format!("{}: {told}", view.tool)).into_owned()
}
