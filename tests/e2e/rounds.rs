//! Teams that work in rounds: a coordinator, and members that work in turn.

use agent_team_protocol::RunId;
use agent_team_protocol::method::{RunWait, WaitRun};
use agent_team_protocol::view::TaskState;
use agent_team_system::process::Signal;
use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use serde_json::{Value, json};

/// A lead with ada and ben, each with a model of its own name. Ben is listed first.
fn team(mode: &str) -> String {
    format!(
        "name = \"demo\"\n{mode}\n[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n\
         [[member]]\nname = \"ben\"\nmodel = \"openai/ben\"\n\
         [[member]]\nname = \"ada\"\nmodel = \"openai/ada\"\n"
    )
}

/// A rig with [`team`]; its members query this server.
fn rig(server: &FakeModelServer, mode: &str) -> Rig {
    let mut rig = Rig::with_team(&team(mode));
    rig.set_settings("[permissions]\nmode = \"accept-edits\"\n");
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig
}

fn write_greeting() -> Reply {
    let greeting = json!({"path": "greeting.txt", "content": "hello\n"});
    Reply::call("write", greeting)
}

/// The replies of a member's model that end its round.
fn done(task: &str, output: &str) -> Vec<Reply> {
    let result = json!({"task": task, "result": output});
    vec![Reply::call("complete_task", result), Reply::text("Done.")]
}

const COORDINATOR: &str = "mode = \"coordinator\"";

/// The questions to the lead's model, in order.
fn questions(server: &FakeModelServer) -> Vec<String> {
    let requests = server.requests();
    let of_lead = requests.iter().filter(|request| request.model() == "lead");
    of_lead.map(|request| request.last_input()).collect()
}

/// Runs a goal in a running team, concurrently with `meanwhile`; returns the run's report.
async fn run_while(rig: &Rig, meanwhile: impl Future<Output = ()>) -> Value {
    let run = rig.run(["run", "--json", "Greet the world"]);
    let (output, ()) = tokio::join!(run, meanwhile);
    output.expect(0).json()
}

#[tokio::test]
async fn a_coordinator_selects_members_until_it_answers() {
    let server = FakeModelServer::start(by_model([
        (
            "lead",
            vec![
                Reply::text("ROUTE: ada\nLook for the greeting."),
                Reply::text("ROUTE: ben"),
                Reply::text("ROUTE: ada\nCheck it."),
                Reply::text("DONE: It says hello,\nand that is checked."),
            ],
        ),
        (
            "ada",
            [
                done("T-1", "There is no greeting."),
                done("T-3", "It says hello."),
            ]
            .concat(),
        ),
        (
            "ben",
            [vec![write_greeting()], done("T-2", "I have written one.")].concat(),
        ),
    ]))
    .await;
    let rig = rig(&server, COORDINATOR);
    let output = rig
        .run(["run", "Greet the world", "--json"])
        .await
        .expect(0);
    let report = output.json();
    assert_eq!(report["outcome"], "finished");
    assert_eq!(
        report["final_answer"],
        "It says hello,\nand that is checked."
    );
    assert_eq!(report["rounds"], 4);
    let output =
        |round: u32, output: &str| json!({"round": round, "state": "completed", "output": output});
    assert_eq!(
        report["outputs"],
        json!({
            "ada": [output(1, "There is no greeting."), output(3, "It says hello.")],
            "ben": [output(2, "I have written one.")],
        })
    );
    assert_eq!(report["tasks"].as_array().map(Vec::len), Some(3));
    let tokens = |key: &str| report[key].as_u64().expect("a number");
    assert!(tokens("tokens_in") > 0 && tokens("tokens_out") > 0);
    assert_eq!(tokens("tokens"), tokens("tokens_in") + tokens("tokens_out"));
    assert_eq!(rig.read("greeting.txt").as_deref(), Some("hello\n"));

    let questions = questions(&server);
    assert!(questions[0].contains("Greet the world") && questions[0].contains("- ada (worker"));
    assert!(questions[0].contains("None yet."));
    assert!(questions[3].contains("There is no greeting.") && questions[3].contains("round 3"));
    let requests = server.requests();
    let lead = requests.iter().find(|request| request.model() == "lead");
    assert_eq!(lead.expect("the model was called").tools(), [""; 0]);
    let ben = requests.iter().find(|request| request.model() == "ben");
    let ben = ben.expect("its model was called").last_input();
    assert!(ben.contains("There is no greeting."), "{ben}");
    let ada = requests.iter().rfind(|request| request.model() == "ada");
    let ada = ada.expect("its model was called").last_input();
    assert!(
        ada.contains("Check it.") && ada.contains("I have written one."),
        "{ada}"
    );
}

