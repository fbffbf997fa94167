//! Compares the shell parser with bash: parsed words must be the words that bash passes to programs, and accepted lines
//! must be valid in bash.
//!
//! The lines are generated from letters, digits and shell syntax, so that most of them are one character away from text
//! that bash would expand. Bash runs the lines in an empty directory without programs on its PATH: a stub records the
//! programs that bash would start. The second and third tests parse random text of such characters. More cases:
//! `PROPTEST_CASES=1000000 cargo nextest run -p agent-team-policy oracle::`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use agent_team_policy::shell::{Join, Line, Target, read};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Bash calls this function for each program, because it finds no program. The function records the arguments and their
/// number in a file of its process: bash writes line by line, and both sides of a pipe run at once. The function fails
/// for names with an `f`. The only builtin that the lines could name is disabled.
const STUB: &str = r#"
enable -n [
command_not_found_handle() {
    printf '%s\0' "$#" "$@" >> "$LOG/$BASHPID"
    case $1 in *f*) return 1 ;; esac
    return 0
}
"#;

struct Ran {
    argvs: Vec<Vec<String>>,
    files: BTreeSet<String>,
}

fn bash(line: &str) -> Ran {
    let directory = tempfile::tempdir().expect("a directory");
    let log = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("in"), "").expect("a file to read");
    Command::new("/bin/bash")
        .args(["--noprofile", "--norc", "-c", &format!("{STUB}{line}")])
        .current_dir(directory.path())
        .env_clear()
        .env("PATH", "/nonexistent")
        .env("LOG", log.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("bash runs");
    let written = files(log.path()).into_iter().flat_map(|process| {
        let text = std::fs::read_to_string(log.path().join(process)).expect("text");
        argvs(&text)
    });
    let mut argvs: Vec<_> = written.collect();
    argvs.sort();
    Ran {
        argvs,
        files: files(directory.path()),
    }
}

fn argvs(log: &str) -> Vec<Vec<String>> {
    let mut fields = log.split_terminator('\0');
    let mut argvs = Vec::new();
    while let Some(count) = fields.next() {
        let count: usize = count.parse().expect("a number of arguments");
        argvs.push(fields.by_ref().take(count).map(str::to_owned).collect());
    }
    argvs
}

fn files(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect()
}

/// The behaviour of bash according to the parser, including the stub's failures.
fn expected(line: &Line) -> Ran {
    let mut argvs = Vec::new();
    let mut files = BTreeSet::from(["in".to_owned()]);
    let mut failed = false;
    for pipeline in &line.pipelines {
        let runs = match pipeline.join {
            Join::Then => true,
            Join::And => !failed,
            Join::Or => failed,
        };
        if !runs {
            continue;
        }
        for command in &pipeline.commands {
            let mut opened = true;
            for redirect in &command.redirects {
                match &redirect.to {
                    Target::Read(path) => opened &= files.contains(path),
                    Target::Write(path) | Target::Append(path) => {
                        files.insert(path.clone());
                    }
                    Target::Fd(_) => {}
                }
                if !opened {
                    break;
                }
            }
            failed = !opened || command.argv[0].contains('f');
            if opened {
                argvs.push(command.argv.clone());
            }
        }
    }
    argvs.sort();
    Ran { argvs, files }
}

fn compare(text: &str) -> Result<bool, TestCaseError> {
    let Ok(line) = read(text.as_bytes()) else {
        return Ok(false);
    };
    // A file that one side of a pipe creates may or may not exist for the other side.
    let reads = line
        .commands()
        .flat_map(|command| &command.redirects)
        .any(|redirect| matches!(&redirect.to, Target::Read(path) if path != "in"));
    if reads {
        return Ok(false);
    }
    let (real, ours) = (bash(text), expected(&line));
    prop_assert_eq!(real.argvs, ours.argvs, "{:?}", text);
    prop_assert_eq!(real.files, ours.files, "{:?}", text);
    Ok(true)
}

/// Words of all kinds that the parser accepts, and some that it refuses.
fn word() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[axyzf0-9]{1,3}",
        2 => "[-_.,:=@%^+/#~]",
        2 => "'[axf \\t\\n\"$`\\\\*?!~#&|;<>(){}=-]{0,4}'",
        2 => "\"[axf \\t\\n'*?~#&|;<>(){}=-]{0,4}\"",
        1 => Just("é".to_owned()),
        1 => "[]\\[*?{}$!`\\\\]",
    ];
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn line() -> impl Strategy<Value = String> {
    let redirect = prop_oneof![
        Just(" > o1".to_owned()),
        Just(" 2>>o2".to_owned()),
        Just(" < in".to_owned()),
        Just(" 2>&1".to_owned()),
        Just(">o3".to_owned()),
        Just(" 1> 'o 4'".to_owned()),
    ];
    let command = (
        "x[axf0-9]{0,3}",
        prop::collection::vec(word(), 0..4),
        prop::option::weighted(0.2, redirect),
    )
        .prop_map(|(program, words, redirect)| {
            let mut command = program;
            for word in words {
                command.push(' ');
                command.push_str(&word);
            }
            command + redirect.as_deref().unwrap_or("")
        })
        .boxed();
    let join = prop_oneof![
        Just("&&"),
        Just(" && "),
        Just("||"),
        Just(";"),
        Just(" | "),
        Just("|")
    ];
    (
        command.clone(),
        prop::collection::vec((join, command), 0..4),
    )
        .prop_map(|(first, rest)| {
            rest.into_iter()
                .fold(first, |line, (join, command)| line + join + &command)
        })
}

#[test]
fn bash_passes_the_parsed_words() {
    let config = Config {
        cases: Config::default().cases.max(600),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let compared = std::cell::Cell::new(0);
    runner
        .run(&line(), |text| {
            compared.set(compared.get() + usize::from(compare(&text)?));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        compared.get() > 150,
        "only {} lines were parsed",
        compared.get()
    );
}

#[test]
fn parsed_words_of_random_text_match_bash() {
    // These letters form no slash and no builtin, so bash stays in its directory.
    let text = "[axf ]{0,2}[axf '\"\\\\$`*?{}\\[\\]()!#~&|;<>=0-9\n\t-]{1,8}[axf'\" ]{0,2}";
    let config = Config {
        cases: Config::default().cases.max(3000),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let compared = std::cell::Cell::new(0);
    runner
        .run(&text, |text| {
            compared.set(compared.get() + usize::from(compare(&text)?));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        compared.get() > 60,
        "only {} texts were parsed",
        compared.get()
    );
}

#[test]
fn parsed_lines_are_valid_bash() {
    let text = "[a-z ]{0,4}[a-z '\"\\\\$`*?{}\\[\\]()!#~&|;<>=0-9\n\t/.-]{1,10}";
    let config = Config {
        cases: Config::default().cases.max(3000),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    runner
        .run(&text, |text| {
            if read(text.as_bytes()).is_err() {
                return Ok(());
            }
            let parsed = Command::new("/bin/bash")
                .args(["--noprofile", "--norc", "-n", "-c", "--", &text])
                .stderr(Stdio::null())
                .status()
                .expect("bash runs");
            prop_assert!(parsed.success(), "bash does not parse {:?}", text);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_parser_terminates_on_any_bytes() {
    proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..64))| {
        let _ = read(&bytes).map(|line| line.commands().count());
    });
}
