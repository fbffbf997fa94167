//! Generates the pages of the team file and of the user's settings. Called by `super`.

use agent_team_file::reference::{DefaultValue, KeyInfo, Manual, Section};

use super::cell::cell;

pub(super) fn page(manual: &Manual, title: &str) -> String {
    let mut page = format!("# {title}\n\n");
    for paragraph in manual.paragraphs {
        page.push_str(&format!("{paragraph}\n\n"));
    }
    page.push_str(&format!(
        "`agent-team man {}` prints this page in the terminal.\n\n```toml\n{}```\n",
        manual.name, manual.example
    ));
    page.extend(manual.sections.iter().copied().map(section));
    page
}

fn section(section: &Section) -> String {
    let heading = match section.heading.starts_with('[') {
        true => format!("`{}`", section.heading),
        false => section.heading.to_owned(),
    };
    let rows: String = section.keys().map(row).collect();
    format!(
        "\n## {heading}\n\n{}\n\n| key | type | default | meaning | example |\n|---|---|---|---|---|\n{rows}",
        section.summary
    )
}

fn row(info: &KeyInfo) -> String {
    let name = match info.alias {
        Some(alias) => format!("`{}`, `{alias}`", info.name),
        None => format!("`{}`", info.name),
    };
    let words = info.words();
    let kind = match words.is_empty() {
        true => info.kind.to_string(),
        false => format!("`{}`", words.join("`, `")),
    };
    let default = match info.default {
        DefaultValue::Is(value) => format!("`{value}`"),
        other @ (DefaultValue::Required | DefaultValue::Unset | DefaultValue::Depends(_)) => {
            other.text().unwrap_or_default().to_owned()
        }
    };
    let columns = [
        name,
        kind,
        default,
        info.summary.to_owned(),
        format!("`{}`", info.example),
    ];
    format!("| {} |\n", columns.map(|text| cell(&text)).join(" | "))
}
