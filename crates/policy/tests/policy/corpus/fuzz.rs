//! Fuzz targets, which mutate corpus inputs for a bounded time and check properties that hold for any input.
//!
//! `cargo xtask fuzz` runs them for longer; a failing input is kept in `regressions/`.

use std::sync::LazyLock;

use agent_team_fuzz::{Target, must};
use agent_team_policy::{Mode, Rule, RuleBook, RuleKind, Ruling, shell};
use agent_team_protocol::codec::{DEPTH_MAX, Decoder};
use url::Url;

use super::cases::{JUDGED, RULES, book, call, judged};

const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/policy/corpus/regressions"
);

const TARGETS: [Target; 5] = [
    Target {
        name: "shell",
        property: shell_line,
        seeds: || arguments("bash"),
        tokens: &[
            "'", "\"", "\\", "$", "`", "$(", ")", "(", "{", "}", "&&", "||", ";", "|", "&", "<",
            ">", ">>", "2>&1", "<<", "\n", "\t", "\r", "\0", "\u{a0}", "\u{202e}", "\u{200b}", "~",
            "*", "?", "[", "!", "#", "=", ":", "@", ",", "-", "--", "-c", "rm", "git", "push",
            "sh", "sh -c", "env", "sudo", "xargs", "cd ", "/bin/", ".env", "@.env", "=.env", "é",
            "🦀",
        ],
        regressions: REGRESSIONS,
    },
    Target {
        name: "rule",
        property: rule_text,
        seeds: || {
            RULES
                .sets()
                .into_iter()
                .flat_map(|(_, cases)| cases)
                .map(|case| case.argument)
                .collect()
        },
        tokens: &[
            "Bash(",
            "Read(",
            "Edit(",
            "WebFetch(domain:",
            "mcp__",
            "__",
            ":*",
            " *",
            "*",
            "**",
            "/",
            "//",
            "~",
            "..",
            ".",
            "!",
            "[",
            "]",
            "{",
            "}",
            "(",
            ")",
            "\\",
            "'",
            "\"",
            "$",
            "xn--",
            "é",
            "\u{202e}",
            "\n",
            ",",
        ],
        regressions: REGRESSIONS,
    },
    Target {
        name: "path",
        property: path_of_a_tool,
        seeds: || {
            arguments("read")
                .into_iter()
                .chain(arguments("write"))
                .collect()
        },
        tokens: &[
            "/", "//", "./", "../", "..", ".", ".env", ".ENV", ".git", "link", "dotenv", "src",
            "~", "\\", "*", "\0", "\n", " ", "é", "\u{202e}", "/p/", "/etc/",
        ],
        regressions: REGRESSIONS,
    },
    Target {
        name: "url",
        property: address,
        seeds: || arguments("fetch"),
        tokens: &[
            "https://",
            "http:",
            "HTTP://",
            "//",
            "/",
            "\\",
            "@",
            ":",
            "?",
            "#",
            "%65",
            "%2e",
            "%00",
            ".",
            "。",
            "．",
            "ｅ",
            "е",
            "\t",
            "\n",
            "\r",
            " ",
            "\0",
            "[::1]",
            "[",
            "]",
            "example.com",
            "evil.org",
            "xn--",
            "a",
            "0x7f",
            "\u{ad}",
            "\u{200d}",
            ":80",
            ":443",
            ":0",
            "..",
        ],
        regressions: REGRESSIONS,
    },
    Target {
        name: "frame",
        property: frames,
        seeds: || {
            let frames = [
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocol":{"min":1,"max":1}}}"#,
                r#"{"jsonrpc":"2.0","method":"x","params":{"a":["[\"]",{"b":"\\\""}]}}"#,
                "[[[[[[[[[[[[[[[[",
                "\n\n{}\n[]\n",
            ];
            frames.map(str::to_owned).to_vec()
        },
        tokens: &[
            "\n",
            "\r\n",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            "\\\"",
            "\0",
            "é",
            "null",
            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        ],
        regressions: REGRESSIONS,
    },
];

fn arguments(tool: &str) -> Vec<String> {
    let sets = JUDGED.iter().flat_map(|file| file.sets());
    sets.filter(|(set, _)| set.tool == tool)
        .flat_map(|(_, cases)| cases)
        .map(|case| case.argument)
        .collect()
}

fn rules(rules: &[(RuleKind, &str)]) -> RuleBook {
    let owned: Vec<_> = rules
        .iter()
        .map(|(kind, rule)| (*kind, (*rule).to_owned()))
        .collect();
    book(&owned)
}

