//! `man`: prints a manual page, or writes all pages to a directory: one per verb in section 1, and the pages of the
//! team file and of the user's settings in section 5.

mod file_format;
mod verb_page;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_team_file::reference::{Manual, SETTINGS, TEAM_FILE};
use serde::Serialize;

use crate::error::Failure;
use crate::output::{Output, text};

/// The manuals of section 5.
const MANUALS: [&Manual; 2] = [&TEAM_FILE, &SETTINGS];

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ManualPage {
    page: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WrittenPages<'a> {
    directory: &'a Path,
}

pub(super) fn run(
    output: Output,
    page: Option<&str>,
    directory: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    let manual = MANUALS.into_iter().find(|it| Some(it.name) == page);
    match directory {
        Some(directory) => write(output, &directory),
        None => print(output, manual),
    }
}

/// Prints a page of section 5, or else the page of the program.
fn print(output: Output, manual: Option<&Manual>) -> Result<ExitCode, Failure> {
    let page = match manual {
        Some(manual) => file_format::page(manual).into_bytes(),
        None => verb_page::program().map_err(|error| Failure::output(&error))?,
    };
    let document = ManualPage {
        page: String::from_utf8_lossy(&page).into_owned(),
    };
    output.show(&document, || document.page.clone())?;
    Ok(ExitCode::SUCCESS)
}

fn write(output: Output, directory: &Path) -> Result<ExitCode, Failure> {
    let written = std::fs::create_dir_all(directory)
        .and_then(|()| verb_page::pages())
        .and_then(|pages| {
            pages.iter().try_for_each(|(name, page)| {
                std::fs::write(directory.join(format!("{name}.1")), page)
            })
        })
        .and_then(|()| {
            MANUALS.iter().try_for_each(|manual| {
                let file = directory.join(manual.name).with_added_extension("5");
                std::fs::write(file, file_format::page(manual))
            })
        });
    written
        .map_err(|error| Failure::io(format!("cannot write {}", directory.display()), &error))?;
    let shown = text::line(&directory.to_string_lossy());
    output.show(&WrittenPages { directory }, || {
        format!("wrote the manual pages to {shown}\n")
    })?;
    Ok(ExitCode::SUCCESS)
}
