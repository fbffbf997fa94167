//! The types of the reference: manuals, sections and keys. Used by the tables of keys beside this file.

use std::fmt;

/// A manual: one page of section 5, and one page of `docs/reference`.
#[derive(Debug)]
pub struct Manual {
    /// The name of the man page.
    pub name: &'static str,
    /// The summary in one line, without a final stop.
    pub summary: &'static str,
    pub paragraphs: &'static [&'static str],
    /// The text of a complete file, as an example.
    pub example: &'static str,
    pub sections: &'static [&'static Section],
}

/// A table of a file.
#[derive(Debug)]
pub struct Section {
    /// The heading as it is written in the file, such as `[[member]]`.
    pub heading: &'static str,
    pub summary: &'static str,
    pub(super) groups: &'static [&'static [KeyInfo]],
}

/// One key of a table.
#[derive(Debug)]
pub struct KeyInfo {
    pub name: &'static str,
    /// Another spelling, if there is one.
    pub alias: Option<&'static str>,
    pub kind: Kind,
    pub default: DefaultValue,
    pub summary: &'static str,
    /// Lines that set the key, or a command that sets it.
    pub example: &'static str,
}

/// The type of a key's value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    String,
    Boolean,
    /// An integer.
    Integer,
    Number,
    Strings,
    /// A table of strings.
    StringTable,
    Table,
    /// A list of tables, written `[[key]]`.
    Tables,
    /// One of a fixed set of words.
    Word(fn() -> Vec<&'static str>),
}

/// The value that applies if the file does not set the key.
#[derive(Debug, Clone, Copy)]
pub enum DefaultValue {
    /// The key must be set.
    Required,
    /// No value.
    Unset,
    /// A value as written in the file.
    Is(&'static str),
    /// A value that depends on other settings, described in words.
    Depends(&'static str),
}

impl Section {
    pub fn keys(&self) -> impl Iterator<Item = &'static KeyInfo> + use<> {
        let groups: &'static [&'static [KeyInfo]] = self.groups;
        groups.iter().copied().flatten()
    }

    /// Whether the section describes a key, under its name or its alias.
    pub(crate) fn describes(&self, key: &str) -> bool {
        self.keys()
            .any(|info| info.name == key || info.alias == Some(key))
    }
}

impl KeyInfo {
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        default: DefaultValue,
        summary: &'static str,
        example: &'static str,
    ) -> Self {
        Self {
            name,
            alias: None,
            kind,
            default,
            summary,
            example,
        }
    }

    /// The words that the key accepts; empty if it accepts other values.
    pub fn words(&self) -> Vec<&'static str> {
        match self.kind {
            Kind::Word(words) => words(),
            Kind::String
            | Kind::Boolean
            | Kind::Integer
            | Kind::Number
            | Kind::Strings
            | Kind::StringTable
            | Kind::Table
            | Kind::Tables => Vec::new(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Boolean => "true or false",
            Self::Integer => "whole number",
            Self::Number => "number",
            Self::Strings => "list of strings",
            Self::StringTable => "table of strings",
            Self::Table => "table",
            Self::Tables => "list of tables",
            Self::Word(_) => "word",
        })
    }
}

impl DefaultValue {
    /// The text to show instead of a value. `None`: the default is a value as written in the file.
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::Required => Some("required"),
            Self::Unset => Some("not set"),
            Self::Is(_) => None,
            Self::Depends(text) => Some(text),
        }
    }
}

/// The words of a list of words and their meanings.
pub(super) fn words<T>(words: &[(&'static str, T)]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}