fn ruling(book: &RuleBook, mode: Mode, tool: &str, argument: &str) -> Ruling {
    judged(book, mode, &call(tool, argument)).ruling
}

const ALLOWED: [(RuleKind, &str); 4] = [
    (RuleKind::Allow, "Bash"),
    (RuleKind::Allow, "Read"),
    (RuleKind::Allow, "Edit"),
    (RuleKind::Allow, "WebFetch"),
];

// The rule books for lines, paths and URLs are built once: parsing rules takes longer than parsing lines.
static ALL: LazyLock<RuleBook> = LazyLock::new(|| all_but(&[]));
static NARROWED: LazyLock<RuleBook> =
    LazyLock::new(|| all_but(&["Bash(rm:*)", "Read(.env)", "Edit(.env)"]));
static NO_COMMANDS: LazyLock<RuleBook> =
    LazyLock::new(|| all_but(&["Bash(rm:*)", "Bash(git push:*)"]));
static ONE_HOST: LazyLock<RuleBook> =
    LazyLock::new(|| rules(&[(RuleKind::Allow, "WebFetch(domain:example.com)")]));
static NO_HOST: LazyLock<RuleBook> = LazyLock::new(|| all_but(&["WebFetch(domain:evil.org)"]));

/// A book that allows every call, except the calls that these rules deny.
fn all_but(denied: &[&'static str]) -> RuleBook {
    let denied = denied.iter().map(|rule| (RuleKind::Deny, *rule));
    rules(&ALLOWED.into_iter().chain(denied).collect::<Vec<_>>())
}

fn shell_line(line: &str) -> Result<(), String> {
    let without = &*NARROWED;
    let open = ruling(&ALL, Mode::Default, "bash", line);
    let narrowed = ruling(without, Mode::Default, "bash", line);
    must(narrowed >= open, "a deny rule widened the decision")?;
    let read = shell::read(line.as_bytes());
    if let Ok(literal) = &read {
        // Quoting every word must not change the line.
        let quoted = quoted(literal);
        let again = shell::read(quoted.as_bytes());
        must(
            again.as_ref() == Ok(literal),
            "the quoted line parses to other words",
        )?;
        let same = ruling(without, Mode::Default, "bash", &quoted) == narrowed;
        must(same, "quoting changes the decision")?;
    } else {
        must(
            open != Ruling::Allow,
            "a line that is not literal was allowed",
        )?;
    }
    let is_denied = |line: &str| ruling(&NO_COMMANDS, Mode::Bypass, "bash", line) == Ruling::Deny;
    if is_denied(line) && line.len() < shell::LINE_MAX / 2 {
        for wrapper in [
            "env ",
            "sudo -u x ",
            "ionice ",
            "true && ",
            "./wrapper ",
            "X=1 ",
        ] {
            let wrapped = format!("{wrapper}{line}");
            // A line that no shell accepts, such as `&& x`, becomes a valid line when the wrapper completes it.
            if read.is_err() && shell::read(wrapped.as_bytes()).is_ok() {
                continue;
            }
            must(
                is_denied(&wrapped),
                &format!("{wrapper:?} hides what is denied"),
            )?;
        }
        if read.is_ok() && !line.contains('\'') {
            must(
                is_denied(&format!("sh -c '{line}'")),
                "`sh -c` hides what is denied",
            )?;
        }
    }
    Ok(())
}

/// The line with every word and path in single quotes; a word that contains a single quote is in double quotes.
fn quoted(line: &shell::Line) -> String {
    let word = |word: &String| match word.contains('\'') {
        true => format!("\"{word}\""),
        false => format!("'{word}'"),
    };
    let mut text = String::new();
    for (index, pipeline) in line.pipelines.iter().enumerate() {
        if index > 0 {
            text.push_str(match pipeline.join {
                shell::Join::Then => "; ",
                shell::Join::And => " && ",
                shell::Join::Or => " || ",
            });
        }
        let commands = pipeline.commands.iter().map(|command| {
            let mut words: Vec<String> = command.argv.iter().map(word).collect();
            for redirect in &command.redirects {
                let fd = redirect.fd;
                words.push(match &redirect.to {
                    shell::Target::Read(path) => format!("{fd}< {}", word(path)),
                    shell::Target::Write(path) => format!("{fd}> {}", word(path)),
                    shell::Target::Append(path) => format!("{fd}>> {}", word(path)),
                    shell::Target::Fd(same) => format!("{fd}>&{same}"),
                });
            }
            words.join(" ")
        });
        text.push_str(&commands.collect::<Vec<_>>().join(" | "));
    }
    text
}

fn rule_text(text: &str) -> Result<(), String> {
    for kind in [RuleKind::Allow, RuleKind::Ask, RuleKind::Deny] {
        match Rule::parse(text, kind) {
            Ok(rule) => {
                let shown = rule.to_string();
                must(
                    shown == text.trim(),
                    "a rule is not shown as it was written",
                )?;
                must(
                    Rule::parse(&shown, kind).is_ok(),
                    "a displayed rule does not parse",
                )?;
                // Any parsed rule can be compared with any call.
                let mut book = RuleBook::new();
                let added = book.add(kind, text, agent_team_policy::Source::TeamFile);
                must(added.is_ok(), "a valid rule is not added to the book")?;
                for (tool, argument) in [
                    ("bash", "rm -rf x"),
                    ("read", "a/.env"),
                    ("fetch", "https://a.b/"),
                ] {
                    let _any = ruling(&book, Mode::Default, tool, argument);
                }
            }
            Err(error) => {
                must(
                    error.at <= text.trim().len(),
                    "the position of an error is outside the rule",
                )?;
                let _shown = error.to_string();
            }
        }
    }
    Ok(())
}

fn path_of_a_tool(path: &str) -> Result<(), String> {
    let without = &*NARROWED;
    for tool in ["read", "write"] {
        let open = ruling(&ALL, Mode::Default, tool, path);
        let narrowed = ruling(without, Mode::Default, tool, path);
        must(narrowed >= open, "a deny rule widened the decision")?;
        if path.is_empty() || path.starts_with('/') {
            continue;
        }
        for other in [
            format!("./{path}"),
            format!("src/../{path}"),
            format!("/p/{path}"),
            format!(".//{path}"),
        ] {
            let same = ruling(without, Mode::Default, tool, &other) == narrowed;
            must(same, &format!("{tool} of {other:?} gets another decision"))?;
        }
    }
    Ok(())
}

fn address(address: &str) -> Result<(), String> {
    let allowed = ruling(&ONE_HOST, Mode::Default, "fetch", address) == Ruling::Allow;
    let denied = ruling(&NO_HOST, Mode::Bypass, "fetch", address) == Ruling::Deny;
    // The fetch tool parses with the `url` crate.
    let parsed = Url::parse(address).ok();
    let host = parsed
        .as_ref()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .and_then(Url::host_str)
        .map(|host| host.trim_end_matches('.').to_owned());
    if allowed {
        must(
            host.as_deref() == Some("example.com"),
            "another host than the rule's was allowed",
        )?;
    }
    if let Some(host) = host {
        let evil = host == "evil.org" || host.ends_with(".evil.org");
        must(!evil || denied, "a denied host was allowed")?;
    }
    Ok(())
}

fn frames(text: &str) -> Result<(), String> {
    let all = decoded(text.as_bytes(), text.len().max(1));
    for size in [1, 3, 7] {
        must(
            decoded(text.as_bytes(), size) == all,
            "frames depend on how the bytes arrive",
        )?;
    }
    Ok(())
}

/// The frames of these bytes, received in chunks of `size`, and whether the decoder returned an error.
fn decoded(bytes: &[u8], size: usize) -> (Vec<String>, bool) {
    const LIMIT: usize = 4 << 10;
    let (mut decoder, mut frames) = (Decoder::new(LIMIT), Vec::new());
    for piece in bytes.chunks(size) {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= LIMIT && !frame.contains(['\n', '\0']));
                    frames.push(frame.to_owned());
                }
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    assert!(frames.iter().all(|frame| nesting(frame) <= DEPTH_MAX));
    (frames, false)
}

fn nesting(frame: &str) -> usize {
    let (mut depth, mut most, mut string, mut escaped) = (0_usize, 0, false, false);
    for c in frame.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if string => escaped = true,
            '"' => string = !string,
            '[' | '{' if !string => depth += 1,
            ']' | '}' if !string => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    target.expect("a target").fuzz();
}

#[test]
fn fuzz_shell() {
    fuzz("shell");
}

#[test]
fn fuzz_rule() {
    fuzz("rule");
}

#[test]
fn fuzz_path() {
    fuzz("path");
}

#[test]
fn fuzz_url() {
    fuzz("url");
}

#[test]
fn fuzz_frame() {
    fuzz("frame");
}

#[test]
fn fuzz_seeds_have_their_properties() {
    for target in &TARGETS {
        target.check_seeds();
    }
}

#[test]
fn fuzz_regressions_pass() {
    for target in &TARGETS {
        target.repeat_regressions();
    }
}
