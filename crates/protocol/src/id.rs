//! Ids: names, numbers that the supervisor assigns, and the random ids of launches.
//!
//! The `Display` of an id is also its JSON form. The parsers of numbered ids also accept leading zeros, and the parser
//! of recipients accepts `*` for `all`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Maximum length of a name, in bytes.
pub const NAME_MAX: usize = 32;

/// Names with a special meaning as senders or recipients, and the names that `messages` prints for the user and the
/// supervisor.
pub const RESERVED_NAMES: [&str; 6] = ["user", "you", "system", "agent-team", "all", "lead"];

/// Why a text is not a name or an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {rule}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    rule: &'static str,
}

const NAME_RULE: &str =
    "a lower-case letter, then at most 31 lower-case letters, digits or hyphens";

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_MAX
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Deserializes an id from a borrowed text: a journal has very many ids, and copying each text first would be slow.
macro_rules! deserialize_from_text {
    ($name:ident, $what:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $what))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[cfg_attr(test, schemars(with = "String", extend("pattern" = "^[a-z][a-z0-9-]{0,31}$")))]
        pub struct $name(Arc<str>);

        deserialize_from_text!($name, $what);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_name(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { what: $what, text: text.into(), rule: NAME_RULE })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

name! {
    /// The name of a member, unique in its team.
    MemberName, "member's name"
}
name! {
    /// The name of a team, as the user writes it. [`TeamId`] distinguishes teams of the same name in two projects.
    TeamName, "team's name"
}
name! {
    /// The name of a role.
    RoleName, "role's name"
}

impl MemberName {
    /// Whether the name is reserved. Only the lead may be named `lead`; no member may have another reserved name.
    pub fn is_reserved(&self) -> bool {
        RESERVED_NAMES.contains(&self.as_str())
    }
}

/// An id that is a prefix and a number.
pub trait NumberedId: FromStr<Err = InvalidId> {
    /// Parses an id that the user typed in one of three forms: as printed, the same in lower case, or the number alone.
    ///
    /// # Errors
    /// The text has none of these forms.
    fn from_typed(text: &str) -> Result<Self, InvalidId>;
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[cfg_attr(test, schemars(with = "String", extend("pattern" = concat!("^", $prefix, "[0-9]+$"))))]
        #[serde(into = "String")]
        pub struct $name(pub u64);

        deserialize_from_text!($name, $what);

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|digits| digits.parse().ok())
                    .map(Self)
                    .ok_or(InvalidId { what: $what, text: text.into(), rule: concat!($prefix, " and a number") })
            }
        }

        impl NumberedId for $name {
            fn from_typed(text: &str) -> Result<Self, InvalidId> {
                let upper = text.to_ascii_uppercase();
                let digits = upper.strip_prefix($prefix).unwrap_or(&upper);
                // Parsing the original text again keeps it in the error.
                format!(concat!($prefix, "{}"), digits).parse().or_else(|_| text.parse())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

number! {
    /// A task on the board, `T-<n>`. A team never reuses the number; `up --fresh` starts a new board.
    TaskId, "T-", "task's id"
}
number! {
    /// A message, `M-<n>`, numbered in the order in which the team accepts messages.
    MessageId, "M-", "message's id"
}
number! {
    /// A permission request, `P-<n>`.
    RequestId, "P-", "request's id"
}
number! {
    /// A run, `R-<n>`: the work on one goal.
    RunId, "R-", "run's id"
}

/// The fencing token of a claim: higher than the token of every earlier claim of the task.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Generation(pub u64);

/// The number of an event in its team's journal, from 1; 0 is before the first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Revision(pub u64);

/// One start of a member: 128 random bits as 32 hexadecimal digits. Not a secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = "^[0-9a-fA-F]{32}$")))]
#[serde(transparent)]
pub struct LaunchId(Arc<str>);

impl LaunchId {
    pub fn from_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LaunchId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId {
                what: "launch's id",
                text: text.into(),
                rule: "32 hexadecimal digits",
            })
        }
    }
}

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// FNV-1a: stable across builds and versions. It distinguishes the user's own objects and is not a security measure.
pub fn stable_hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A team's name and a short hash of its project's path: `payments-1f3a90c2`. It is also the name of the team's
/// directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = "^[a-z][a-z0-9-]{0,31}-[0-9a-fA-F]{8}$")))]
#[serde(transparent)]
pub struct TeamId(Arc<str>);

