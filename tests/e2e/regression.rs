//! Bugs that no other test had found: a description of each bug, and a test that finds it.

use agent_team_protocol::placement::Placement;
use agent_team_tests::tmux;

use crate::teams::in_panes;

/// Services and CI often have no UTF-8 locale. tmux then prints every control character as an underscore, including the
/// tabs in the listing of panes that the supervisor requests. So the supervisor found no pane, and every launch failed.
#[tokio::test]
async fn panes_are_found_in_an_environment_without_a_utf_8_locale() {
    if !tmux::is_here() {
        return;
    }
    let mut rig = in_panes(&["ada"], "");
    for name in ["LANG", "LC_ALL", "LC_CTYPE"] {
        rig.set(name, "C");
    }
    rig.ok(["up", "--detach"]).await;
    let ada = rig.member("ada").await;
    assert_eq!((ada.placement, ada.pane.is_some()), (Placement::Tmux, true));
}
