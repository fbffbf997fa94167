//! The roles that every team has: role files like any other, in `crates/team-file/roles/`.

use super::super::agent::Reader;
use super::{Layer, Role, file};
use agent_team_protocol::RoleName;

macro_rules! files {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../roles/", $name, ".md"))),)*]
    };
}

const FILES: &[(&str, &str)] = files![
    "architect",
    "build-fixer",
    "code-simplifier",
    "debugger",
    "deep-executor",
    "default",
    "document-specialist",
    "explorer",
    "lead",
    "planner",
    "quality-reviewer",
    "reviewer",
    "security-reviewer",
    "test-engineer",
    "worker",
];

pub(super) fn all(reader: Reader<'_>) -> impl Iterator<Item = (RoleName, Role)> {
    FILES.iter().filter_map(move |(name, text)| {
        let shown = format!("built-in role {name}");
        file::parse(&shown, name, text, Layer::BuiltIn, reader)
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::variables::Variables;
    use super::*;

    #[test]
    fn every_built_in_role_is_whole() {
        let (project, variables) = (std::path::Path::new("/"), Variables::new());
        let own = crate::own::Own::default();
        let reader = Reader {
            project,
            variables: Some(&variables),
            own: &own,
        };
        let roles: Vec<_> = all(reader).collect();
        assert_eq!(roles.len(), FILES.len());
        for ((name, role), (file, _)) in roles.iter().zip(FILES) {
            assert_eq!(name.as_str(), *file);
            assert_eq!(role.faults, [], "{name}");
            assert!(
                !role.description.is_empty() && !role.thinking.prompt.is_empty(),
                "{name}"
            );
        }
    }
}
