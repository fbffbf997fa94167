//! Checks whether a command has an option. Called only by the parent module, so that the options of all programs are
//! matched by the same rules.
//!
//! These functions do not know which options take a value. If that matters, they return true: a false match only
//! narrows what a rule allows.

/// Whether some argument is, or may be, one of these options. The table writes options as
/// - `-x`: a letter, alone, followed by its value, or within a cluster (`-nx`, `-xVALUE`, `-x=VALUE`)
/// - `--name`, `-name`: a name after one dash or two, with or without `=VALUE`; after two dashes also abbreviated
/// - `-text*`: an argument that begins with this text, after one dash or two
/// - `*text`: an argument that contains this text
pub(super) fn has_any(args: &[&str], options: &[&str]) -> bool {
    args.iter()
        .any(|arg| options.iter().any(|option| is(arg, option)))
}

fn is(arg: &str, option: &str) -> bool {
    if let Some(text) = option.strip_prefix('*') {
        return arg.contains(text);
    }
    let (dashes, given) = split(arg);
    let (_, wanted) = split(option);
    if let Some(text) = wanted.strip_suffix('*') {
        return dashes > 0 && given.starts_with(text);
    }
    let given = given.split('=').next().unwrap_or(given);
    match (dashes, wanted.len()) {
        _ if given.is_empty() => false,
        (0, _) => false,
        (1, 1) => given.contains(wanted),
        (1, _) => given == wanted,
        (_, _) => wanted.starts_with(given),
    }
}

/// The number of dashes before a name, and the name.
fn split(arg: &str) -> (usize, &str) {
    if let Some(name) = arg.strip_prefix("--") {
        return (2, name);
    }
    match arg.strip_prefix('-') {
        Some(name) => (1, name),
        None => (0, arg),
    }
}

#[cfg(test)]
mod tests {
    use super::is;

    #[test]
    fn letters_are_found_in_clusters() {
        for arg in ["-x", "-nx", "-xn", "-ix./run", "-x=1", "-xVALUE", "--x"] {
            assert!(is(arg, "-x"), "{arg}");
        }
        for arg in ["x", "-", "--", "-n", "-n=x", "--nx", "-X"] {
            assert!(!is(arg, "-x"), "{arg}");
        }
    }

    #[test]
    fn names_are_found_after_one_or_two_dashes() {
        for option in ["-exec", "--exec"] {
            for arg in ["-exec", "--exec", "-exec=a", "--exec=a", "--ex", "--e=a"] {
                assert!(is(arg, option), "{arg}");
            }
            for arg in ["exec", "-ex", "-execdir", "--executor", "--", "-", "--=a"] {
                assert!(!is(arg, option), "{arg}");
            }
        }
    }

    #[test]
    fn prefixes_and_parts_are_found() {
        assert!(is("-Wl,--plugin=a", "-Wl,*"));
        assert!(is("--fplugin=a", "-fplugin*"));
        assert!(!is("Wl,a", "-Wl,*"));
        assert!(is("-ldflags=-extld=a", "*extld"));
    }
}
