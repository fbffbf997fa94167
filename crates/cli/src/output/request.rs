//! Permission requests as people see them, in short.

use agent_team_protocol::request::RequestView;
use agent_team_protocol::text::visible_line;

/// The tool and what it is given, on one line; of a plan how it begins.
pub(crate) fn what(view: &RequestView) -> String {
    let input: serde_json::Value = serde_json::from_str(view.input.get()).unwrap_or_default();
    if let Some(number) = view.plan {
        let plan = input["text"].as_str().unwrap_or_default();
        let mut lines = plan.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default();
        let more = match lines.count() {
            0 => String::new(),
            more => format!(" (+{more} lines)"),
        };
        return format!("plan {number}: {}{more}", visible_line(first));
    }
    let told = match input["command"].as_str() {
        Some(command) => command.to_owned(),
        // Of a change the whole is in `requests show`.
        None if input["diff"].is_string() => input["path"].as_str().unwrap_or_default().to_owned(),
        None => input.to_string(),
    };
    visible_line(&format!("{}: {told}", view.tool)).into_owned()
}
