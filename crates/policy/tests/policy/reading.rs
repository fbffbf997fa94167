//! Tests of the built-in rule for reading, and of mode sandboxed: commands that run without a decision in a sandbox,
//! and commands that need one.

use agent_team_policy::{Containment, Judgement, Mode, RuleKind, Ruling, ToolCall};
use serde_json::json;

use crate::context::{book, call, context};

fn bash(line: &str, containment: Containment) -> ToolCall {
    let mut call = call("bash", json!({ "command": line }));
    call.containment = containment;
    call
}

fn judged(
    rules: &[(RuleKind, &str)],
    mode: Mode,
    line: &str,
    containment: Containment,
) -> Judgement {
    book(rules).judge(&bash(line, containment), &context(), mode)
}

/// The ruling in a sandbox that protects files of the project.
fn ruling(rules: &[(RuleKind, &str)], mode: Mode, line: &str) -> Ruling {
    judged(rules, mode, line, Containment::Protects).ruling
}

#[test]
fn reading_commands_run_read_only() {
    for line in [
        "ls",
        "ls -la src",
        "cat src/a -n",
        "cat -- src/a",
        "cat src/a | head -5 | wc -l",
        "cat src/a 2>/dev/null",
        "cd src && grep -rn '/api' .",
        "grep -ne x src/a",
        "grep -C 3 x",
        "grep --include='*.rs' -r x src",
        "rg -n --type=rust 'fn main' src",
        "rg --files src",
        "find . -name '*.rs' -type f -not -path './target/*'",
        "find src '(' -name a -o -name b ')' -print",
        "sed -n 5,9p src/a",
        "sort -k2 -u src/a | uniq -c",
        "tail -n +5 src/a",
        "git status",
        "git status --short -b",
        "git --no-pager diff --stat",
        "git diff HEAD~1..HEAD -- src/a",
        "git diff -U5 --cached",
        "git log --oneline -5",
        "git log -n 3 --format='%h %s' src",
        "git show HEAD:src/a",
        "git branch --show-current",
        "git rev-parse --short HEAD",
        "echo x && ls",
        "cat < src/a",
    ] {
        for mode in [
            Mode::Plan,
            Mode::DontAsk,
            Mode::Default,
            Mode::AcceptEdits,
            Mode::Sandboxed,
        ] {
            let decision = judged(&[], mode, line, Containment::Protects);
            assert_eq!(
                decision.ruling,
                Ruling::Allow,
                "{line} in {mode}: {decision}"
            );
            assert!(decision.run.unwrap().reads_only, "{line}");
        }
    }
}

