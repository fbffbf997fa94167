//! Splits texts into words for deny and ask rules: lines that are not literal shell, and arguments of commands, which a
//! program might run. Called by the rules and the judge.
//!
//! Quotes and backslashes are removed, as a shell does, and the text is split at every possible separator. A match may
//! be a false alarm, but a word of a rule is always found if the text spells it out.

/// The words of a text. A quoted text is split into words too.
pub(crate) fn of(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // The shell joins the two lines.
            '\\' if chars.peek() == Some(&'\n') => {
                chars.next();
            }
            '\\' | '\'' | '"' => {}
            c if is_separator(c) => words.extend(take(&mut word)),
            c => word.push(c),
        }
    }
    words.extend(take(&mut word));
    words
}

/// The words of a command's arguments, or of a text. The text after an option's letter is a word too: `-Srm`.
pub(crate) fn of_arguments<S: AsRef<str>>(args: &[S]) -> Vec<String> {
    let mut all = Vec::new();
    for word in args.iter().flat_map(|arg| of(arg.as_ref())) {
        let value = after_letter(&word).map(str::to_owned);
        all.push(word);
        all.extend(value);
    }
    all
}

/// The possible value after an option's letter.
fn after_letter(word: &str) -> Option<&str> {
    let letter = word
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))?;
    let value = letter.get(letter.chars().next()?.len_utf8()..)?;
    (!value.is_empty()).then_some(value)
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || c.is_control() || ";|&()<>{}[],$`=!:@".contains(c)
}

fn take(word: &mut String) -> Option<String> {
    (!word.is_empty()).then(|| std::mem::take(word))
}
