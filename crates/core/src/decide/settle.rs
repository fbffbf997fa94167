//! Decisions that follow from the state alone, after every input: launches to start, budgets that block members, tasks
//! to assign, rounds of the run, and the notice that all members are idle.

use agent_team_protocol::id::{MemberName, Party, TaskId};

use super::Decider;
use crate::effect::Effect;
use crate::team::event::Event;
use crate::team::member::{GIVE_UP_MS, Life};

impl Decider<'_> {
    pub(crate) fn settle(&mut self) {
        while std::mem::take(&mut self.unsettled) {
            self.start_planned();
            self.judge_budgets();
            self.take_ready_tasks();
            self.advance_run();
            self.notice_idleness();
        }
    }

    fn start_planned(&mut self) {
        let mut starting = self
            .team
            .members()
            .filter(|m| m.spec.foreign && is_launching(&m.life))
            .count();
        let mut planned: Vec<(bool, MemberName)> = self
            .team
            .members()
            .filter(|member| member.life == Life::Planned)
            .map(|member| (!member.spec.lead, member.spec.name.clone()))
            .collect();
        planned.sort_unstable();
        for (_, name) in planned {
            let foreign = self
                .team
                .member(&name)
                .is_some_and(|member| member.spec.foreign);
            if foreign {
                if starting >= self.team.spec.starting as usize {
                    continue;
                }
                starting += 1;
            }
            self.start(name);
        }
    }

    fn start(&mut self, member: MemberName) {
        let new = self.context.new_launch(self.launches);
        self.launches += 1;
        let give_up_at = self.context.now.after_ms(GIVE_UP_MS);
        self.record(Event::LaunchStarted {
            member: member.clone(),
            launch: new.launch.clone(),
            token_hash: new.token_hash,
            give_up_at,
        });
        // Claims of the member's previous launch move to this launch in the same commit.
        self.renew_claims(&member);
        self.effect(Effect::Launch {
            member,
            launch: new.launch,
            token: new.token,
        });
    }

    fn take_ready_tasks(&mut self) {
        let mut idle: Vec<(crate::time::Tick, MemberName)> = self
            .team
            .members()
            .filter(|member| matches!(member.life, Life::Ready { .. }))
            .filter(|member| !self.team.leads_in_rounds(member))
            .filter(|member| self.team.task_of(&member.spec.name).is_none())
            // Skip a member that a budget blocks: it could not start the task, and another member may be able to.
            .filter(|member| self.team.out_of_budget(member).is_none())
            .map(|member| (member.since, member.spec.name.clone()))
            .collect();
        // The member that has been idle longest receives a task first.
        idle.sort_unstable();
        for (_, name) in idle {
            let Some(member) = self.team.member(&name) else {
                continue;
            };
            match self.team.board.next_for(member) {
                Some(task) => self.assign(task, name),
                None if !member.idle_notified => self.idle(name),
                None => {}
            }
        }
    }

    fn assign(&mut self, task: TaskId, member: MemberName) {
        let Some(task) = self.team.board.get(task).cloned() else {
            return;
        };
        self.claim_as(&task, Party::Member(member.clone()));
        self.warn_of_overlaps(&task);
        self.effect(Effect::Assign {
            member,
            task: task.id,
        });
    }

    fn idle(&mut self, name: MemberName) {
        let launch = self
            .team
            .member(&name)
            .and_then(|member| member.life.launch())
            .map(|launch| launch.id.clone());
        self.record(Event::MemberIdle {
            member: name.clone(),
        });
        if let Some(launch) = launch
            && self.team.spec.asks_when_idle
        {
            self.effect(Effect::RunIdleHook {
                member: name,
                launch,
            });
        }
    }
}

fn is_launching(life: &Life) -> bool {
    matches!(life, Life::Launching { .. })
}