#[test]
fn commands_that_may_do_more_than_read_are_not_allowed() {
    for line in [
        // Commands that may start other programs, and programs that are not admitted.
        "git diff --ext-diff",
        "git diff --ext-dif",
        "git diff --textconv",
        "git -c core.fsmonitor=./x status",
        "git -C /etc status",
        "git --git-dir=x status",
        "git --exec-path=. status",
        "git log --show-signature",
        "git grep -O./x hi",
        "rg --pre ./x y",
        "rg --pre=./x y",
        "rg -z x",
        "rg --search-zip x",
        "find . -exec rm {} ';'",
        "find . -execdir ./x ';'",
        "find . -ok ./x ';'",
        "sort --compress-program=./x a",
        "./ls",
        "/bin/ls",
        "src/cat a",
        "diff a b",
        "tree -Io zz src/main.rs",
        // Commands that may write.
        "find . -delete",
        "find . -fprint out",
        "find . -fls out",
        "sort -o out a",
        "sort -no out a",
        "sort a -oout",
        "sort --output=out a",
        "uniq a b",
        "git diff --output=x",
        "git diff --output x",
        "git status -v",
        "git branch new",
        "git branch -d old",
        "git branch --list -d old",
        "git status > out",
        "tree -o out",
        "sed -n 's/a/b/w out' a",
        "sed -i s/a/b/ a",
        "file -C -m x",
        // Files outside the project, including those that links and lists name.
        "cat /etc/passwd",
        "cat ../x",
        "cat link/passwd",
        "cat src/../a",
        "cat link/../passwd",
        "cd src/.. && cat a",
        "cat ~/.ssh/id_rsa",
        "ls /",
        "head -5 /etc/passwd",
        "cd /etc && cat passwd",
        "cd link && cat passwd",
        "cat < /etc/passwd",
        "grep -ne x /etc/passwd",
        "grep -exyz /etc/passwd",
        "grep x /etc/passwd",
        "grep /etc/passwd -e x",
        "grep -f /etc/patterns a",
        "grep -f list a",
        "grep -R x .",
        "grep --dereference-recursive x .",
        "rg -L x",
        "rg --follow x",
        "rg --files /etc",
        "rg -f list",
        "find / -name x",
        "find -L . -name x",
        "find . -newer /etc/passwd",
        "wc --files0-from=list",
        "sort --files0-from=list",
        "md5sum -c list",
        "ls -L link",
        "du -L .",
        "diff -r a b",
        "diff --no-index /etc/passwd a",
        "git diff --no-index /etc/passwd a",
        "git diff /etc/passwd a",
        "git diff -U /etc/passwd a",
        "git diff a ../b",
        "git blame --contents /etc/passwd a",
        "git ls-files --exclude-from=/etc/passwd",
        // Lines with expansions, and commands that are not in the table of readers.
        "cat $HOME/x",
        "cat *",
        "ls $(pwd)",
        "cat src/a | sh",
        "cat src/a | xargs rm",
        "env ls",
        "tail -f src/a",
        "git fetch",
        "git log --unknown",
        "ls --unknown",
        "ls & rm a",
        "git status; make",
    ] {
        for mode in [Mode::Default, Mode::AcceptEdits] {
            assert_ne!(ruling(&[], mode, line), Ruling::Allow, "{line} in {mode}");
        }
    }
}

#[test]
fn reading_needs_a_sandbox_that_hides_denied_files() {
    let denied = [(RuleKind::Deny, "Read(.env)")];
    let ruling =
        |rules: &[_], line, containment| judged(rules, Mode::Default, line, containment).ruling;
    assert_eq!(ruling(&[], "ls", Containment::Unknown), Ruling::Ask);
    assert_eq!(ruling(&[], "ls", Containment::ReadOnly), Ruling::Allow);
    // Git starts programs that the repository configures.
    assert_eq!(
        ruling(&[], "git status", Containment::ReadOnly),
        Ruling::Ask
    );
    assert_eq!(
        ruling(&denied, "grep -r x .", Containment::ReadOnly),
        Ruling::Ask
    );
    assert_eq!(
        ruling(&denied, "grep -r x .", Containment::Protects),
        Ruling::Allow
    );
    // A sandbox cannot hide the content that git has stored.
    for line in ["git diff", "git show HEAD", "git log -p", "git blame a"] {
        assert_eq!(
            ruling(&denied, line, Containment::Protects),
            Ruling::Ask,
            "{line}"
        );
    }
    for line in [
        "cat .env",
        "cat dotenv",
        "git show HEAD:.env",
        "head -n5 ./.env",
    ] {
        assert_eq!(
            ruling(&denied, line, Containment::Protects),
            Ruling::Deny,
            "{line}"
        );
    }
    let mut unconfined = bash("ls", Containment::Protects);
    unconfined.confined = false;
    let decision = book::<&str>(&[]).judge(&unconfined, &context(), Mode::Default);
    assert_eq!(decision.ruling, Ruling::Ask);
}

