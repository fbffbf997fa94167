//! The user's own settings, as far as the supervisor goes by them: `config.toml` in the configuration directory.

use agent_team_store::Durability;
use agent_team_system::directories::Directories;
use anyhow::{Context, bail};

/// `durability = "power"` (the default) or `"process"`.
pub(crate) fn durability(directories: &Directories) -> anyhow::Result<Durability> {
    let file = directories.config.join("config.toml");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Durability::Power),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let table: toml::Table = text
        .parse()
        .with_context(|| format!("{} is not TOML", file.display()))?;
    match table.get("durability").map(toml::Value::as_str) {
        None | Some(Some("power")) => Ok(Durability::Power),
        Some(Some("process")) => Ok(Durability::Process),
        Some(_) => bail!("{}: durability is \"power\" or \"process\"", file.display()),
    }
}
