//! Permission modes that the user changes while the team runs.

use agent_team_core::effect::Effect;
use agent_team_core::input::Call;
use agent_team_core::mode::Modes;
use agent_team_core::{Event, Refused};
use agent_team_protocol::value::Mode;

use crate::rig::{Done, Rig, file};
use crate::specs::name;
use crate::up::{remove, spawned};

fn set(member: Option<&str>, mode: Mode) -> Call {
    Call::SetMode {
        member: member.map(name),
        mode,
    }
}

fn of(rig: &Rig, member: &str) -> Mode {
    let lead = rig.team.lead().map(|lead| &lead.spec.name);
    let modes: &Modes = &rig.team.spec().modes;
    modes.of_member(&name(member), lead, Mode::Default)
}

/// The members that are informed of their mode after this call.
fn informed(done: &Done) -> Vec<&str> {
    let informed = done.effects.iter().filter_map(|effect| {
        if let Effect::InformOfMode { member } = effect {
            Some(member.as_str())
        } else {
            None
        }
    });
    informed.collect()
}

#[test]
fn only_the_user_changes_a_mode() {
    let mut rig = Rig::of(file(&["ada"]));
    for caller in ["lead", "ada"] {
        for member in [None, Some("ada"), Some("lead")] {
            let refused = rig.by(caller, set(member, Mode::Plan)).refusal();
            assert_eq!(refused, Refused::UserOnly("change the permission mode"));
        }
    }
    let changed = rig.user(set(None, Mode::AcceptEdits));
    let event = Event::ModeChanged {
        member: None,
        mode: Mode::AcceptEdits,
    };
    assert_eq!(changed.events, [event]);
    assert_eq!(informed(&changed), ["ada", "lead"]);
    let changed = rig.user(set(Some("ada"), Mode::AcceptEdits));
    assert_eq!(informed(&changed), ["ada"]);
    assert_eq!(of(&rig, "ada"), Mode::AcceptEdits);
    let unknown = rig.user(set(Some("zoe"), Mode::Plan)).refusal();
    assert_eq!(unknown, Refused::UnknownMember("zoe".into()));
}

#[test]
fn the_leads_mode_limits_teammates_without_their_own() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    rig.user(set(None, Mode::AcceptEdits)).answer();
    rig.user(set(Some("lead"), Mode::Plan)).answer();
    assert_eq!(of(&rig, "ada"), Mode::Plan);
    // The user may choose a wider mode for one teammate.
    rig.user(set(Some("ada"), Mode::Sandboxed)).answer();
    assert_eq!(
        (of(&rig, "ada"), of(&rig, "bob")),
        (Mode::Sandboxed, Mode::Plan)
    );
    rig.user(set(Some("lead"), Mode::Sandboxed)).answer();
    assert_eq!(of(&rig, "bob"), Mode::AcceptEdits);
    // A mode of the team replaces the modes of all members.
    rig.user(set(None, Mode::Default)).answer();
    for member in ["lead", "ada", "bob"] {
        assert_eq!(of(&rig, member), Mode::Default);
    }
}

#[test]
fn a_mode_ends_with_its_member_and_with_up() {
    let mut rig = Rig::of(file(&["ada"]));
    spawned(&mut rig, "zoe");
    rig.user(set(Some("zoe"), Mode::Sandboxed)).answer();
    rig.by("lead", remove("zoe")).answer();
    rig.dies("zoe");
    // The user chose no mode for this second member of the same name.
    spawned(&mut rig, "zoe");
    assert_eq!(of(&rig, "zoe"), Mode::Default);
    rig.user(set(None, Mode::Plan)).answer();
    rig.user(set(Some("ada"), Mode::Sandboxed)).answer();
    rig.up(file(&["ada"])).answer();
    assert_eq!(
        (of(&rig, "ada"), of(&rig, "zoe")),
        (Mode::Default, Mode::Default)
    );
}
