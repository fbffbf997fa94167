//! A manual page of section 5, from the reference of the keys in `agent_team_file::reference`.

use agent_team_file::reference::{DefaultValue, KeyInfo, Manual, Section};
use clap_mangen::roff::{Inline, Roff, bold, roman};

/// The page in roff.
pub(super) fn page(manual: &Manual) -> String {
    let mut page = Roff::new();
    let source = concat!("agent-team ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [manual.name, "5", "", source]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{} - {}", manual.name, manual.summary))]);
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in manual.paragraphs {
        page.control("PP", []);
        page.text(inlines(paragraph));
    }
    page.control("SH", ["EXAMPLE"]);
    page.control("nf", []);
    for line in manual.example.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
    for section in manual.sections {
        add_section(&mut page, section);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(
        "agent-team(1), agent-team.toml(5), agent-team-config(5)",
    )]);
    page.to_roff()
}

fn add_section(page: &mut Roff, section: &Section) {
    page.control("SH", [section.heading]);
    page.text(inlines(section.summary));
    for info in section.keys() {
        page.control("TP", []);
        page.text([bold(info.name), roman(format!(" ({})", info.kind))]);
        page.text(inlines(info.summary));
        for line in details(info) {
            page.control("br", []);
            page.text(inlines(&line));
        }
    }
}

/// The other spelling, the accepted values, the default and the example of a key.
fn details(info: &KeyInfo) -> Vec<String> {
    let alias = info.alias.map(|alias| format!("Also written `{alias}`."));
    let words = info.words();
    let words = (!words.is_empty()).then(|| format!("Values: `{}`.", words.join("`, `")));
    let default = match info.default {
        DefaultValue::Is(value) => Some(format!("Default: `{value}`.")),
        DefaultValue::Required => Some("Required.".to_owned()),
        DefaultValue::Depends(text) => Some(format!("Default: {text}.")),
        DefaultValue::Unset => None,
    };
    let example = Some(format!("Example: `{}`", info.example));
    [alias, words, default, example]
        .into_iter()
        .flatten()
        .collect()
}

/// Text between backquotes becomes bold.
fn inlines(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(index, part)| match index % 2 {
            0 => roman(part),
            _ => bold(part),
        })
        .collect()
}
