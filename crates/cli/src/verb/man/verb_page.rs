//! The manual pages of section 1: one for the program and one for each verb. clap renders most sections; the synopsis
//! is the usage line of `--help`, because clap's own synopsis does not name the values of options.

use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::args::Cli;

const SOURCE: &str = concat!("agent-team ", env!("CARGO_PKG_VERSION"));

/// The page of the program, in roff.
pub(super) fn program() -> io::Result<Vec<u8>> {
    page(&command(), &[])
}

/// The names and the texts of all pages.
pub(super) fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    add_pages(&command(), &mut Vec::new(), &mut pages)?;
    Ok(pages)
}

fn command() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

/// `above`: the names of the pages of the program and of the verbs that contain this verb.
fn add_pages(
    command: &Command,
    above: &mut Vec<String>,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> io::Result<()> {
    pages.push((name(command), page(command, above)?));
    above.push(name(command));
    for verb in command.get_subcommands() {
        add_pages(verb, above, pages)?;
    }
    above.pop();
    Ok(())
}

/// `agent-team-task-add`
fn name(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command, above: &[String]) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .source(SOURCE)
        .manual("agent-team manual");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    section("SYNOPSIS", usage.trim(), &mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let after = command.get_after_help().map(ToString::to_string);
    if let Some(after) = after {
        match after.strip_prefix("Examples:\n") {
            Some(examples) => section("EXAMPLES", examples, &mut page)?,
            None => section("NOTES", &after, &mut page)?,
        }
    }
    let verbs = command.get_subcommands().map(name);
    let related = above.iter().cloned().chain(verbs);
    let mut related: Vec<_> = related.map(|page| format!("{page}(1)")).collect();
    related.push("agent-team.toml(5), agent-team-config(5)".to_owned());
    let mut see_also = Roff::new();
    see_also.control("SH", ["SEE ALSO"]);
    see_also.text([roman(related.join(", "))]);
    see_also.to_writer(&mut page)?;
    Ok(page)
}

/// A section whose lines are not filled.
fn section(heading: &str, text: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let mut section = Roff::new();
    section.control("SH", [heading]);
    section.control("nf", []);
    for line in text.lines() {
        section.text([roman(line)]);
    }
    section.control("fi", []);
    section.to_writer(page)
}
