//! The permission modes that the user chose since the last `up`. The team's settings, which the core does not read,
//! contain the mode of the last `up`. A mode of this module replaces that mode until the next `up`.
//!
//! A teammate without a mode of its own is never in a mode that allows more than the mode of the lead.

use std::collections::BTreeMap;

use agent_team_protocol::id::MemberName;
use agent_team_protocol::value::Mode;
use serde::{Deserialize, Serialize};

/// The modes are a part of [`TeamSpec`](crate::spec::TeamSpec), so that `up` replaces them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) team: Option<Mode>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) members: BTreeMap<MemberName, Mode>,
}

impl Modes {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The mode of the team: the mode that the user chose, or else `planned`, the mode of the last `up`.
    pub fn of_team(&self, planned: Mode) -> Mode {
        self.team.unwrap_or(planned)
    }

    /// The mode of a member.
    pub fn of_member(&self, name: &MemberName, lead: Option<&MemberName>, planned: Mode) -> Mode {
        let of_team = self.of_team(planned);
        let own = |name: &MemberName| self.members.get(name).copied();
        match (own(name), lead.and_then(own)) {
            (Some(own), _) => own,
            (None, Some(of_lead)) => of_team.min(of_lead),
            (None, None) => of_team,
        }
    }

    pub(crate) fn set(&mut self, member: Option<&MemberName>, mode: Mode) {
        match member {
            Some(member) => {
                self.members.insert(member.clone(), mode);
            }
            None => {
                self.team = Some(mode);
                self.members.clear();
            }
        }
    }

    /// Forgets the mode of a removed member, so that a later member of the same name does not get it.
    pub(crate) fn forget(&mut self, member: &MemberName) {
        self.members.remove(member);
    }
}
