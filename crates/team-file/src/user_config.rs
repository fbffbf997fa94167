//! Reads one value of the user's `config.toml`. Called by the readers of values that a team file can have too.

use std::path::Path;

use toml::de::DeTable;

use super::source::{Fault, Source};
use super::table::Table;
use super::unsupported::Level;

/// Reads a value with `read`, from the file in the directory `settings`. Ignores a file that cannot be read or parsed:
/// the supervisor refuses to start with it and reports the reason.
pub(super) fn read<T>(
    settings: &Path,
    read: impl FnOnce(&Source<'_>, &mut Table<'_>) -> Option<T>,
) -> Result<Option<T>, Vec<Fault>> {
    let file = settings.join("config.toml");
    let Ok(text) = super::open::read_text(&file) else {
        return Ok(None);
    };
    let shown = file.display().to_string();
    let source = Source::new(&*shown, &text);
    let Ok(document) = DeTable::parse(&text) else {
        return Ok(None);
    };
    let mut root = Table::new(&source, document.get_ref(), Level::Root, 0);
    let value = read(&source, &mut root);
    match source.take_faults() {
        faults if faults.is_empty() => Ok(value),
        faults => Err(faults),
    }
}
