//! `up` changes only the parts of a team that differ from the file. Also tests names, limits and removal of spawned
//! members.

use agent_team_core::input::{After, Call, CompletionHook, SpawnSpec, UpSpec};
use agent_team_core::member::Life;
use agent_team_core::spec::FileTask;
use agent_team_core::task::TaskState;
use agent_team_core::{Answer, Refused};
use agent_team_protocol::id::{Party, TaskId};

use crate::rig::{Done, Rig, file};
use crate::specs::{member_spec, name, task_spec};

/// The file with these tasks added. Each entry contains the name of a task, and the tasks on which it depends.
fn with(mut file: UpSpec, tasks: &[(&str, &[&str])]) -> UpSpec {
    for (key, after) in tasks {
        let mut spec = task_spec(key);
        spec.from_file = true;
        let after = after.iter().map(|key| (*key).into()).collect();
        file.tasks.push(FileTask { spec, after });
    }
    file
}

fn edited(mut file: UpSpec, key: &str) -> UpSpec {
    for task in &mut file.tasks {
        if &*task.spec.key == key {
            task.spec.description = format!("{}, better", task.spec.description).into();
        }
    }
    file
}

fn without(mut file: UpSpec, key: &str) -> UpSpec {
    file.tasks.retain(|task| &*task.spec.key != key);
    file
}

/// The changes that `up` reports, one line each.
fn changes(done: Done) -> Vec<String> {
    let Answer::Up { changes } = done.answer() else {
        panic!("not the answer of up");
    };
    let lines = changes.iter().map(|it| {
        let json = serde_json::to_value(it).expect("plain data");
        let what = json["what"]
            .as_object()
            .and_then(|what| what.values().next())
            .cloned();
        format!(
            "{} {}",
            what.unwrap_or_default().as_str().unwrap_or_default(),
            json["change"].to_string().replace('"', "")
        )
    });
    lines.collect()
}

fn spawn(member: Option<&str>, role: &str) -> Call {
    Call::Spawn {
        spec: SpawnSpec {
            name: member.map(name),
            role: role.parse().expect("a role"),
            like: member_spec("any"),
        },
    }
}

fn finish(rig: &mut Rig, task: TaskId) {
    if rig.owner(task).is_none() {
        rig.user(Call::ClaimTask { task: Some(task) }).answer();
    }
    let claim = rig.claim_of(task);
    let call = Call::CompleteTask {
        claim,
        result: "".into(),
        hook: CompletionHook::NotRun,
    };
    rig.user(call).answer();
}

fn fail(rig: &mut Rig, task: TaskId) {
    rig.user(Call::ClaimTask { task: Some(task) }).answer();
    let claim = rig.claim_of(task);
    let call = Call::FailTask {
        claim,
        reason: "exit 1".into(),
    };
    rig.user(call).answer();
}

fn newest_task(rig: &Rig, key: &str) -> TaskId {
    rig.team.board().with_key(key).expect("a task has the key")
}

#[test]
fn a_repeated_up_changes_nothing() {
    let spec = with(file(&["ada"]), &[("Build", &[]), ("Test", &["Build"])]);
    let mut rig = Rig::planned(spec.clone());
    for _ in 0..2 {
        let again = rig.up(spec.clone());
        assert_eq!(again.events, []);
        assert_eq!(changes(again), [""; 0]);
        rig.hello("ada");
    }
    rig.kill("ada");
    rig.dies("ada");
    assert_eq!(changes(rig.up(spec)), ["ada started"]);
}

#[test]
fn a_leaving_member_is_reported_once() {
    let mut rig = Rig::of(file(&["ada"]));
    assert_eq!(changes(rig.up(file(&[]))), ["ada stopped"]);
    let again = rig.up(file(&[]));
    assert_eq!(again.events, []);
    assert_eq!(changes(again), [""; 0]);
}

