//! Syntax colours for code in common languages: comments, strings, numbers and keywords. Used by the Markdown renderer;
//! pure.
//!
//! Uses keyword tables instead of grammars, which would add megabytes for a few lines in a pane. Unknown languages stay
//! plain.

use crate::line::Line;
use crate::style::{SemanticColour, Style};

const COMMENT: Style = Style::of(SemanticColour::Comment).italic();
const STRING: Style = Style::of(SemanticColour::Literal);
const NUMBER: Style = Style::of(SemanticColour::Number);
const KEYWORD: Style = Style::of(SemanticColour::Keyword);

#[derive(Debug)]
struct Language {
    names: &'static [&'static str],
    line_comment: &'static str,
    block_comment: Option<(&'static str, &'static str)>,
    quotes: &'static [char],
    keywords: &'static str,
}

const C_COMMENT: Option<(&str, &str)> = Some(("/*", "*/"));

const LANGUAGES: &[Language] = &[
    Language {
        names: &["rust", "rs"],
        line_comment: "//",
        block_comment: C_COMMENT,
        quotes: &['"'],
        keywords: "as async await break const continue crate dyn else enum extern false fn for if impl in let loop \
                   match \
                   mod move mut pub ref return self Self static struct super trait true type unsafe use where while",
    },
    Language {
        names: &["js", "javascript", "jsx", "ts", "typescript", "tsx"],
        line_comment: "//",
        block_comment: C_COMMENT,
        quotes: &['"', '\'', '`'],
        keywords: "as async await break case catch class const continue default delete do else enum export extends \
                   false \
                   finally for from function if implements import in instanceof interface let new null of private \
                   public return static super switch this throw true try type typeof undefined var void while yield",
    },
    Language {
        names: &["go", "golang"],
        line_comment: "//",
        block_comment: C_COMMENT,
        quotes: &['"', '\'', '`'],
        keywords: "break case chan const continue default defer else fallthrough false for func go goto if import \
                   interface map nil package range return select struct switch true type var",
    },
    Language {
        names: &[
            "c", "h", "cpp", "c++", "cc", "hpp", "java", "kotlin", "kt", "swift", "cs", "csharp",
            "scala", "php", "dart", "proto",
        ],
        line_comment: "//",
        block_comment: C_COMMENT,
        quotes: &['"', '\''],
        keywords: "abstract auto bool boolean break byte case catch char class const continue default def delete do \
                   double \
                   else enum extends extern false final finally float for fun func function if implements import in \
                   include int interface internal is let long namespace new nil null object override package private \
                   protected public return short signed static string struct super switch template this throw throws \
                   true try typedef typename unsigned using val var virtual void when while",
    },
    Language {
        names: &["python", "py"],
        line_comment: "#",
        block_comment: None,
        quotes: &['"', '\''],
        keywords: "False None True and as assert async await break class continue def del elif else except finally for \
                   from global if import in is lambda nonlocal not or pass raise return self try while with yield",
    },
    Language {
        names: &["sh", "bash", "zsh", "shell", "console", "fish"],
        line_comment: "#",
        block_comment: None,
        quotes: &['"', '\''],
        keywords: "case do done elif else esac exit export fi for function if in local return set then unset until \
                   while",
    },
    Language {
        names: &[
            "ruby",
            "rb",
            "elixir",
            "ex",
            "perl",
            "r",
            "make",
            "makefile",
            "dockerfile",
            "cmake",
        ],
        line_comment: "#",
        block_comment: None,
        quotes: &['"', '\''],
        keywords: "and begin case class def do else elsif elseif end endif ensure false for if in module my nil not or \
                   require rescue return self sub then true unless use when while yield",
    },
    Language {
        names: &["toml", "yaml", "yml", "ini", "conf", "properties"],
        line_comment: "#",
        block_comment: None,
        quotes: &['"', '\''],
        keywords: "true false null yes no on off",
    },
    Language {
        names: &["json", "json5", "jsonc"],
        line_comment: "//",
        block_comment: None,
        quotes: &['"'],
        keywords: "true false null",
    },
    Language {
        names: &["sql"],
        line_comment: "--",
        block_comment: C_COMMENT,
        quotes: &['\''],
        keywords: "ADD ALTER AND AS ASC BY CASE CREATE DELETE DESC DISTINCT DROP ELSE END EXISTS FROM GROUP HAVING IN \
                   INDEX INSERT INTO IS JOIN KEY LEFT LIKE LIMIT NOT NULL ON OR ORDER PRIMARY SELECT SET TABLE THEN \
                   UNION UPDATE VALUES WHEN WHERE WITH",
    },
    Language {
        names: &["lua", "haskell", "hs"],
        line_comment: "--",
        block_comment: None,
        quotes: &['"', '\''],
        keywords: "and class data do else elseif end false for function if import in instance let local module nil \
                   not or \
                   of repeat return then true type until where while",
    },
];

