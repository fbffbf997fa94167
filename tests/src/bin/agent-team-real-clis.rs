//! `cargo xtask test real-clis`: see [`agent_team_tests::real_clis`]. Exits with 1 when a check fails.
#![expect(clippy::print_stdout, reason = "a command's output is its purpose")]

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use agent_team_tests::real_clis::{self, CLIS, Cli};
use anyhow::{Context as _, Result, ensure};
use clap::Parser;

/// Run a scripted team on the real agents of other vendors, and write the table of results.
#[derive(Parser)]
#[command(name = "cargo xtask test real-clis")]
struct Arguments {
    /// The directory into which the packages are installed.
    #[arg(long)]
    packages: PathBuf,
    /// The page with the table. It is written only if all agents have run.
    #[arg(long)]
    page: PathBuf,
    /// The directory of the pinned schemas.
    #[arg(long)]
    schemas: PathBuf,
    /// Run only these agents.
    only: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let is_chosen = |cli: &&Cli| {
        arguments.only.is_empty() || arguments.only.iter().any(|word| word == cli.word)
    };
    let mut installed = Vec::new();
    for cli in CLIS.iter().filter(is_chosen) {
        match install(cli, &arguments.packages) {
            Ok(programs) => installed.push((cli, programs)),
            Err(error) => println!("   skipped {}: {error:#}", cli.word),
        }
    }
    if installed.is_empty() {
        println!("   skipped: no agent is installed");
        return Ok(ExitCode::SUCCESS);
    }
    for (cli, programs) in &installed {
        let program = programs.join(cli.program);
        let file = |name: &str| arguments.schemas.join(name);
        match cli.word {
            "codex" => real_clis::write_codex(&program, cli.version(), &file("codex.json"))?,
            "opencode" => {
                real_clis::write_opencode(&program, cli.version(), &file("opencode.json"))?;
            }
            _ => {}
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rows = runtime.block_on(real_clis::run(&installed));
    for row in &rows {
        println!("{}", row.line());
    }
    if rows.len() == CLIS.len() {
        let date = Command::new("date").args(["-u", "+%F"]).output()?;
        let date = String::from_utf8(date.stdout)?;
        real_clis::write(&arguments.page, &rows, date.trim())?;
    }
    match rows.iter().all(real_clis::Row::is_good) {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

/// Installs the package, unless this version is installed already. Returns the directory of its programs.
fn install(cli: &Cli, packages: &std::path::Path) -> Result<PathBuf> {
    let package = cli.package().rsplit('/').next().unwrap_or_default();
    let directory = packages.join(format!("{package}-{}", cli.version()));
    let programs = directory.join("node_modules/.bin");
    if programs.join(cli.program).exists() {
        return Ok(programs);
    }
    let names = cli.packages();
    println!("   installing {}", names.join(" "));
    std::fs::create_dir_all(&directory)?;
    let npm = Command::new("npm")
        .args([
            "install",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
            "--prefix",
        ])
        .arg(&directory)
        .args(names)
        .current_dir(&directory)
        .output()
        .context("cannot run npm")?;
    let errors = String::from_utf8_lossy(&npm.stderr);
    ensure!(
        npm.status.success(),
        "npm cannot install the package: {}",
        errors.trim()
    );
    ensure!(
        programs.join(cli.program).exists(),
        "the package has no program {}",
        cli.program
    );
    Ok(programs)
}
