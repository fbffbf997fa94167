//! Formats a tool call as one line, and its result as one line. Called by the worker of an agent; pure.

use agent_team_protocol::request::PROPOSE_PLAN;
use agent_team_protocol::text::visible_label;
use serde_json::Value;

/// The maximum number of characters that a line shows of a call's arguments, or of the first line of its result.
const SHOWN: usize = 120;

/// Tools that change one file. Besides the path, their arguments are the text of the change, which the view shows as a
/// diff.
const CHANGES: [&str; 2] = ["edit", "write"];

/// The calls whose text the view shows as an answer or a plan, each with the argument that contains this text.
const TEXTS: [(&str, &str); 2] = [("finish", "answer"), (PROPOSE_PLAN, "text")];

/// The line for a call. `input`: its arguments as JSON.
pub fn header(tool: &str, input: &str) -> String {
    if CHANGES.contains(&tool)
        && let Ok(input) = serde_json::from_str::<Value>(input)
        && let Some(path) = input["path"].as_str()
    {
        return format!("● {tool} {}", visible_label(path, SHOWN));
    }
    if let Some((_, text)) = TEXTS.iter().find(|(name, _)| *name == tool)
        && let Ok(Value::Object(mut arguments)) = serde_json::from_str(input)
        && arguments.remove(*text).is_some()
    {
        return match arguments.is_empty() {
            true => format!("● {tool}"),
            false => format!(
                "● {}",
                with_arguments(tool, &Value::Object(arguments).to_string())
            ),
        };
    }
    format!("● {}", with_arguments(tool, input))
}

/// A call with its arguments, on one line.
pub fn with_arguments(tool: &str, input: &str) -> String {
    let arguments = match serde_json::from_str(input) {
        Ok(Value::Object(arguments)) => {
            let argument = |(name, value): (String, Value)| match value.as_str() {
                Some(text) => format!("{name}: {text}"),
                None => format!("{name}: {value}"),
            };
            let mut arguments: Vec<String> = arguments.into_iter().map(argument).collect();
            // Short arguments usually identify the object of the call, so show them first; long arguments may be cut.
            arguments.sort_by_key(String::len);
            arguments.join(", ")
        }
        Ok(_) | Err(_) => input.to_owned(),
    };
    format!("{tool}({})", visible_label(&arguments, SHOWN))
}

/// The line for a call's result.
pub fn first_line(text: &str, failed: bool) -> String {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty()).unwrap_or("done");
    // Replace tabs: the view would show them as escapes.
    let first = first.replace('\t', "  ");
    let sign = if failed { "✗" } else { "⎿" };
    let mut line = format!("  {sign} {}", visible_label(&first, SHOWN));
    let more = text.lines().count().saturating_sub(1);
    if more > 0 {
        let lines = if more == 1 { "line" } else { "lines" };
        line.push_str(&format!(" (+{more} {lines})"));
    }
    line
}

/// Returns whether a result contains more than its first line shows.
pub fn has_more(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().map_or("", str::trim);
    lines.next().is_some() || first.chars().count() > SHOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_shown_by_its_first_line() {
        assert_eq!(
            first_line("\n     1\t//! Counts.\n     2\tuse std;\n", false),
            "  ⎿ 1  //! Counts. (+2 lines)"
        );
        assert_eq!(first_line("it hangs\nwait", true), "  ✗ it hangs (+1 line)");
        assert_eq!(first_line("", false), "  ⎿ done");
    }

    #[test]
    fn a_text_shown_elsewhere_is_not_in_the_line_of_its_call() {
        let plan = r###"{"text": "## Plan\n1. Read"}"###;
        assert_eq!(header("propose_plan", plan), "● propose_plan");
        assert_eq!(header("finish", r#"{"answer": "It works."}"#), "● finish");
        let forced = r#"{"answer": "It works.", "force": true}"#;
        assert_eq!(header("finish", forced), "● finish(force: true)");
        assert_eq!(header("finish", "{\"answer\""), "● finish({\"answer\")");
    }

    #[test]
    fn a_short_result_is_shown_completely() {
        assert!(!has_more("\n  done\n\n"));
        assert!(!has_more(""));
        assert!(has_more("one\ntwo"));
        assert!(has_more(&"x".repeat(SHOWN + 1)));
    }

    #[test]
    fn all_arguments_are_on_one_line_short_ones_first() {
        let input = r#"{"content": "//! A\ntest.", "path": "a.rs"}"#;
        assert_eq!(
            with_arguments("write", input),
            "write(path: a.rs, content: //! A\\ntest.)"
        );
        assert_eq!(header("read", r#"{"path": "a.rs"}"#), "● read(path: a.rs)");
        assert_eq!(header("write", input), "● write a.rs");
        assert_eq!(
            header("write", "{\"path\": \"a\\u001b\\n● b\"}"),
            "● write a\\e\\n● b"
        );
    }
}
