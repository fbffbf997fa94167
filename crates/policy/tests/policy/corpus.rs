//! The corpus of permission decisions, and the fuzz targets that start from it.

mod cases;
mod fuzz;

use agent_team_policy::{Rule, RuleKind};

use self::cases::{JUDGED, RULES, call, judged};

#[test]
fn corpus_cases_get_their_ruling() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in &JUDGED {
        for (set, cases) in file.sets() {
            let book = set.book();
            for case in cases {
                count += 1;
                let call = call(&set.tool, &case.argument);
                let decision = judged(&book, set.mode, &call);
                let shown = decision.to_string();
                let reason = case.reason.as_deref().unwrap_or_default();
                if decision.ruling.name() != case.expected || !shown.contains(reason) {
                    wrong.push(format!(
                        "{}:{} [{}] {:?}\n  expected {} {reason}\n  decided  {shown}",
                        file.name, case.line, set.title, case.argument, case.expected,
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} of {count}",
        wrong.join("\n\n"),
        wrong.len()
    );
    assert!(count > 700, "only {count} cases were read");
}

#[test]
fn corpus_rules_parse_as_expected() {
    let mut wrong = Vec::new();
    for (set, cases) in RULES.sets() {
        let kind = match set.tool.as_str() {
            "allow" => RuleKind::Allow,
            "deny" => RuleKind::Deny,
            tool => panic!("no effect: {tool}"),
        };
        for case in cases {
            let reason = case.reason.as_deref().unwrap_or_default();
            let line = case.line;
            match (Rule::parse(&case.argument, kind), case.expected.as_str()) {
                (Ok(_), "ok") => {}
                (Err(error), "bad") if error.to_string().contains(reason) => {}
                (result, _) => {
                    wrong.push(format!("rules.txt:{line} {:?}: {result:?}", case.argument))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
