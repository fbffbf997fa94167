//! `cargo xtask pictures`: makes the SVG pictures of the documentation from real runs of the demo team in a real tmux.
//!
//! ```text
//!   scenes.rs         the runs, and the moments at which a picture is taken
//!   stage.rs          a team, and the terminals that show it
//!   screen.rs         the cells of a terminal, without what differs between two runs
//!   svg.rs            draws cells
//!   picture_files.rs  writes pictures, or compares them with the stored ones
//! ```
//! `--check` makes the pictures again and fails if a picture differs from the stored one. The pictures need bubblewrap:
//! without bubblewrap, the agents use another sandbox, and their panes show the name of that sandbox.

mod picture_files;
mod scenes;
mod screen;
mod stage;
mod svg;

use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};

use self::picture_files::PictureFiles;
use self::scenes::SIZES;
use self::svg::Theme;
use crate::demo;
use crate::test;

/// How many scenes run at the same time.
const SCENES: usize = 2;

type Scene = Box<dyn FnOnce() -> Result<()> + Send>;

/// Makes the pictures, or compares them with the stored ones.
pub(crate) fn run(is_check: bool) -> Result<()> {
    for package in ["tmux", "bubblewrap"] {
        test::install(package)?;
        if !test::is_installed(package) {
            println!("   skipped: {package} is not installed");
            return Ok(());
        }
    }
    demo::build()?;
    let files = match is_check {
        true => PictureFiles::Compare,
        false => PictureFiles::Write,
    };
    let mut scenes: Vec<Scene> = vec![Box::new(move || scenes::hosted(&files))];
    for theme in Theme::ALL {
        for size in SIZES {
            scenes.push(Box::new(move || scenes::commands(&files, size, theme)));
            scenes.push(Box::new(move || scenes::agents(&files, size, theme)));
        }
    }
    run_scenes(scenes)?;
    if is_check {
        println!("   the pictures are up to date");
    }
    Ok(())
}

/// Runs the scenes, the last one first. After a failure no further scene starts.
fn run_scenes(scenes: Vec<Scene>) -> Result<()> {
    let scenes = Mutex::new(scenes);
    let remaining = || scenes.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        loop {
            let Some(scene) = remaining().pop() else {
                return Ok(());
            };
            if let Err(error) = scene() {
                remaining().clear();
                return Err(error);
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..SCENES).map(|_| scope.spawn(run)).collect();
        let outcomes = threads.into_iter().map(thread::ScopedJoinHandle::join);
        let outcomes: Vec<_> = outcomes.collect();
        for outcome in outcomes {
            outcome
                .ok()
                .context("a thread of the pictures panicked")??;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::run::root;

    /// All pictures together.
    const MAX_BYTES: u64 = 1_500_000;

    /// The stored pictures below this directory, as the pages name them.
    fn stored(directory: &Path, prefix: &str) -> Vec<(String, u64)> {
        let mut pictures = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => pictures.extend(stored(&entry.path(), &format!("{name}/"))),
                false => pictures.push((name, entry.metadata().unwrap().len())),
            }
        }
        pictures
    }

    /// The pictures that a page names.
    fn named(page: &str) -> BTreeSet<String> {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let names = text.split("pictures/").skip(1);
        let names = names.filter_map(|rest| rest.split_once(".svg"));
        names.map(|(name, _)| format!("{name}.svg")).collect()
    }

    #[test]
    fn the_documentation_shows_every_picture() {
        let stored = stored(&picture_files::directory(), "").into_iter();
        let stored: BTreeSet<_> = stored.map(|(name, _)| name).collect();
        assert_eq!(named("docs/screens.md"), stored);
        for page in [
            "README.md",
            "docs/guide/panes.md",
            "docs/guide/permissions.md",
        ] {
            let missing: Vec<_> = named(page).difference(&stored).cloned().collect();
            assert_eq!(missing, Vec::<String>::new(), "{page}");
        }
    }

    #[test]
    fn the_pictures_are_small() {
        let bytes: u64 = stored(&picture_files::directory(), "")
            .iter()
            .map(|(_, bytes)| bytes)
            .sum();
        assert!(bytes < MAX_BYTES, "{bytes} bytes");
    }
}
