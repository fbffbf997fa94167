//! Calls of the supervisor by the types of their methods. Used by the routes of AG-UI and NexAU, which are not rows of
//! the table of resources.

use agent_team_protocol::method::Method;
use agent_team_protocol::rpc::TeamRef;
use serde_json::value::to_raw_value;

use crate::Service;
use crate::problem::Problem;

impl Service {
    /// Makes a call that only reads.
    pub(crate) async fn query<M: Method>(
        &self,
        team: &TeamRef,
        args: &M::Args,
    ) -> Result<M::Answer, Problem> {
        self.perform::<M>(team, None, args).await
    }

    /// Makes a call that changes something. A repeated call with the same key has its effect once.
    pub(crate) async fn change<M: Method>(
        &self,
        team: &TeamRef,
        key: String,
        args: &M::Args,
    ) -> Result<M::Answer, Problem> {
        self.perform::<M>(team, Some(key), args).await
    }

    async fn perform<M: Method>(
        &self,
        team: &TeamRef,
        key: Option<String>,
        args: &M::Args,
    ) -> Result<M::Answer, Problem> {
        let args = to_raw_value(args).expect("bare data has a JSON form");
        let call = self.session.call(M::NAME, Some(team.clone()), key, &args);
        Ok(serde_json::from_str(call.await?.get())?)
    }
}
