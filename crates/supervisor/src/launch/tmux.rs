//! stub
use super::*;
pub(crate) struct Panes;
impl Panes {
    pub(crate) fn new(
        _: TeamId,
        _: crate::settings::TmuxPlace,
        _: agent_team_protocol::spec::Layout,
        _: PathBuf,
    ) -> Self {
        Panes
    }
    pub(crate) async fn start(
        &mut self,
        _: &Path,
        o: &[LaunchOrder],
    ) -> Vec<Result<Running, String>> {
        o.iter().map(|_| Err("stub".into())).collect()
    }
    pub(crate) async fn label(&mut self, _: Vec<(MemberName, Label)>) {}
    pub(crate) async fn close(&mut self, _: &MemberName) {}
    pub(crate) async fn close_all(&mut self) -> Vec<Receipt> {
        vec![]
    }
    pub(crate) async fn attach(
        &mut self,
        m: Option<&MemberName>,
        _: bool,
        _: Option<&str>,
    ) -> Result<AttachAnswer, Refusal> {
        Err(no_pane(m))
    }
}
