//! The built-in roles, from the role files in `crates/team-file/roles/`.

use super::super::agent::Reader;
use super::definition::{Layer, Role};
use super::file;
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
    fn built_in_roles_have_no_faults_and_are_complete() {
        let (project, variables) = (std::path::Path::new("/"), Variables::new());
        let overrides = crate::overrides::Overrides::default();
        let reader = Reader {
            project,
            variables: Some(&variables),
            overrides: &overrides,
        };
        let roles: Vec<_> = all(reader).collect();
        assert_eq!(roles.len(), FILES.len());
        for ((name, role), (file, _)) in roles.iter().zip(FILES) {
            assert_eq!(name.as_str(), *file);
            assert_eq!(role.faults, [], "{name}");
            assert!(
                !role.description.is_empty() && !role.agent_keys.prompt.is_empty(),
                "{name}"
            );
        }
    }
}
