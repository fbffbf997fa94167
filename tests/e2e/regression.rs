//! Bugs that no other test had found: a description of each, and the test that would have found it.

use agent_team_protocol::placement::Placement;
use agent_team_tests::tmux;

use crate::teams::in_panes;

/// In an environment without a UTF-8 locale, as services and CI have it, tmux prints every control character as an
/// underscore. The tabs in our listing of panes were among them, so that no pane was ever found again and every launch
/// failed.
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
