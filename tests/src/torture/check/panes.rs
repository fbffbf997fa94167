//! Checks panes: after the faults, each running member has its pane, and each pane has a running member.

use super::super::history::{Evidence, Pane};

pub(super) fn panes(evidence: &Evidence) -> Vec<String> {
    let Some((members, panes)) = &evidence.panes else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for shown in members.iter().filter(|shown| shown.runs) {
        let own: Vec<&Pane> = panes
            .iter()
            .filter(|pane| pane.member == shown.member)
            .collect();
        match own[..] {
            [pane] if pane.lives && Some(&pane.id) == shown.pane.as_ref() => {}
            _ => found.push(format!(
                "{}: ps shows pane {:?}, tmux has {own:?}",
                shown.member, shown.pane
            )),
        }
    }
    for pane in panes {
        let has_member = |name: &str| members.iter().any(|it| it.runs && it.member == name);
        if !has_member(&pane.member) {
            found.push(format!(
                "pane {} belongs to {:?}, which does not run",
                pane.id, pane.member
            ));
        }
    }
    found
}