impl TeamId {
    /// `project` is the canonical path of the project directory.
    pub fn new(name: &TeamName, project: &std::path::Path) -> Self {
        let hash = stable_hash(project.as_os_str().as_encoded_bytes().iter().copied());
        Self(format!("{name}-{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff)).into())
    }

    /// Parses the name of a team's directory; `None` if no team can have this directory.
    pub fn from_directory_name(text: &str) -> Option<Self> {
        let (name, hash) = text.rsplit_once('-')?;
        (is_name(name) && hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the team, which teams of other projects may have too.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('-').map_or(&self.0, |(name, _)| name)
    }
}

impl fmt::Display for TeamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TeamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member, the user or the system, as the author of an action or as the sender or recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = "^(user|system|[a-z][a-z0-9-]{0,31})$")))]
#[serde(into = "String")]
pub enum Party {
    User,
    System,
    Member(MemberName),
}

deserialize_from_text!(Party, "party's name");

impl FromStr for Party {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Ok(match text {
            "user" => Self::User,
            "system" => Self::System,
            name => Self::Member(name.parse()?),
        })
    }
}

impl Party {
    /// The name in texts for the user: `you`, `agent-team`, or the member's name.
    pub fn shown(&self) -> &str {
        match self {
            Self::User => "you",
            Self::System => "agent-team",
            Self::Member(name) => name.as_str(),
        }
    }
}

impl From<Party> for String {
    fn from(party: Party) -> Self {
        party.to_string()
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.pad("user"),
            Self::System => f.pad("system"),
            Self::Member(name) => name.fmt(f),
        }
    }
}

/// The recipient of a message, as its sender writes it. `lead` is the lead, even if the lead has another name; `*` is
/// `all`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = "^(all|\\*|user|lead|[a-z][a-z0-9-]{0,31})$")))]
#[serde(into = "String")]
pub enum Recipient {
    All,
    User,
    Lead,
    Member(MemberName),
}

impl FromStr for Recipient {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Ok(match text {
            "all" | "*" => Self::All,
            "user" => Self::User,
            "lead" => Self::Lead,
            name => Self::Member(name.parse()?),
        })
    }
}

deserialize_from_text!(Recipient, "recipient's name");

impl From<Recipient> for String {
    fn from(recipient: Recipient) -> Self {
        recipient.to_string()
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::User => f.pad("user"),
            Self::Lead => f.pad("lead"),
            Self::Member(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["a", "ada", "build-2", &"x".repeat(32)] {
            assert!(good.parse::<MemberName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "Ada",
            "2a",
            "-a",
            "a_b",
            "a.b",
            "a b",
            "../x",
            "#(id)",
            &"x".repeat(33),
        ] {
            assert!(bad.parse::<MemberName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_is_a_prefix_and_a_number() {
        assert_eq!("T-12".parse(), Ok(TaskId(12)));
        assert_eq!(TaskId(12).to_string(), "T-12");
        for bad in ["12", "T-", "T--1", "T-+1", "t-1", "T-1x"] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&MessageId(3)).unwrap(), "\"M-3\"");
    }

    #[test]
    fn team_ids_differ_between_projects() {
        let name: TeamName = "payments".parse().unwrap();
        let one = TeamId::new(&name, "/srv/a/payments".as_ref());
        let two = TeamId::new(&name, "/srv/b/payments".as_ref());
        assert_ne!(one, two);
        assert_eq!((one.name(), two.name()), ("payments", "payments"));
        assert_eq!(TeamId::from_directory_name(one.as_str()), Some(one));
        assert_eq!(TeamId::from_directory_name("../x"), None);
    }

    #[test]
    fn parties_round_trip() {
        for party in [
            Party::User,
            Party::System,
            Party::Member("ada".parse().unwrap()),
        ] {
            let json = serde_json::to_string(&party).unwrap();
            assert_eq!(serde_json::from_str::<Party>(&json).unwrap(), party);
        }
        assert_eq!("*".parse(), Ok(Recipient::All));
    }
}
