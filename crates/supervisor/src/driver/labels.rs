//! The labels of a team's panes and the summary for status lines, as the launcher last received them. Called by the
//! driver.

use std::collections::BTreeMap;

use agent_team_protocol::MemberName;

use super::views::Views;
use crate::launch::{Label, Order, TeamSummary};

#[derive(Debug, Default)]
pub(super) struct Labels {
    shown: BTreeMap<MemberName, Label>,
    summary: TeamSummary,
}

impl Labels {
    /// Records a label that the launcher received with a start order.
    pub(super) fn started(&mut self, member: MemberName, label: Label) {
        self.shown.insert(member, label);
    }

    /// Forgets the label of a member whose pane is being closed.
    pub(super) fn closed(&mut self, member: &MemberName) {
        self.shown.remove(member);
    }

    /// Forgets all labels and the summary: all panes were closed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The orders that update changed labels and a changed summary.
    pub(super) fn changes(&self, views: &Views<'_>) -> Vec<Order> {
        let labels = views.team.members().filter_map(|member| {
            let name = &member.spec.name;
            let label = views.label(member)?;
            (self.shown.get(name) != Some(&label)).then(|| Order::Label(name.clone(), label))
        });
        let summary = views.summary();
        let summary = (summary != self.summary).then_some(Order::SetSummary(summary));
        labels.chain(summary).collect()
    }

    /// Records the label or summary of an order that the launcher receives.
    pub(super) fn note(&mut self, order: &Order) {
        if let Order::Label(member, label) = order {
            self.shown.insert(member.clone(), label.clone());
        }
        if let Order::SetSummary(summary) = order {
            self.summary.clone_from(summary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestTeam, name};
    use super::*;

    /// The texts of the orders, after the launcher received them.
    fn update(labels: &mut Labels, team: &TestTeam) -> Vec<String> {
        let orders = labels.changes(&team.views());
        let shown = orders.iter().map(|order| {
            labels.note(order);
            if let Order::Label(member, label) = order {
                format!("{member}: {}", label.text)
            } else {
                format!("{order:?}")
            }
        });
        shown.collect()
    }

    #[test]
    fn only_changed_labels_are_sent() {
        let mut team = TestTeam::of(&["ada"]);
        let mut labels = Labels::default();
        let summary = format!("{:?}", Order::SetSummary(team.views().summary()));
        assert_eq!(
            update(&mut labels, &team),
            [
                "ada: worker · launching",
                "lead: worker · launching",
                &summary
            ]
        );
        assert!(update(&mut labels, &team).is_empty());
        let _frames = team.hello("ada", 7);
        assert_eq!(update(&mut labels, &team), ["ada: worker · idle"]);
        labels.closed(&name("ada"));
        assert_eq!(update(&mut labels, &team), ["ada: worker · idle"]);
        labels.clear();
        assert_eq!(update(&mut labels, &team).len(), 3);
    }
}
