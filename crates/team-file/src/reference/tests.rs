//! Compares the reference with the behaviour of the parser: keys, types, words, defaults and examples.

use toml::de::DeTable;

use super::roles::ROLE_FILE;
use super::settings::OVERRIDES;
use super::{DefaultValue, KeyInfo, Manual, SETTINGS, Section, TEAM_FILE, section};
use crate::agent::Reader;
use crate::overrides::{ITEMS, Key, Overrides};
use crate::role;
use crate::settings::STEPS;
use crate::unsupported::Level;
use crate::{Loaded, Reading, Variables, parse};

const LEVELS: [Level; 19] = [
    Level::Root,
    Level::Lead,
    Level::Member,
    Level::Defaults,
    Level::Limits,
    Level::Budget,
    Level::Delegate,
    Level::Panes,
    Level::Role,
    Level::Provider,
    Level::Task,
    Level::Hooks,
    Level::UserHooks,
    Level::Hook,
    Level::Notify,
    Level::Engine,
    Level::Permissions,
    Level::McpServer,
    Level::Search,
];

/// A project with the directory `web`.
fn project() -> tempfile::TempDir {
    let project = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(project.path().join("web")).unwrap();
    project
}

fn load(text: &str) -> Result<Loaded, String> {
    let project = project();
    let project = project.path().canonicalize().unwrap();
    // The file that the example of `ca` names.
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    std::fs::write(project.join("gateway.pem"), certificate).unwrap();
    let reading = Reading {
        here: &project,
        settings: None,
        variables: Some(&Variables::new()),
        overrides: None,
    };
    parse("team.toml", text, &project, reading).map_err(|faults| {
        let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// The lines of a file before and after the lines of a table, such as its required keys.
struct Surroundings {
    before: &'static str,
    after: &'static str,
}

/// The lines that make a file with this key valid.
fn surroundings(level: Level, key: &str) -> Surroundings {
    let around = |before, after| Surroundings { before, after };
    let ada = "\n[[member]]\nname = \"ada\"\nengine = \"native\"\n";
    match (level, key) {
        (Level::Root, "max_rounds" | "coordinator_prompt") => {
            around("mode = \"coordinator\"\n", ada)
        }
        (Level::Root, "mode") => around("", ada),
        (Level::Root, "member") => around("", "name = \"ada\"\n"),
        (Level::Root, "task") => around(
            "[defaults]\nengine = \"command\"\n[[member]]\nname = \"ada\"\n",
            "title = \"Test\"\n",
        ),
        (Level::Root, "mcp") => around("", "command = \"server\"\n"),
        (Level::Root, "search") => around("", "api = \"none\"\n"),
        (Level::Root, _) => around("", ""),
        (Level::Lead, "engine") => around("[lead]\n", ""),
        (Level::Lead, _) => around("[lead]\nengine = \"native\"\n", ""),
        (Level::Member, "name") => around("[[member]]\n", ""),
        (Level::Member, "engine") => around("[[member]]\nname = \"ada\"\n", ""),
        (Level::Member, _) => around("[[member]]\nname = \"ada\"\nengine = \"native\"\n", ""),
        (Level::Budget, _) => around("[[member]]\nname = \"ada\"\n[member.limits]\n", ""),
        (Level::Delegate, _) => around(
            "[[member]]\nname = \"ada\"\nengine = \"native\"\n[member.delegate]\n",
            "",
        ),
        (Level::Defaults, "engine") => around("[defaults]\n", ""),
        (Level::Defaults, _) => around("[defaults]\n", ada),
        (Level::Limits, _) => around("[limits]\n", ""),
        (Level::Panes, _) => around("[panes]\n", ada),
        (Level::Role, _) => around(
            "[[member]]\nname = \"ada\"\nrole = \"builder\"\n[roles.builder]\n",
            "",
        ),
        (Level::Provider, _) => around("[providers.openai]\n", ""),
        (Level::Task, "title") => around("[[member]]\nname = \"ada\"\n[[task]]\n", ""),
        (Level::Task, _) => around(
            "[[member]]\nname = \"ada\"\n[[task]]\ntitle = \"Build\"\n[[task]]\ntitle = \"Test\"\n",
            "",
        ),
        (Level::Hooks | Level::UserHooks, _) => around("[hooks]\n", ""),
        (Level::Hook, "run") => around("[[hooks.pre_tool]]\n", ""),
        (Level::Hook, _) => around("[[hooks.pre_tool]]\nrun = \"true\"\n", ""),
        (Level::Notify, _) => around("[notify]\n", ""),
        (Level::Engine, _) => around("[[member]]\nname = \"ada\"\n[member.engine]\n", ""),
        (Level::Permissions, _) => around("[permissions]\n", ""),
        (Level::McpServer, "command" | "url") => around("[mcp.github]\n", ""),
        (Level::McpServer, "headers") => {
            around("[mcp.github]\nurl = \"https://mcp.example\"\n", "")
        }
        (Level::McpServer, _) => around("[mcp.github]\ncommand = \"server\"\n", ""),
        (Level::Search, "api") => around("[search]\n", "url = \"http://127.0.0.1:8888\"\n"),
        (Level::Search, "key") => around("[search]\napi = \"brave\"\n", ""),
        (Level::Search, _) => around("[search]\napi = \"searxng\"\n", ""),
        (Level::Roles | Level::Providers | Level::Mcp, _) => unreachable!("tables of names"),
    }
}

fn with(level: Level, key: &str, lines: &str) -> String {
    let Surroundings { before, after } = surroundings(level, key);
    format!("{before}{lines}\n{after}")
}

fn keys() -> impl Iterator<Item = (Level, &'static KeyInfo)> {
    LEVELS.into_iter().flat_map(|level| {
        let section = section(level).expect("the table has a section");
        section.keys().map(move |info| (level, info))
    })
}

#[test]
fn each_example_is_valid() {
    for (level, info) in keys() {
        let text = with(level, info.name, info.example);
        if let Err(faults) = load(&text) {
            panic!("{level:?} {}: {faults}\n{text}", info.name);
        }
    }
}

#[test]
fn each_stated_type_is_the_required_type() {
    for (level, info) in keys() {
        let lines = format!("{} = 1979-05-27", info.name);
        // In the root, the other keys of the surroundings would be lines of the wrong table.
        let text = if level == Level::Root {
            lines
        } else {
            with(level, info.name, &lines)
        };
        let faults = load(&text).expect_err("a date is of the wrong type");
        let kind = if info.words().is_empty() {
            info.kind.to_string()
        } else {
            "string".to_owned()
        };
        let fault = faults.lines().find(|fault| fault.contains("not a date"));
        let is_stated = fault.is_some_and(|fault| {
            let begin = format!("`{}` must be ", info.name);
            let stated = fault.split_once(&begin).map_or("", |(_, stated)| stated);
            let stated = stated.strip_prefix("a ").unwrap_or(stated);
            stated.starts_with(&format!("{kind},"))
        });
        assert!(
            is_stated,
            "{level:?} {} is not a {kind}: {faults}",
            info.name
        );
    }
}

#[test]
fn each_stated_default_applies() {
    let mut compared = 0;
    for (level, info) in keys() {
        let DefaultValue::Is(value) = info.default else {
            continue;
        };
        let set = with(level, info.name, &format!("{} = {value}", info.name));
        let unset = with(level, info.name, "");
        let spec = |text: &str| {
            let spec = load(text).map(|loaded| loaded.spec);
            let mut spec = spec.unwrap_or_else(|faults| panic!("{text}{faults}"));
            // Each load has its own directory, whose name is the default name of the team.
            let project = spec.project.display().to_string();
            spec.name = "team".parse().unwrap();
            format!("{spec:#?}").replace(&project, "PROJECT")
        };
        assert_eq!(
            spec(&set),
            spec(&unset),
            "{level:?} {} = {value}",
            info.name
        );
        compared += 1;
    }
    assert!(compared > 20, "only {compared} defaults were compared");
    let steps = super::team_file::DEFAULTS.keys();
    let mut steps = steps.filter(|info| info.name == "max_steps");
    let text = steps.next().and_then(|info| info.default.text());
    assert_eq!(text, Some(STEPS.0));
}

#[test]
fn each_listed_word_is_accepted() {
    for (level, info) in keys() {
        for word in info.words() {
            let text = with(level, info.name, &format!("{} = \"{word}\"", info.name));
            let faults = load(&text).err().unwrap_or_default();
            assert!(!faults.contains("not a valid value"), "{text}{faults}");
        }
    }
}

#[test]
fn each_key_of_a_role_file_is_accepted() {
    let directory = project();
    let (variables, overrides) = (Variables::new(), Overrides::default());
    let reader = Reader {
        project: directory.path(),
        variables: Some(&variables),
        overrides: &overrides,
    };
    for info in ROLE_FILE.keys() {
        let text = format!("---\n{}\n---\nPrompt\n", info.example);
        let faults = role::faults_of_file(&text, reader);
        assert_eq!(faults, [], "{text}");
        let name: String = info.name.chars().rev().collect();
        let faults = role::faults_of_file(&text.replacen(info.name, &name, 1), reader);
        assert!(!faults.is_empty(), "{name}");
    }
}

#[test]
fn each_setting_of_config_set_is_described() {
    for (item, _) in ITEMS {
        assert!(OVERRIDES.describes(item), "{item}");
    }
    for info in OVERRIDES.keys() {
        let command = info.example.strip_prefix("agent-team config set ");
        let (key, value) = command.and_then(|it| it.split_once(' ')).unwrap();
        let pattern = info.name.split_once(".<name>.");
        let is_example = match pattern {
            Some((before, after)) => key.starts_with(before) && key.ends_with(after),
            None => key.ends_with(info.name),
        };
        assert!(is_example, "{key} is not an example of {}", info.name);
        let key: Key = key.parse().unwrap();
        key.check(value).unwrap();
    }
}

#[test]
fn descriptions_are_complete_sentences() {
    let of = |manual: &'static Manual| manual.sections.iter().copied();
    let sections: Vec<&Section> = of(&TEAM_FILE).chain(of(&SETTINGS)).collect();
    for section in sections {
        assert!(section.summary.ends_with('.'), "{}", section.heading);
        for info in section.keys() {
            assert!(info.summary.ends_with('.'), "{}", info.name);
            assert!(!info.summary.contains('|'), "{}", info.name);
        }
    }
    for (level, _) in keys() {
        let heading = section(level).map(|section| section.heading);
        let mut shown = TEAM_FILE.sections.iter().map(|section| section.heading);
        assert!(shown.any(|shown| Some(shown) == heading), "{level:?}");
    }
    assert!(load(TEAM_FILE.example).is_ok());
    assert!(DeTable::parse(SETTINGS.example).is_ok());
}
