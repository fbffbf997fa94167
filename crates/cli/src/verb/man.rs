//! `man`: prints the manual page, or writes one page per verb to a directory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;
use serde::Serialize;

use crate::args::Cli;
use crate::error::Failure;
use crate::output::{Output, text};

pub(super) fn run(output: Output, directory: Option<PathBuf>) -> Result<ExitCode, Failure> {
    match directory {
        Some(directory) => write(output, &directory),
        None => print(output),
    }
}

fn print(output: Output) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct ManualPage {
        page: String,
    }
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
    rendered.map_err(|error| Failure::output(&error))?;
    let document = ManualPage {
        page: String::from_utf8_lossy(&page).into_owned(),
    };
    output.show(&document, || document.page.clone())?;
    Ok(ExitCode::SUCCESS)
}

fn write(output: Output, directory: &Path) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct WrittenPages<'a> {
        directory: &'a Path,
    }
    let written = std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    written
        .map_err(|error| Failure::io(format!("cannot write {}", directory.display()), &error))?;
    let shown = text::line(&directory.to_string_lossy());
    output.show(&WrittenPages { directory }, || {
        format!("wrote the manual pages to {shown}\n")
    })?;
    Ok(ExitCode::SUCCESS)
}
