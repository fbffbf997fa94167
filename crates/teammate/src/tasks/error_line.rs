//! Finds the line that explains a failure in the output of a program. Called by `report`, which writes it first, where
//! each list of tasks shows it.

/// Beginnings of lines that name an error: rustc and cargo, npm, TAP.
const BEGINNINGS: [&str; 5] = ["error:", "error[", "npm error ", "npm ERR! ", "not ok "];

/// Parts of lines that name an error: compilers and make, exceptions, Rust.
const PARTS: [&str; 5] = [" error: ", "Error: ", "Error [", ": *** ", " panicked at "];

/// Words of a line that name a failed test.
const WORDS: [&str; 3] = ["FAIL", "FAIL:", "FAILED"];

/// The first line that names an error or a failed test; without one, the last line. Empty without output.
pub(super) fn error_line(output: &str) -> &str {
    let lines = || {
        output
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let found = lines().find(|line| names_error(line));
    found.or_else(|| lines().next_back()).unwrap_or_default()
}

fn names_error(line: &str) -> bool {
    // npm prints the line of a script before it runs the script.
    let is_echo = line.starts_with("> ");
    let mut words = line.split_whitespace();
    let named = BEGINNINGS
        .iter()
        .any(|beginning| line.starts_with(beginning))
        || PARTS.iter().any(|part| line.contains(part))
        || words.any(|word| WORDS.contains(&word));
    named && !is_echo
}

#[cfg(test)]
mod tests {
    use super::error_line;

    #[test]
    fn the_error_of_common_programs_is_found() {
        let cargo = "\
   Compiling demo v0.1.0
warning: unused variable: `error`
running 2 tests
test tests::adds ... ok
test tests::parses ... FAILED

---- tests::parses stdout ----
thread 'tests::parses' panicked at src/lib.rs:5:9:

test result: FAILED. 1 passed; 1 failed; 0 ignored

error: test failed, to rerun pass `--lib`
";
        assert_eq!(error_line(cargo), "test tests::parses ... FAILED");
        let rustc = "   Compiling demo v0.1.0\nerror[E0425]: cannot find value `x`\n --> src/lib.rs:1:1\n\n\
            error: could not compile `demo`\n";
        assert_eq!(error_line(rustc), "error[E0425]: cannot find value `x`");
        let npm = "\n> demo@1.0.0 test\n> echo \"Error: no test specified\" && exit 1\n\nError: no test specified\n";
        assert_eq!(error_line(npm), "Error: no test specified");
        let npm = "npm error Missing script: \"test\"\nnpm error A complete log is in: /l\n";
        assert_eq!(error_line(npm), "npm error Missing script: \"test\"");
        let node = "TAP version 13\nok 1 - adds\nnot ok 2 - parses\n# fail 1\n";
        assert_eq!(error_line(node), "not ok 2 - parses");
        let make = "cc -c a.c\na.c:1:5: error: unknown type name 'it'\nmake: *** [Makefile:2: a.o] Error 1\n";
        assert_eq!(error_line(make), "a.c:1:5: error: unknown type name 'it'");
        let make = "false\nmake: *** [Makefile:2: all] Error 1\n\n";
        assert_eq!(error_line(make), "make: *** [Makefile:2: all] Error 1");
    }

    #[test]
    fn other_output_is_explained_by_its_last_line() {
        assert_eq!(
            error_line("checking\n3 errors, 0 failed\nno luck\n\n"),
            "no luck"
        );
        assert_eq!(error_line("\n"), "");
    }
}