#[test]
fn the_reason_names_the_missing_containment() {
    let why = |rules: &[_], line, containment| {
        judged(rules, Mode::Default, line, containment).to_string()
    };
    let git = "cannot contain the programs that a repository configures for git";
    let hide = "cannot hide the files of the rules for `Read`";
    let read_only = Containment::ReadOnly;
    for line in [
        "git status",
        "git diff | head -5",
        "git log -3 && echo done",
    ] {
        assert!(why(&[], line, read_only).contains(git), "{line}");
    }
    let denied = [(RuleKind::Deny, "Read(.env)")];
    assert!(why(&denied, "grep -r x .", read_only).contains(hide));
    // These lines need a decision in any sandbox.
    for line in ["git status && touch a", "git push", "cargo test"] {
        let why = why(&[], line, read_only);
        assert!(
            why.contains("no rule allows it") && !why.contains(git),
            "{why}"
        );
    }
    let allowed = [(RuleKind::Allow, "Bash(git status)")];
    assert!(!why(&allowed, "git status", read_only).contains(git));
    assert!(!why(&[], "git status", Containment::Unknown).contains(git));
}

#[test]
fn rules_override_the_rule_for_reading() {
    let asked = [
        (RuleKind::Ask, "Bash(git log:*)"),
        (RuleKind::Deny, "Bash(ls:*)"),
    ];
    assert_eq!(ruling(&asked, Mode::Default, "git log"), Ruling::Ask);
    assert_eq!(ruling(&asked, Mode::Default, "ls"), Ruling::Deny);
    assert_eq!(ruling(&asked, Mode::Default, "git status"), Ruling::Allow);
    assert_eq!(ruling(&asked, Mode::Sandboxed, "git log"), Ruling::Ask);
    assert_eq!(ruling(&asked, Mode::Sandboxed, "ls"), Ruling::Deny);
}

#[test]
fn a_line_that_may_write_is_not_read_only() {
    let allowed = [(RuleKind::Allow, "Bash(cargo test:*)")];
    let run = |line| {
        let decision = judged(&allowed, Mode::Default, line, Containment::Protects);
        decision.run.map(|run| run.reads_only)
    };
    assert_eq!(run("cargo test | head -5"), Some(false));
    assert_eq!(run("cargo test"), Some(false));
    assert_eq!(run("cargo test && cat src/a"), None);
    assert_eq!(run("ls | head -5"), Some(true));
    // Git starts programs that the repository configures, which could then write.
    assert_eq!(run("cargo test && git status"), None);
    let edits = |line| judged(&[], Mode::AcceptEdits, line, Containment::Protects);
    assert_eq!(edits("git diff > out").ruling, Ruling::Ask);
    assert!(!edits("ls > out").run.unwrap().reads_only);
}

#[test]
fn commands_allowed_by_built_in_rules_are_marked() {
    let allowed = [(RuleKind::Allow, "Bash(cargo test:*)")];
    let of = |rules: &[(RuleKind, &str)], mode, line| -> Vec<bool> {
        let decision = judged(rules, mode, line, Containment::Protects);
        let pipelines = decision.run.unwrap().pipelines.into_iter();
        let commands = pipelines.flat_map(|pipeline| pipeline.commands);
        commands.map(|command| command.built_in).collect()
    };
    let line = "cargo test | head -5 && echo done";
    assert_eq!(of(&allowed, Mode::Default, line), [false, true, true]);
    assert_eq!(of(&allowed, Mode::Default, "cargo test"), [false]);
    assert_eq!(of(&[], Mode::Default, "echo done"), [true]);
    assert_eq!(of(&[], Mode::Default, "ls | head -5"), [true, true]);
    // A rule of the user names the program, so the program may be in the project.
    let head = [allowed[0], (RuleKind::Allow, "Bash(head:*)")];
    assert_eq!(of(&head, Mode::Default, line), [false, false, true]);
}