#[tokio::test]
async fn invalid_replies_are_returned_until_rounds_run_out() {
    let server = FakeModelServer::start(by_model([
        (
            "lead",
            vec![
                Reply::text("I would let ada do it."),
                Reply::text("ROUTE: eve"),
                Reply::text("ROUTE: ada"),
            ],
        ),
        ("ada", done("T-1", "Half of it is done.")),
    ]))
    .await;
    let rig = rig(&server, "mode = \"coordinator\"\nmax_rounds = 3");
    let output = rig
        .run(["run", "Greet the world", "--json"])
        .await
        .expect(1);
    let report = output.json();
    assert_eq!(report["outcome"], "max_rounds");
    assert_eq!(report["rounds"], 3);
    assert_eq!(report["outputs"]["ada"][0]["output"], "Half of it is done.");
    assert_eq!(report.get("final_answer"), None);
    assert!(
        report["reason"]
            .as_str()
            .expect("why")
            .contains("reached its limit of rounds")
    );
    let questions = questions(&server);
    assert!(questions[1].contains("does not begin with ROUTE: or DONE:"));
    assert!(questions[2].contains("\"eve\" is not a member"));
    assert!(questions[2].contains("This is the last round."));
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_round_without_complete_task_has_failed() {
    let server = FakeModelServer::start(by_model([
        (
            "lead",
            vec![Reply::text("ROUTE: ada"), Reply::text("DONE: Without ada.")],
        ),
        (
            "ada",
            vec![Reply::text("I could not."), Reply::text("Really not.")],
        ),
    ]))
    .await;
    let rig = rig(&server, COORDINATOR);
    let output = rig
        .run(["run", "Greet the world", "--json"])
        .await
        .expect(0);
    let round = &output.json()["outputs"]["ada"][0];
    assert_eq!(round["state"], "failed");
    let why = round["output"].as_str().expect("why");
    assert!(why.contains("without complete_task") && why.contains("Really not."));
}

#[tokio::test]
async fn a_truncated_or_filtered_synthesis_is_not_an_answer() {
    for stop in ["length", "content_filter"] {
        let server = FakeModelServer::start(by_model([
            ("ben", done("T-1", "Blue.")),
            ("ada", done("T-2", "Green.")),
            ("lead", vec![Reply::text("It is bl").stop(stop); 3]),
        ]))
        .await;
        let rig = rig(&server, "mode = \"collaborate\"");
        let report = rig.run(["run", "--json", "Which colour?"]).await.expect(1);
        let report = report.json();
        assert_eq!(report.get("final_answer"), None, "{stop}");
        assert!(report["reason"].as_str().expect("why").contains("cut off"));
        assert_eq!(questions(&server).len(), 3, "the model is asked twice more");
    }
}

#[tokio::test]
async fn an_empty_or_cut_reply_of_the_lead_is_requested_again() {
    let lead = vec![
        Reply::text("<think>Ada knows it.</think>\n\nROUTE: ada"),
        Reply::text("<think>I am not sure"),
        Reply::text("DONE: It is bl").stop("length"),
        Reply::text("<think>Now I know.</think>DONE: It is blue."),
    ];
    let models = [("ada", done("T-1", "Blue.")), ("lead", lead)];
    let server = FakeModelServer::start(by_model(models)).await;
    let rig = rig(&server, COORDINATOR);
    let report = rig.run(["run", "--json", "Which colour?"]).await.expect(0);
    let report = report.json();
    assert_eq!(report["final_answer"], "It is blue.");
    assert_eq!(report["rounds"], 2, "a retry uses up no round");
    let questions = questions(&server);
    assert!(questions[2].contains("Your reply was empty."));
    assert!(questions[3].contains("it reached the length limit"));
}

#[tokio::test]
async fn the_coordinator_prompt_comes_from_the_team_file() {
    let server =
        FakeModelServer::start(by_model([("lead", vec![Reply::text("DONE: Hello.")])])).await;
    let mode = "mode = \"coordinator\"\ncoordinator_prompt = \"GOAL {task} / WHO {worker_descriptions} / {x: 1}\"";
    let rig = rig(&server, mode);
    let output = rig
        .run(["run", "Greet {worker_descriptions}"])
        .await
        .expect(0);
    assert_eq!(output.stdout, "Hello.\n");
    let asked = &questions(&server)[0];
    assert!(
        asked.contains("GOAL Greet {worker_descriptions} / WHO - "),
        "{asked}"
    );
    assert!(asked.contains("/ {x: 1}"), "{asked}");
}

#[tokio::test]
async fn members_work_in_turn_and_the_lead_sums_up() {
    let server = FakeModelServer::start(by_model([
        ("ben", done("T-1", "From here it is blue.")),
        ("ada", done("T-2", "From here it is green.")),
        ("lead", vec![Reply::text("It is blue or green.")]),
    ]))
    .await;
    let rig = rig(&server, "mode = \"collaborate\"");
    rig.ok(["up", "--detach"]).await;
    let output = rig
        .run(["up", "--wait", "--json", "What colour is it?"])
        .await
        .expect(0);
    let report = output.json();
    assert_eq!(report["outcome"], "finished");
    assert_eq!(report["final_answer"], "It is blue or green.");
    assert_eq!(report["rounds"], 2);
    assert_eq!(report["outputs"]["ben"][0]["round"], 1);
    assert_eq!(
        report["outputs"]["ada"][0]["output"],
        "From here it is green."
    );
    let requests = server.requests();
    let ada = requests.iter().find(|request| request.model() == "ada");
    let ada = ada.expect("its model was called").last_input();
    assert!(ada.contains("From here it is blue."), "{ada}");
    let asked = &questions(&server)[0];
    assert!(
        asked.contains("blue.") && asked.contains("green."),
        "{asked}"
    );

    let events = rig.ok(["events", "--json"]).await.stdout;
    let shown: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .filter(|event| {
            let kind = event["type"].as_str().unwrap_or_default();
            kind.starts_with("STEP_") || event["name"] == "memory"
        })
        .collect();
    let kinds = ["STEP_STARTED", "STEP_FINISHED", "CUSTOM"].repeat(2);
    assert_eq!(
        shown.iter().map(|event| &event["type"]).collect::<Vec<_>>(),
        kinds
    );
    assert_eq!(
        (&shown[3]["member"], &shown[3]["round"]),
        (&json!("ada"), &json!(2))
    );
    assert_eq!(
        shown[5]["value"],
        json!({"key": "ada", "value": "From here it is green."})
    );
}

#[tokio::test]
async fn a_killed_lead_repeats_no_completed_round() {
    let server = FakeModelServer::start(by_model([
        (
            "lead",
            vec![
                Reply::text("ROUTE: ada"),
                // This request hangs until the lead is killed.
                Reply::hang(),
                Reply::text("DONE: Hello."),
            ],
        ),
        ("ada", done("T-1", "Said hello.")),
    ]))
    .await;
    let rig = rig(&server, COORDINATOR);
    rig.ok(["up", "--detach", "Greet the world"]).await;
    server.until_asked("lead", 2).await;
    rig.worker("lead").await.signal(Signal::SIGKILL).unwrap();
    let run = rig.ask::<RunWait>(WaitRun { run: RunId(1) }).await;
    assert_eq!(run.answer.as_deref(), Some("Hello."));
    let questions = questions(&server);
    assert!(questions[2].contains("Round 2 of 5") && questions[2].contains("Said hello."));
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.attempts, 1, "its round is not repeated");
}