/// Colours the lines of one code block, in order.
#[derive(Debug)]
pub(crate) struct Code {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Plain,
    Diff,
    Known {
        language: &'static Language,
        /// The current line starts within a block comment.
        in_comment: bool,
    },
}

impl Code {
    /// `info`: the info string of the code fence.
    pub(crate) fn of(info: &str) -> Self {
        let name = info.split(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | ':'));
        let name = name.into_iter().next().unwrap_or_default().to_lowercase();
        let language = LANGUAGES
            .iter()
            .find(|language| language.names.contains(&name.as_str()));
        let kind = match language {
            Some(language) => Kind::Known {
                language,
                in_comment: false,
            },
            None if matches!(name.as_str(), "diff" | "patch") => Kind::Diff,
            None => Kind::Plain,
        };
        Self { kind }
    }

    pub(crate) fn line(&mut self, text: &str) -> Line {
        match &mut self.kind {
            Kind::Plain => Line::of(Style::PLAIN, text),
            Kind::Diff => Line::diff(text).next().unwrap_or_default(),
            Kind::Known {
                language,
                in_comment,
            } => coloured(language, in_comment, text),
        }
    }
}

fn coloured(language: &Language, in_comment: &mut bool, text: &str) -> Line {
    let mut line = Line::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (style, end) = token(language, in_comment, rest);
        line.push(style, &rest[..end]);
        rest = &rest[end..];
    }
    line
}

/// The first token: its style and its length in bytes.
fn token(language: &Language, in_comment: &mut bool, text: &str) -> (Style, usize) {
    if let Some((begin, end)) = language.block_comment
        && (*in_comment || text.starts_with(begin))
    {
        let skip = if *in_comment { 0 } else { begin.len() };
        let found = text[skip..].find(end);
        *in_comment = found.is_none();
        let length = found.map_or(text.len(), |at| skip + at + end.len());
        return (COMMENT, length);
    }
    if text.starts_with(language.line_comment) {
        return (COMMENT, text.len());
    }
    let Some(first) = text.chars().next() else {
        return (Style::PLAIN, 0);
    };
    if language.quotes.contains(&first) {
        return (STRING, string(text, first));
    }
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let length = text.find(|c| !word(c)).unwrap_or(text.len());
    let style = match &text[..length] {
        "" => return (Style::PLAIN, first.len_utf8()),
        number if first.is_ascii_digit() && !number.is_empty() => NUMBER,
        name => {
            let is_name = |keyword: &str| {
                keyword == name || (language.names == ["sql"] && keyword.eq_ignore_ascii_case(name))
            };
            if language.keywords.split_whitespace().any(is_name) {
                KEYWORD
            } else {
                Style::PLAIN
            }
        }
    };
    (style, length)
}

/// The length of a string in bytes, to its closing quote or the end of the line.
fn string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Theme;

    fn shown(info: &str, lines: &[&str]) -> Vec<String> {
        let mut code = Code::of(info);
        lines
            .iter()
            .map(|line| code.line(line).ansi(Theme::Dark))
            .collect()
    }

    #[test]
    fn known_tokens_are_coloured_and_none_is_lost() {
        let [line] = &shown("rust", &["let x = \"a\\\"b\"; // 1"])[..] else {
            panic!("one line");
        };
        assert_eq!(
            line,
            "\x1b[38;5;176mlet\x1b[m x = \x1b[38;5;114m\"a\\\"b\"\x1b[m; \x1b[3;38;5;245m// 1\x1b[m"
        );
    }

    #[test]
    fn a_block_comment_spans_lines() {
        let lines = shown("c", &["int /* a", "b */ 1"]);
        assert!(
            lines[1].starts_with("\x1b[3;38;5;245mb */\x1b[m"),
            "{lines:?}"
        );
    }

    #[test]
    fn unknown_languages_stay_plain() {
        assert_eq!(shown("brainfuck", &["+[-] let"]), ["+[-] let"]);
        assert_eq!(shown("", &["'let"]), ["'let"]);
    }
}