#[test]
fn mode_sandboxed_allows_contained_commands() {
    for line in [
        "touch inside",
        "make",
        "cargo test && ./run.sh",
        "for f in *; do echo $f; done",
        "sh -c 'exit 1'",
        "curl x | sh",
        "echo x > out",
        "python -c 'print(1)'",
    ] {
        let decision = judged(&[], Mode::Sandboxed, line, Containment::Protects);
        assert_eq!(decision.ruling, Ruling::Allow, "{line}: {decision}");
        for containment in [Containment::Unknown, Containment::ReadOnly] {
            let decision = judged(&[], Mode::Sandboxed, line, containment);
            let is_edit = line.starts_with("echo x");
            assert_eq!(
                decision.ruling == Ruling::Allow,
                is_edit,
                "{line}: {decision}"
            );
        }
        assert_ne!(ruling(&[], Mode::Default, line), Ruling::Allow, "{line}");
    }
    let text = judged(
        &[],
        Mode::Sandboxed,
        "source x && make",
        Containment::Protects,
    );
    assert_eq!(
        (text.ruling, text.run),
        (Ruling::Allow, None),
        "bash runs the text"
    );
}

#[test]
fn mode_sandboxed_asks_about_uncontained_calls() {
    let ask = |call: &ToolCall| {
        book::<&str>(&[])
            .judge(call, &context(), Mode::Sandboxed)
            .ruling
    };
    let mut outside = bash("touch inside", Containment::Protects);
    outside.confined = false;
    assert_eq!(ask(&outside), Ruling::Ask);
    let mut elsewhere = bash("touch inside", Containment::Protects);
    elsewhere.directory = crate::context::place("/etc");
    assert_eq!(ask(&elsewhere), Ruling::Ask);
    for line in [
        "echo x > .git/hooks/pre-commit",
        "echo x > sub/.envrc",
        "cp x .agent-team/team.toml",
        "tee .vscode/tasks.json",
        "for f in x; do cp $f .git/hooks/; done",
        "rm -r sub/.git",
        "echo x > /etc/cron.d/x",
        "echo x > link/x",
    ] {
        assert_eq!(
            ask(&bash(line, Containment::Protects)),
            Ruling::Ask,
            "{line}"
        );
    }
    for (tool, arguments, expected) in [
        ("edit", json!({"path": "src/a"}), Ruling::Allow),
        ("edit", json!({"path": ".git/hooks/x"}), Ruling::Ask),
        ("write", json!({"path": "/etc/x"}), Ruling::Ask),
        ("write", json!({"path": "link/x"}), Ruling::Ask),
        ("fetch", json!({"url": "https://x.org"}), Ruling::Ask),
        ("web_search", json!({}), Ruling::Ask),
        ("mcp__a__b", json!({}), Ruling::Ask),
        ("launch", json!({}), Ruling::Ask),
    ] {
        let mut call = call(tool, arguments);
        call.containment = Containment::Protects;
        assert_eq!(ask(&call), expected, "{tool}");
    }
}

#[test]
fn rules_precede_mode_sandboxed() {
    let rules = [
        (RuleKind::Deny, "Bash(rm:*)"),
        (RuleKind::Ask, "Bash(git push:*)"),
    ];
    for (line, expected) in [
        ("rm x", Ruling::Deny),
        ("sh -c 'r\"\"m x'", Ruling::Deny),
        ("for f in x; do rm $f; done", Ruling::Deny),
        ("git push", Ruling::Ask),
        ("make", Ruling::Allow),
        // The text can spell a rule's words in a way that only bash understands.
        ("p=m; r$p x", Ruling::Ask),
        ("echo cm0geA== | base64 -d | sh", Ruling::Ask),
    ] {
        assert_eq!(ruling(&rules, Mode::Sandboxed, line), expected, "{line}");
    }
    // A command can change files without naming them.
    let edits = [(RuleKind::Deny, "Edit(generated/**)")];
    assert_eq!(ruling(&edits, Mode::Sandboxed, "make"), Ruling::Ask);
    assert_eq!(ruling(&edits, Mode::Sandboxed, "ls"), Ruling::Allow);
}
