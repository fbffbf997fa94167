//! The bearer tokens of the service and their permissions.

use std::path::Path;

use agent_team_system::{private_file, random};
use subtle::ConstantTimeEq;

/// Minimum length of a token in a token file, in bytes.
const TOKEN_MIN: usize = 32;

/// The permission that a resource needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Reads.
    View,
    /// Decides permission requests, and changes what agents may do.
    Decide,
    /// Sends messages and goals, changes tasks and members.
    Steer,
}

impl Permission {
    const ALL: [Self; 3] = [Self::View, Self::Decide, Self::Steer];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Decide => "decide",
            Self::Steer => "steer",
        }
    }
}

/// The permissions of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permissions {
    decide: bool,
    steer: bool,
}

impl Permissions {
    pub(crate) const READ_ONLY: Self = Self {
        decide: false,
        steer: false,
    };
    pub(crate) const ALL: Self = Self {
        decide: true,
        steer: true,
    };

    pub(crate) fn allow(self, permission: Permission) -> bool {
        match permission {
            Permission::View => true,
            Permission::Decide => self.decide,
            Permission::Steer => self.steer,
        }
    }

    /// The permissions that both have.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            decide: self.decide && other.decide,
            steer: self.steer && other.steer,
        }
    }

    /// Parses a list of permissions, such as `view,steer`.
    ///
    /// # Errors
    /// A word is unknown. The error does not contain the word: it may be a token, in a line with the wrong order.
    fn parse(words: &str) -> Result<Self, String> {
        let mut permissions = Self::READ_ONLY;
        for word in words.split(',') {
            match Permission::ALL
                .into_iter()
                .find(|known| known.word() == word)
            {
                Some(Permission::View) => {}
                Some(Permission::Decide) => permissions.decide = true,
                Some(Permission::Steer) => permissions.steer = true,
                None => return Err("a permission is view, decide or steer".to_owned()),
            }
        }
        Ok(permissions)
    }
}

/// The accepted tokens.
pub struct Tokens {
    tokens: Vec<(String, Permissions)>,
    is_random: bool,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// Contains the number of the line, never the token.
    #[error("line {line}: {problem}")]
    Line { line: usize, problem: String },
    #[error("it contains no token")]
    Empty,
}

impl Tokens {
    /// One token of 256 random bits.
    pub fn random() -> Self {
        let token = format!("{}{}", random::id(), random::id());
        Self {
            tokens: vec![(token, Permissions::ALL)],
            is_random: true,
        }
    }

    /// Reads a file that only its owner may access. Each line is a token of at least 32 letters, digits, `-` or `_`,
    /// optionally followed by its permissions, such as `view,decide`. Empty lines and lines that start with `#` are
    /// skipped.
    ///
    /// # Errors
    /// The file cannot be read, or is accessible to other users; a line is malformed; there is no token.
    pub fn read(file: &Path) -> Result<Self, TokenFileError> {
        let text = private_file::read(file)?;
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let invalid = |problem: String| TokenFileError::Line {
                line: index + 1,
                problem,
            };
            let (token, permissions) = match line.split_once(char::is_whitespace) {
                Some((token, words)) => {
                    let permissions = Permissions::parse(words.trim()).map_err(invalid)?;
                    (token, permissions)
                }
                None => (line, Permissions::ALL),
            };
            let is_plain = token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if !is_plain || token.len() < TOKEN_MIN {
                let problem =
                    format!("a token has at least {TOKEN_MIN} letters, digits, `-` or `_`");
                return Err(invalid(problem));
            }
            tokens.push((token.to_owned(), permissions));
        }
        if tokens.is_empty() {
            return Err(TokenFileError::Empty);
        }
        Ok(Self {
            tokens,
            is_random: false,
        })
    }

    /// The random token; `None` for tokens of a file, which are not printed.
    pub(crate) fn to_print(&self) -> Option<&str> {
        let (token, _) = self.tokens.first()?;
        self.is_random.then_some(token)
    }

    /// The number of a presented token, and its permissions. Compares in constant time.
    pub(crate) fn find(&self, presented: &[u8]) -> Option<(usize, Permissions)> {
        let mut found = None;
        for (number, (token, permissions)) in self.tokens.iter().enumerate() {
            if bool::from(token.as_bytes().ct_eq(presented)) {
                found = Some((number, *permissions));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_gives_each_token_its_permissions() {
        let (all, view, some) = ("a".repeat(32), "b".repeat(32), "c".repeat(32));
        let text = format!("# phone\n{view} view\n\n{all}\n{some} view,decide\n");
        let tokens = Tokens::parse(&text).unwrap();
        let of = |token: &str| tokens.find(token.as_bytes()).unwrap().1;
        assert_eq!(of(&all), Permissions::ALL);
        assert_eq!(of(&view), Permissions::READ_ONLY);
        assert!(of(&some).allow(Permission::Decide) && !of(&some).allow(Permission::Steer));
        assert_eq!(tokens.find(b"a"), None);
        assert_eq!(tokens.find(b""), None);
        assert_eq!(tokens.to_print(), None);
    }

    #[test]
    fn a_malformed_token_file_is_refused_without_its_tokens() {
        let error = |text: &str| Tokens::parse(text).unwrap_err().to_string();
        assert_eq!(error("# none\n"), "it contains no token");
        let short = error("secret-but-short\n");
        assert!(
            short.starts_with("line 1: ") && !short.contains("secret"),
            "{short}"
        );
        let token = "x".repeat(40);
        for line in [format!("{token} views\n"), format!("view {token}\n")] {
            let wrong = error(&line);
            assert_eq!(wrong, "line 1: a permission is view, decide or steer");
        }
    }

    #[test]
    fn random_tokens_have_256_bits() {
        let (one, other) = (Tokens::random(), Tokens::random());
        assert_eq!(one.to_print().unwrap().len(), 64);
        assert_ne!(one.to_print(), other.to_print());
    }
}
