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

fn parts(c: char) -> bool {
    c.is_whitespace() || c.is_control() || ";|&()<>{}[],$`=!:@".contains(c)
}

fn take(word: &mut String) -> Option<String> {
    (!word.is_empty()).then(|| std::mem::take(word))
}