#[test]
fn an_edited_pending_task_is_updated() {
    let spec = with(file(&[]), &[("Build", &[]), ("Test", &["Build"])]);
    let mut rig = Rig::of(spec.clone());
    let test = newest_task(&rig, "Test");
    assert_eq!(changes(rig.up(edited(spec, "Test"))), ["Test updated"]);
    assert_eq!(newest_task(&rig, "Test"), test);
    assert_eq!(&*rig.task(test).spec.description, ", better");
}

#[test]
fn an_edited_task_in_progress_is_kept_and_reported() {
    let spec = with(file(&["ada"]), &[("Build", &[])]);
    let mut rig = Rig::of(spec.clone());
    let build = newest_task(&rig, "Build");
    let done = rig.up(edited(spec, "Build"));
    assert_eq!(done.events, []);
    assert_eq!(changes(done), ["Build left_in_progress"]);
    assert_eq!(rig.owner(build).as_deref(), Some("ada"));
}

#[test]
fn an_edited_completed_task_runs_again_as_a_new_task() {
    let spec = with(file(&[]), &[("Build", &[])]);
    let mut rig = Rig::of(spec.clone());
    let build = newest_task(&rig, "Build");
    finish(&mut rig, build);
    assert_eq!(
        changes(rig.up(spec.clone())),
        [""; 0],
        "the completed task is unchanged"
    );

    let better = edited(spec, "Build");
    assert_eq!(
        changes(rig.up(better.clone())),
        ["Build {added_after:{completed:T-1,task:T-2}}"]
    );
    let new = newest_task(&rig, "Build");
    assert_ne!(new, build);
    finish(&mut rig, new);
    assert_eq!(
        changes(rig.up(better)),
        [""; 0],
        "the new task is completed"
    );
}

#[test]
fn an_edited_failed_or_cancelled_task_is_retried() {
    let spec = with(file(&[]), &[("Build", &[])]);
    let mut rig = Rig::of(spec.clone());
    let build = newest_task(&rig, "Build");
    fail(&mut rig, build);
    assert_eq!(
        changes(rig.up(spec.clone())),
        [""; 0],
        "the text is unchanged"
    );

    let better = edited(spec, "Build");
    assert_eq!(changes(rig.up(better.clone())), ["Build {retried:T-1}"]);
    assert_eq!(newest_task(&rig, "Build"), build);
    assert_eq!(rig.task(build).state, TaskState::default());
    assert_eq!(&*rig.task(build).spec.description, ", better");

    rig.user(Call::CancelTask { task: build }).answer();
    assert_eq!(
        changes(rig.up(better.clone())),
        [""; 0],
        "the user cancelled the task"
    );
    assert_eq!(
        changes(rig.up(edited(better, "Build"))),
        ["Build {retried:T-1}"]
    );
}

#[test]
fn a_removed_task_is_cancelled_only_if_pending() {
    let spec = with(file(&["ada"]), &[("Build", &[]), ("Test", &["Build"])]);
    let mut rig = Rig::of(spec.clone());
    let (build, test) = (newest_task(&rig, "Build"), newest_task(&rig, "Test"));
    let removed = without(without(spec.clone(), "Build"), "Test");
    assert_eq!(
        changes(rig.up(removed)),
        ["Build left_in_progress", "Test cancelled"]
    );
    assert_eq!(rig.owner(build).as_deref(), Some("ada"));
    assert_eq!(rig.task(test).state, TaskState::Cancelled);

    assert_eq!(
        changes(rig.up(spec)),
        ["Test added"],
        "an entry that returns is not a new task"
    );
    assert_ne!(newest_task(&rig, "Test"), test);
}

