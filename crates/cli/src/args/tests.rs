//! The definition of the command line: help, conflicts and the texts that name commands.

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::{RequestId, Revision, TaskId};
use clap::CommandFactory;

use super::*;

#[test]
fn the_clap_definition_is_valid() {
    Cli::command().debug_assert();
}

/// Each argument of the command and of its verbs that has no help, with its verb.
fn without_help(command: &clap::Command, into: &mut Vec<String>) {
    let arguments = command.get_arguments();
    let silent = arguments.filter(|it| it.get_help().is_none() && it.get_long_help().is_none());
    let verb = command.get_name();
    into.extend(silent.map(|argument| format!("{verb} {}", argument.get_id())));
    for verb in command.get_subcommands() {
        without_help(verb, into);
    }
}

#[test]
fn each_argument_is_described() {
    let mut silent = Vec::new();
    without_help(&Cli::command(), &mut silent);
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn the_help_page_lists_the_global_options() {
    let (_, listed) = HELP.split_once("Global options:\n").expect("a section");
    let global = Cli::command();
    let global = global.get_arguments().filter(|it| it.is_global_set());
    for argument in global {
        let help = argument.get_help().expect("a text").to_string();
        assert!(listed.contains(&help), "{help:?} is not in the help");
    }
}

#[test]
fn verbs_without_a_team_do_not_list_the_team_option() {
    let help = |verb: &str| {
        let mut command = Cli::command();
        command.build();
        let verb = command.find_subcommand_mut(verb).unwrap();
        verb.render_long_help().to_string()
    };
    for verb in ["init", "doctor", "man", "completions"] {
        let help = help(verb);
        assert!(
            !help.contains("--team") && help.contains("--json"),
            "{help}"
        );
        let typed = ["agent-team", verb, "-t", "payments", "bash"];
        let words = if verb == "completions" { 5 } else { 4 };
        assert!(Cli::try_parse_from(&typed[..words]).is_ok(), "{verb}");
    }
    assert!(help("ps").contains("-t, --team <NAME>"));
}

#[test]
fn command_lines_of_hints_can_be_parsed() {
    use CommandLine as C;
    let (member, request, task) = ("ada".parse().unwrap(), RequestId(1), TaskId(1));
    for line in [
        C::Up,
        C::UpInTmux,
        C::Down,
        C::DownForced,
        C::Ps,
        C::KillAny,
        C::Cancel,
        C::ShowGoal,
        C::SendLead,
        C::Send(&member),
        C::Messages,
        C::Requests,
        C::ShowAnyRequest,
        C::ShowRequest(request),
        C::DenyRequest(request),
        C::ListRules,
        C::ListTasks,
        C::AddTask,
        C::ReleaseTask(task),
        C::RetryTask(task),
        C::Restart(&member),
        C::StopForced(&member),
        C::RemoveMember(&member),
        C::RemoveForced(&member),
        C::FollowLog(&member),
        C::Attach(&member),
        C::AttachAny,
        C::WatchAny,
        C::ReopenPanes,
        C::ReopenPane(&member),
        C::ListTeams,
        C::EventsAfter(Revision(1)),
        C::RestartSupervisor,
        C::RaiseLimit {
            member: None,
            key: "tokens",
        },
        C::RaiseLimit {
            member: Some("ada"),
            key: "tokens",
        },
    ] {
        let line = line.to_string();
        let inserted = line.replace("MEMBER", "ada").replace("REQUEST", "P-1");
        let inserted = inserted.replace("MORE", "1000");
        let parsed = Cli::try_parse_from(inserted.split(' '));
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }
}

#[test]
fn ids_are_accepted_in_three_forms() {
    for typed in ["T-3", "t-3", "3"] {
        let parsed = Cli::try_parse_from(["agent-team", "task", "claim", typed]).unwrap();
        let Verb::Task(TaskCommand::Claim { task }) = parsed.verb else {
            panic!("expected `task claim`");
        };
        assert_eq!(task, Some(TaskId(3)));
    }
    for typed in ["P-3", "3-", "-3", "", "T3", "TT-3"] {
        assert!(id::<TaskId>(typed).is_err(), "{typed}");
    }
}

#[test]
fn the_help_page_lists_every_verb() {
    let verbs = HELP.split("Global options:").next().unwrap();
    let listed: Vec<_> = verbs
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .collect();
    let mut missing: Vec<_> = Cli::command()
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    missing.retain(|verb| !listed.contains(&verb.as_str()));
    assert!(missing.is_empty(), "not in the help: {missing:?}");
    assert_eq!(listed.len(), Cli::command().get_subcommands().count());
}
