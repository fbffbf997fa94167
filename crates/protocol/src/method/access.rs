//! The permitted callers of a method. The supervisor checks the caller once for each call, before it reports unreadable
//! arguments. Rules that depend on the arguments, such as the owner of a task, are checked by the code that handles
//! the arguments.

use crate::error::{ErrorCode, Refusal};

use super::MethodEntry;

/// The callers of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Clients, which act for the user.
    User,
    UserOrLead,
    Lead,
    /// Members, including the lead.
    Member,
    Everyone,
    /// The supervisor calls the method; a member answers.
    Supervisor,
}

/// The role in which a connection calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerRole {
    User,
    Lead,
    /// A member that is not the lead.
    Teammate,
}

impl Access {
    pub fn admits(self, caller: CallerRole) -> bool {
        match self {
            Self::User => caller == CallerRole::User,
            Self::UserOrLead => caller != CallerRole::Teammate,
            Self::Lead => caller == CallerRole::Lead,
            Self::Member => caller != CallerRole::User,
            Self::Everyone => true,
            Self::Supervisor => false,
        }
    }
}

impl MethodEntry {
    /// Checks that a caller with this role may call the method.
    ///
    /// # Errors
    /// `not_permitted`; `method_not_found` for a method that only the supervisor calls.
    pub fn check(self, caller: CallerRole) -> Result<(), Refusal> {
        if self.access.admits(caller) {
            return Ok(());
        }
        let admitted = match self.access {
            Access::Supervisor | Access::Everyone => {
                return Err(Refusal::unknown_method(self.name));
            }
            Access::User => "the user",
            Access::UserOrLead => "the user and the lead",
            Access::Lead => "the lead",
            Access::Member => "members",
        };
        let text = format!("only {admitted} may call {}", self.name);
        Err(Refusal::new(ErrorCode::NotPermitted, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::METHODS;

    #[test]
    fn each_access_rule_admits_its_callers() {
        use CallerRole::{Lead, Teammate, User};
        for (access, admitted) in [
            (Access::User, &[User][..]),
            (Access::UserOrLead, &[User, Lead]),
            (Access::Lead, &[Lead]),
            (Access::Member, &[Lead, Teammate]),
            (Access::Everyone, &[User, Lead, Teammate]),
            (Access::Supervisor, &[]),
        ] {
            for caller in [User, Lead, Teammate] {
                assert_eq!(
                    access.admits(caller),
                    admitted.contains(&caller),
                    "{access:?}"
                );
            }
        }
    }

    #[test]
    fn refusals_name_the_method_and_its_callers() {
        let refused = |name: &str, caller| {
            let entry = METHODS.iter().find(|entry| entry.name == name).unwrap();
            entry.check(caller).unwrap_err()
        };
        let down = refused("team/down", CallerRole::Lead);
        assert_eq!(down.code, ErrorCode::NotPermitted);
        assert_eq!(down.message, "only the user may call team/down");
        let ask = refused("request/ask", CallerRole::User);
        assert_eq!(ask.message, "only members may call request/ask");
        let ping = refused("member/ping", CallerRole::User);
        assert_eq!(ping.code, ErrorCode::MethodNotFound);
    }
}