#[test]
fn a_removed_task_notifies_the_creators_of_waiting_tasks() {
    let spec = with(
        file(&["ada"]),
        &[("Build", &[]), ("Test", &["Build"]), ("Ship", &["Test"])],
    );
    let mut rig = Rig::of(spec.clone());
    let waits = Call::AddTask {
        spec: task_spec("Announce"),
        after: vec![After::Key("Ship".into())],
        lines: Vec::new(),
    };
    rig.by("ada", waits).answer();
    let removed = rig.up(without(without(spec, "Ship"), "Test"));
    let notices = removed.notices();
    let [(to, text)] = &notices[..] else {
        panic!("not exactly one notice: {notices:?}");
    };
    assert!(text.contains("T-3 blocks T-4"), "{text}");
    assert!(to.contains(&Party::Member(name("ada"))), "{to:?}");
}

#[test]
fn a_manual_task_is_not_matched_with_the_file() {
    let spec = with(file(&[]), &[("Build", &[]), ("Test", &[])]);
    let mut rig = Rig::of(spec.clone());
    let test = newest_task(&rig, "Test");
    finish(&mut rig, test);
    let by_hand = [rig.add("Build"), rig.add("Test")];
    assert_eq!(changes(rig.up(spec.clone())), [""; 0]);
    for task in by_hand {
        finish(&mut rig, task);
    }
    assert_eq!(changes(rig.up(spec)), [""; 0]);
}

#[test]
fn tasks_are_numbered_in_the_order_of_the_file() {
    let spec = with(file(&[]), &[("Test", &["Build"]), ("Build", &[])]);
    let rig = Rig::of(spec);
    assert_eq!(
        [newest_task(&rig, "Test"), newest_task(&rig, "Build")],
        [TaskId(1), TaskId(2)]
    );
    assert_eq!(rig.task(TaskId(1)).spec.after, [TaskId(2)]);
}

#[test]
fn an_invalid_file_changes_nothing() {
    let mut rig = Rig::of(file(&["ada"]));
    let mut refuse = |spec: UpSpec| rig.up(spec).refusal().to_string();
    assert_eq!(
        refuse(with(
            file(&["ada"]),
            &[
                ("Build", &["Test"]),
                ("Test", &["Lint"]),
                ("Lint", &["Build"])
            ]
        )),
        "dependencies form a cycle: Build → Test → Lint"
    );
    assert_eq!(
        refuse(with(file(&["ada"]), &[("Test", &["Bild"])])),
        "Test depends on Bild, which does not exist"
    );
    assert_eq!(
        refuse(with(file(&["ada"]), &[("Build", &[]), ("Build", &[])])),
        "two tasks are called Build"
    );
    assert_eq!(refuse(file(&["ada", "ada"])), "two members are called ada");
    assert_eq!(
        refuse(file(&["ada", "system"])),
        "system is a reserved name"
    );
    let mut leads = file(&["ada"]);
    leads.members[1].lead = true;
    assert_eq!(refuse(leads), "a team has one lead");
    let mut crowd = file(&["ada", "bob"]);
    crowd.team.teammates = 1;
    assert_eq!(
        refuse(crowd),
        "the team would have 2 teammates that are not stopped, and its limit is 1"
    );
    let mut for_unknown_member = with(file(&["ada"]), &[("Build", &[])]);
    for_unknown_member.tasks[0].spec.assignee = Some(name("zoe"));
    assert_eq!(refuse(for_unknown_member), "there is no member called zoe");
}

#[test]
fn changed_settings_restart_a_member_with_its_task() {
    let spec = file(&["ada", "bob"]);
    let mut rig = Rig::of(spec.clone());
    let task = rig.add("Build");
    let owner = rig.owner(task).expect("taken");
    let mut changed = spec;
    for member in changed
        .members
        .iter_mut()
        .filter(|it| it.name.as_str() == owner)
    {
        member.settings = "model = better".into();
    }
    assert_eq!(changes(rig.up(changed)), [format!("{owner} restarted")]);
    assert!(matches!(rig.life(&owner), Life::Draining { .. }));
    rig.dies(&owner);
    assert_eq!(rig.owner(task), Some(owner));
}