#[tokio::test]
async fn a_member_killed_in_its_round_resumes_the_round() {
    let server = FakeModelServer::start(by_model([
        (
            "lead",
            vec![Reply::text("ROUTE: ada"), Reply::text("DONE: Hello.")],
        ),
        (
            "ada",
            [
                vec![write_greeting(), Reply::hang()],
                done("T-1", "Written."),
            ]
            .concat(),
        ),
    ]))
    .await;
    let rig = rig(&server, COORDINATOR);
    rig.ok(["up", "--detach"]).await;
    let kill = async {
        server.until_asked("ada", 2).await;
        rig.worker("ada").await.signal(Signal::SIGKILL).unwrap();
    };
    let report = run_while(&rig, kill).await;
    assert_eq!(report["final_answer"], "Hello.");
    assert_eq!(
        report["outputs"]["ada"],
        json!([{"round": 1, "state": "completed", "output": "Written."}])
    );
}

#[tokio::test]
async fn the_coordinator_receives_a_members_failure() {
    let server = FakeModelServer::start(by_model([
        (
            "lead",
            vec![
                Reply::text("ROUTE: ada"),
                Reply::text("DONE: No member may."),
            ],
        ),
        ("ada", vec![Reply::error(401, "who are you?")]),
    ]))
    .await;
    let rig = rig(&server, COORDINATOR);
    let output = rig
        .run(["run", "Greet the world", "--json"])
        .await
        .expect(0);
    let ada = &output.json()["outputs"]["ada"][0];
    assert_eq!(ada["state"], "failed");
    assert!(
        ada["output"]
            .as_str()
            .expect("why")
            .contains("who are you?")
    );
    assert!(questions(&server)[1].contains("who are you?"));
}

#[tokio::test]
async fn a_message_to_the_coordinator_joins_its_next_question() {
    let server = FakeModelServer::start(by_model([
        (
            "lead",
            vec![Reply::text("ROUTE: ada"), Reply::text("DONE: Hello.")],
        ),
        (
            "ada",
            [vec![Reply::hang()], done("T-1", "Said hello.")].concat(),
        ),
    ]))
    .await;
    let rig = rig(&server, COORDINATOR);
    rig.ok(["up", "--detach"]).await;
    let steer = async {
        server.until_asked("ada", 1).await;
        rig.ok(["send", "lead", "Mind the moon, too"]).await;
        rig.worker("ada").await.signal(Signal::SIGKILL).unwrap();
    };
    run_while(&rig, steer).await;
    let requests = server.requests();
    let last = requests.iter().rfind(|request| request.model() == "lead");
    let messages = last.expect("the model was called").body["messages"].to_string();
    assert!(messages.contains("Mind the moon, too"), "{messages}");
}
