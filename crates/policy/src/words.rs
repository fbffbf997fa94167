//! Words in a text that is not understood, for rules that forbid. Called by the judge.
//!
//! Quotes and backslashes are taken out, as a shell does, and everything that could part words parts them. What is found
//! so may not be meant; what a rule forbids and is spelt out is found.

/// The words of a text, and those of a text within a word.
pub(crate) fn of(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // Joined by the shell.
            '\\' if chars.peek() == Some(&'\n') => {
                chars.next();
            }
            '\\' | '\'' | '"' => {}
            c if parts(c) => words.extend(take(&mut word)),
            c => word.push(c),
        }
    }
    words.extend(take(&mut word));
    words
}

/// The words of a command's arguments, or of a text; what follows an option's letter is a word, too: `-Srm`.
pub(crate) fn of_arguments<S: AsRef<str>>(args: &[S]) -> Vec<String> {
    let mut all = Vec::new();
    for word in args.iter().flat_map(|arg| of(arg.as_ref())) {
        let value = after_letter(&word).map(str::to_owned);
        all.push(word);
        all.extend(value);
    }
    all
}

/// The value that an option's letter may have behind it.
fn after_letter(word: &str) -> Option<&str> {
    let letter = word
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))?;
    let value = letter.get(letter.chars().next()?.len_utf8()..)?;
    (!value.is_empty()).then_some(value)
}

fn parts(c: char) -> bool {
    c.is_whitespace() || c.is_control() || ";|&()<>{}[],$`=!:@".contains(c)
}

fn take(word: &mut String) -> Option<String> {
    (!word.is_empty()).then(|| std::mem::take(word))
}