#[test]
fn a_changed_colour_does_not_restart_a_member() {
    let spec = file(&["ada"]);
    let mut rig = Rig::of(spec.clone());
    let mut changed = spec;
    changed.members[1].colour = "green".into();
    assert_eq!(changes(rig.up(changed)), ["ada updated"]);
    assert!(rig.is_ready("ada"));
    assert_eq!(&*rig.member("ada").spec.colour, "green");
}

#[test]
fn a_member_missing_in_the_file_is_removed() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let task = rig.add("Build");
    let owner = rig.owner(task).expect("taken");
    assert_eq!(changes(rig.up(file(&[]))), ["ada stopped", "bob stopped"]);
    rig.dies("ada");
    rig.dies("bob");
    assert_eq!(rig.team.members().count(), 1);
    assert!(rig.is_pending(task), "{owner} gave the task back");
}

#[test]
fn a_leaving_member_named_again_stays() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.up(file(&[])).answer();
    assert_eq!(changes(rig.up(file(&["ada"]))), ["ada started"]);
    assert_eq!(rig.dies("ada").launches(), ["ada"]);
}

#[test]
fn the_new_lead_leads_while_the_former_one_leaves() {
    let mut rig = Rig::of(file(&["zoe"]));
    let mut spec = file(&[]);
    spec.members[0].name = name("mia");
    rig.up(spec).answer();
    assert_eq!(
        rig.team.lead().map(|lead| lead.spec.name.clone()),
        Some(name("mia"))
    );
}

#[test]
fn up_keeps_spawned_members() {
    let spec = file(&["ada"]);
    let mut rig = Rig::of(spec.clone());
    rig.user(spawn(Some("zoe"), "worker")).answer();
    rig.hello("zoe");
    let again = rig.up(spec);
    assert_eq!(again.events, []);
    assert!(rig.is_ready("zoe"));
}

#[test]
fn numbers_of_unnamed_members_are_not_reused() {
    let mut rig = Rig::of(file(&["worker-7"]));
    let spawned = |rig: &mut Rig| {
        let Answer::Member { member } = rig.user(spawn(None, "worker")).answer() else {
            panic!("not a member");
        };
        member.to_string()
    };
    assert_eq!(spawned(&mut rig), "worker-8");
    rig.up(file(&[])).answer();
    rig.dies("worker-7");
    assert_eq!(spawned(&mut rig), "worker-9");
}

#[test]
fn an_unnamed_member_gets_a_free_name() {
    let mut spec = file(&["worker-1", "worker-2"]);
    for member in &mut spec.members {
        member.role = "tester".parse().expect("a role");
    }
    let mut rig = Rig::of(spec);
    assert_eq!(
        rig.user(spawn(None, "worker")).answer(),
        Answer::Member {
            member: name("worker-3")
        }
    );
}

#[test]
fn the_highest_member_number_does_not_overflow() {
    let mut rig = Rig::of(file(&[]));
    let last = format!("a-{}", u64::MAX);
    rig.user(spawn(Some(&last), "a")).answer();
    let refused = rig.user(spawn(None, "a")).refusal();
    assert_eq!(refused, Refused::NameTaken(name(&last)));
}

#[test]
fn invalid_spawns_are_refused() {
    let mut spec = file(&["ada"]);
    spec.team.teammates = 2;
    let mut rig = Rig::of(spec);
    let mut refuse = |member| rig.user(spawn(Some(member), "worker")).refusal();
    assert_eq!(refuse("ada"), Refused::NameTaken(name("ada")));
    assert_eq!(refuse("all"), Refused::ReservedName(name("all")));
    assert_eq!(refuse("lead"), Refused::ReservedName(name("lead")));
    rig.user(spawn(Some("bob"), "worker")).answer();
    assert_eq!(
        rig.user(spawn(Some("eve"), "worker")).refusal(),
        Refused::TooManyMembers {
            wanted: 3,
            limit: 2
        },
        "the lead is not counted"
    );
}

