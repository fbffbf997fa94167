//! stub
use crate::settings::*;
pub(crate) async fn choose(
    _: agent_team_protocol::spec::PlacementChoice,
    _: &agent_team_protocol::method::CallerTerminal,
    _: &agent_team_system::directories::Directories,
) -> Result<Place, agent_team_protocol::Refusal> {
    Ok(Place {
        terminal: Terminal::Headless,
        reason: "stub".into(),
    })
}
