//! The parser: one pass without backtracking. It returns a line only if the whole text is literal.

use super::lexical;
use super::{COMMANDS_MAX, Command, Complex, Join, Line, Pipeline, Redirect, Target};

/// Parses a line, or a command in a rule.
///
/// # Errors
/// When the text is not literal. Callers may then assume nothing about its words.
pub fn read(bytes: &[u8]) -> Result<Line, Complex> {
    let text = lexical::check(bytes)?;
    let mut reader = Reader {
        // A line break at the end separates nothing.
        text: text.trim_end_matches(['\n', ' ', '\t']),
        at: 0,
    };
    reader.line()
}

/// Words that bash treats as syntax at the start of a command.
const KEYWORDS: &[&str] = &[
    "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in",
    "select", "then", "time", "until", "while", "]]",
];

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

enum Token {
    Word(Word),
    Redirect { fd: Option<u8>, kind: Kind },
    And,
    Or,
    Semicolon,
    Pipe,
    End,
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
    Append,
    Fd(u8),
}

struct Word {
    at: usize,
    text: String,
    /// Whether a part of the word was quoted.
    quoted: bool,
}

impl Reader<'_> {
    fn line(&mut self) -> Result<Line, Complex> {
        let mut pipelines = Vec::new();
        let mut commands = Vec::new();
        let mut join = Join::Then;
        let mut count = 0;
        loop {
            let (command, end) = self.command()?;
            let Some(command) = command else {
                // A line may end after `a;`, but not after `a &&` or `a |`.
                let complete = commands.is_empty() && join == Join::Then && !pipelines.is_empty();
                if complete && matches!(end, Token::End) {
                    return Ok(Line { pipelines });
                }
                return Err(complex(self.at, "an empty command"));
            };
            count += 1;
            if count > COMMANDS_MAX {
                return Err(complex(self.at, "more than 64 commands"));
            }
            commands.push(command);
            let next = match end {
                Token::Pipe => continue,
                Token::And => Some(Join::And),
                Token::Or => Some(Join::Or),
                Token::Semicolon => Some(Join::Then),
                Token::End => None,
                Token::Word(_) | Token::Redirect { .. } => {
                    unreachable!("these tokens do not end a command")
                }
            };
            pipelines.push(Pipeline {
                join,
                commands: std::mem::take(&mut commands),
            });
            match next {
                Some(next) => join = next,
                None => return Ok(Line { pipelines }),
            }
        }
    }

    /// The next command, if there is one, and the token that ended it.
    fn command(&mut self) -> Result<(Option<Command>, Token), Complex> {
        let mut command = Command {
            argv: Vec::new(),
            redirects: Vec::new(),
            built_in: false,
        };
        let begin = self.at;
        let end = loop {
            match self.token()? {
                Token::Word(word) => {
                    if command.argv.is_empty() {
                        Self::check_program(&word)?;
                    }
                    command.argv.push(word.text);
                }
                Token::Redirect { fd, kind } => {
                    let redirect = self.redirect(fd, kind)?;
                    command.redirects.push(redirect);
                }
                end @ (Token::And | Token::Or | Token::Semicolon | Token::Pipe | Token::End) => {
                    break end;
                }
            }
        };
        if !command.argv.is_empty() {
            return Ok((Some(command), end));
        }
        if command.redirects.is_empty() {
            return Ok((None, end));
        }
        Err(complex(begin, "a redirection without a command"))
    }

    fn check_program(word: &Word) -> Result<(), Complex> {
        if word.text.is_empty() {
            return Err(complex(word.at, "a program without a name"));
        }
        if !word.quoted && KEYWORDS.contains(&word.text.as_str()) {
            return Err(complex(word.at, "a keyword of the shell"));
        }
        if word.text.contains('=') {
            return Err(complex(word.at, "an assignment before the command"));
        }
        Ok(())
    }

    fn redirect(&mut self, fd: Option<u8>, kind: Kind) -> Result<Redirect, Complex> {
        let at = self.at;
        let usual = if matches!(kind, Kind::Read) { 0 } else { 1 };
        let fd = fd.unwrap_or(usual);
        let fits = match kind {
            Kind::Read => fd == 0,
            Kind::Write | Kind::Append | Kind::Fd(_) => fd == 1 || fd == 2,
        };
        if !fits {
            return Err(complex(at, "a redirection of an unusual descriptor"));
        }
        if let Kind::Fd(same) = kind {
            let to = Target::Fd(same);
            return Ok(Redirect { fd, to });
        }
        let Token::Word(word) = self.token()? else {
            return Err(complex(at, "a redirection without a target"));
        };
        if word.text.is_empty() {
            return Err(complex(at, "a redirection without a target"));
        }
        let to = match kind {
            Kind::Read => Target::Read(word.text),
            Kind::Write => Target::Write(word.text),
            Kind::Append => Target::Append(word.text),
            Kind::Fd(same) => Target::Fd(same),
        };
        Ok(Redirect { fd, to })
    }

    fn token(&mut self) -> Result<Token, Complex> {
        while self.peek().is_some_and(|c| c == ' ' || c == '\t') {
            self.at += 1;
        }
        let at = self.at;
        let Some(c) = self.peek() else {
            return Ok(Token::End);
        };
        match c {
            '&' if self.takes("&&") => Ok(Token::And),
            '&' => Err(complex(
                at,
                "`&` (a background command, or a redirection of both outputs)",
            )),
            '|' if self.takes("||") => Ok(Token::Or),
            '|' if self.takes("|&") => Err(complex(at, "`|&`")),
            '|' => self.take(Token::Pipe),
            ';' if self.takes(";;") => Err(complex(at, "`;;`")),
            ';' => self.take(Token::Semicolon),
            '<' | '>' => self.redirection(None),
            '#' => Err(complex(at, "a comment")),
            '\n' => Err(complex(at, "a line break outside quotes")),
            _ => self.word(),
        }
    }

    /// Parses a redirection, starting at `<` or `>`.
    fn redirection(&mut self, fd: Option<u8>) -> Result<Token, Complex> {
        let at = self.at;
        for (odd, why) in [
            ("<<", "a here-document"),
            ("<(", "a process substitution"),
            (">(", "a process substitution"),
            ("<>", "`<>`"),
            ("<&", "`<&`"),
            (">|", "`>|`"),
        ] {
            if self.takes(odd) {
                return Err(complex(at, why));
            }
        }
        let kind = if self.takes(">&") {
            let same = match self.peek() {
                Some('1') => 1,
                Some('2') => 2,
                _ => return Err(complex(at, "`>&` to a target other than 1 or 2")),
            };
            self.at += 1;
            if self.peek().is_some_and(|c| !ends_word(c)) {
                return Err(complex(at, "`>&` to a target other than 1 or 2"));
            }
            Kind::Fd(same)
        } else if self.takes(">>") {
            Kind::Append
        } else if self.takes(">") {
            Kind::Write
        } else {
            self.at += 1;
            Kind::Read
        };
        Ok(Token::Redirect { fd, kind })
    }

    fn word(&mut self) -> Result<Token, Complex> {
        let at = self.at;
        let mut text = String::new();
        let mut quoted = false;
        while let Some(c) = self.peek() {
            match c {
                '\'' | '"' => {
                    quoted = true;
                    self.quoted(c, &mut text)?;
                    continue;
                }
                '(' | ')' => return Err(complex(self.at, "a parenthesis")),
                c if ends_word(c) => break,
                '\\' => return Err(complex(self.at, "a backslash outside single quotes")),
                '$' => return Err(complex(self.at, "an expansion (`$`)")),
                '`' => return Err(complex(self.at, "a command substitution")),
                '*' | '?' | '[' => {
                    return Err(complex(self.at, "a pattern for file names"));
                }
                '{' | '}' => return Err(complex(self.at, "a brace")),
                '!' => return Err(complex(self.at, "`!` outside single quotes")),
                // Inside a name, as in HEAD~1, `~` is literal; bash expands it at the start, and after `=` and `:`.
                '~' if !self.follows_name(at) => {
                    return Err(complex(self.at, "an expansion (`~`)"));
                }
                c => text.push(c),
            }
            self.at += c.len_utf8();
        }
        let is_number = !quoted && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if is_number && self.peek().is_some_and(|c| c == '<' || c == '>') {
            let fd = match text.as_str() {
                "0" => 0,
                "1" => 1,
                "2" => 2,
                _ => return Err(complex(at, "a redirection of an unusual descriptor")),
            };
            return self.redirection(Some(fd));
        }
        Ok(Token::Word(Word { at, text, quoted }))
    }

    /// Parses the text up to the closing quote.
    fn quoted(&mut self, quote: char, text: &mut String) -> Result<(), Complex> {
        let open = self.at;
        self.at += 1;
        while let Some(c) = self.peek() {
            let why = match c {
                c if c == quote => {
                    self.at += 1;
                    return Ok(());
                }
                '$' | '`' if quote == '"' => "an expansion within quotes",
                '\\' if quote == '"' => "a backslash outside single quotes",
                '!' if quote == '"' => "`!` outside single quotes",
                c => {
                    text.push(c);
                    self.at += c.len_utf8();
                    continue;
                }
            };
            return Err(complex(self.at, why));
        }
        Err(complex(open, "a quote that is not closed"))
    }

    /// Whether the previous character belongs to the word that begins at `word` and is a letter or a digit.
    fn follows_name(&self, word: usize) -> bool {
        self.text[word..self.at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_ascii_alphanumeric())
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn takes(&mut self, operator: &str) -> bool {
        let found = self.text[self.at..].starts_with(operator);
        if found {
            self.at += operator.len();
        }
        found
    }

    fn take(&mut self, token: Token) -> Result<Token, Complex> {
        self.at += 1;
        Ok(token)
    }
}

fn complex(at: usize, why: &'static str) -> Complex {
    Complex { at, why }
}

fn ends_word(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')'
    )
}