/// A spawned member that is ready.
pub(crate) fn spawned(rig: &mut Rig, member: &str) {
    rig.user(spawn(Some(member), "worker")).answer();
    rig.hello(member);
}

#[test]
fn spawned_members_come_back_after_down_and_reboot() {
    let spec = file(&["ada"]);
    let mut rig = Rig::of(spec.clone());
    for member in ["zoe", "yve", "xia"] {
        spawned(&mut rig, member);
    }
    // The user kills yve before the team goes down, and xia afterwards.
    rig.kill("yve").answer();
    rig.dies("yve");
    rig.user(Call::Down { force: true }).answer();
    for member in ["ada", "lead", "xia", "zoe"] {
        rig.dies(member);
    }
    rig.kill("xia").answer();
    let mut task = task_spec("Build");
    task.assignee = Some(name("zoe"));
    let task = rig.add_spec(task);
    assert_eq!(
        changes(rig.up(spec.clone())),
        ["lead started", "ada started", "zoe started"]
    );
    rig.hello("zoe");
    assert_eq!(rig.owner(task).as_deref(), Some("zoe"));
    rig.reboot();
    assert_eq!(
        changes(rig.up(spec)),
        ["lead started", "ada started", "zoe started"]
    );
    assert!(rig.member("xia").is_stopped() && rig.member("yve").is_stopped());
}

#[test]
fn returning_members_respect_the_member_limit() {
    let mut spec = file(&["ada"]);
    let mut rig = Rig::of(spec.clone());
    spawned(&mut rig, "zoe");
    rig.user(Call::Down { force: true }).answer();
    for member in ["ada", "lead", "zoe"] {
        rig.dies(member);
    }
    spec.team.teammates = 1;
    assert_eq!(
        rig.up(spec).refusal(),
        Refused::TooManyMembers {
            wanted: 2,
            limit: 1
        }
    );
}

pub(crate) fn remove(member: &str) -> Call {
    Call::Remove {
        member: name(member),
        force: false,
    }
}

#[test]
fn a_removed_member_frees_its_name_and_tasks() {
    let mut rig = Rig::of(file(&["ada"]));
    spawned(&mut rig, "zoe");
    let mut spec = task_spec("Review");
    spec.assignee = Some(name("zoe"));
    let (held, waiting) = (rig.add_spec(spec.clone()), rig.add_spec(spec));
    assert_eq!(rig.owner(held).as_deref(), Some("zoe"));
    assert_eq!(
        rig.user(remove("ada")).refusal(),
        Refused::InTeamFile(name("ada"))
    );
    assert_eq!(
        rig.by("ada", remove("zoe")).refusal(),
        Refused::LeadOnly("remove a member")
    );
    let removed = rig.by("lead", remove("zoe")).answer();
    assert_eq!(
        removed,
        Answer::Removed {
            member: name("zoe")
        }
    );
    rig.dies("zoe");
    assert_eq!(rig.team.member(&name("zoe")), None);
    let owners = [rig.owner(held), rig.owner(waiting)];
    assert!(owners.contains(&Some("ada".to_owned())), "{owners:?}");
    assert_eq!(rig.task(waiting).spec.assignee, None);

    spawned(&mut rig, "zoe");
    assert_eq!(rig.member("zoe").transcript.length, 0);
    // A stopped member is removed immediately.
    rig.kill("zoe").answer();
    rig.dies("zoe");
    rig.user(remove("zoe")).answer();
    assert_eq!(rig.team.member(&name("zoe")), None);
}

#[test]
fn up_starts_stopped_and_held_members() {
    let spec = file(&["ada", "bob"]);
    let mut rig = Rig::of(spec.clone());
    rig.kill("ada");
    rig.dies("ada");
    let hold = Call::ReportExit {
        code: 78,
        reason: "no key".into(),
        hold: true,
    };
    rig.by("bob", hold).answer();
    rig.dies("bob");
    assert_eq!(changes(rig.up(spec)), ["ada started", "bob started"]);
}
