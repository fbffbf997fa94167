#!/bin/sh
# Creates a small Rust project with a team: sample-project.sh DIR [agents]
# The team builds and tests the project with commands. With `agents`, the team is a lead and three teammates whose
# models play a recording. Needs sh and cargo, and no network. If git is installed, the project becomes a repository.
set -eu

dir=${1:?usage: sample-project.sh DIR [agents]}
team=${2:-commands}
scripts=$(cd "$(dirname "$0")" && pwd)
if [ -e "$dir" ] && [ -n "$(ls -A "$dir")" ]; then
    echo "sample-project.sh: $dir is not empty" >&2
    exit 1
fi
mkdir -p "$dir/src" "$dir/tests" "$dir/scripts" "$dir/.agent-team/hooks"
cp "$scripts"/hooks/*.sh "$dir/.agent-team/hooks/"
cd "$dir"

cat >Cargo.toml <<'EOF'
[package]
name = "tally"
version = "0.1.0"
edition = "2021"

# Exclude this package from a workspace in a parent directory.
[workspace]
EOF

cat >src/lib.rs <<'EOF'
//! Counts words.

use std::collections::BTreeMap;

/// How often each word occurs, without regard to case and punctuation.
///
/// ```
/// let words = tally::words("The cat, the dog.");
/// assert_eq!(words["the"], 2);
/// ```
pub fn words(text: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn nothing_has_no_words() {
        assert!(words(" ,;\n").is_empty());
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!(words("Tea tea TEA")["tea"], 3);
    }
}
EOF

cat >src/main.rs <<'EOF'
//! Reads text on stdin and prints how often each word occurs.

use std::io::Read;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    for (word, count) in tally::words(&text) {
        println!("{count:6} {word}");
    }
    Ok(())
}
EOF

cat >tests/program.rs <<'EOF'
//! Runs the program as a user does.

use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn it_counts_what_it_reads() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tally"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program was built");
    program.stdin.take().expect("piped").write_all(b"to be or not to be").expect("it reads");
    let output = program.wait_with_output().expect("it ends");
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    assert_eq!(printed, "     2 be\n     1 not\n     1 or\n     2 to\n");
}
EOF

cat >README.md <<'EOF'
# tally

Counts words: `cargo run < README.md`.
EOF

cat >scripts/lint.sh <<'EOF'
#!/bin/sh
# No tabs, no trailing blanks, no line over 100 characters.
set -eu
tab=$(printf '\t')
bad=0
for file in src/*.rs tests/*.rs; do
    echo "linting $file"
    if grep -n -e "$tab" -e ' $' -e '.\{101\}' "$file"; then
        bad=1
    fi
done
exit "$bad"
EOF

cat >scripts/report.sh <<'EOF'
#!/bin/sh
# Writes report.md: figures about the project. The program itself counts the words.
set -eu
{
    echo '# Report'
    echo
    echo "- $(cat src/*.rs | wc -l | tr -d ' ') lines of source, $(cat src/*.rs tests/*.rs | grep -c '#\[test\]') tests"
    echo "- the program has $(wc -c <target/release/tally | tr -d ' ') bytes"
    echo '- the most frequent words of its source:'
    echo
    cat src/*.rs | target/release/tally | sort -rn | head -n 5
} >report.md
EOF
chmod +x scripts/*.sh .agent-team/hooks/*.sh

printf '/target\n/report.md\n/.agent-team/idle.log\n/.agent-team/demo.jsonl\n' >.gitignore

cat >.agent-team/team.toml <<'EOF'
name = "tally"

[defaults]
engine = "command"

[panes]
layout = "tiled"

[roles.builder]
description = "Builds what others need"

[roles.checker]
description = "Finds what is wrong"

[lead]
name = "ada"
role = "builder"

[[member]]
name = "ben"
role = "builder"

[[member]]
name = "cleo"
role = "checker"

[[member]]
name = "dora"
role = "checker"

[[task]]
title = "Lint"
role = "checker"
run = "scripts/lint.sh"

[[task]]
title = "Build"
role = "builder"
priority = 10
files = ["src/**"]
run = "cargo build"

[[task]]
title = "Test"
role = "checker"
after = ["Build"]
priority = 5
run = "cargo test"

[[task]]
title = "Document"
role = "builder"
after = ["Build"]
run = "cargo doc --no-deps"
verify = "test -s target/doc/tally/index.html"

[[task]]
title = "Release"
role = "builder"
after = ["Build"]
priority = 5
run = "cargo build --release"
verify = "echo one two two | target/release/tally | grep -q '2 two'"

[[task]]
title = "Report"
after = ["Lint", "Test", "Document", "Release"]
files = ["report.md"]
run = "scripts/report.sh"
verify = "grep -q 'frequent words' report.md"

[hooks]
task_completed = ".agent-team/hooks/task_completed.sh"
teammate_idle = ".agent-team/hooks/teammate_idle.sh"
EOF

if [ "$team" = agents ]; then
    cp "$scripts/demo/team.toml" .agent-team/team.toml
    cp "$scripts/demo/recording.jsonl" .agent-team/demo.jsonl
fi

cargo generate-lockfile --offline --quiet
if command -v git >/dev/null; then
    git init --quiet
    git add .
    git -c user.name=sample -c user.email=sample@example.invalid -c commit.gpgsign=false \
        commit --quiet --message 'A sample project'
fi
