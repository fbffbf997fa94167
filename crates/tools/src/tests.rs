//! Snapshots of the definitions of the built-in tools, the team tools and the web search: every word of a description
//! and every byte of a schema is part of the prompt.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use agent_team_llm::SearchSupport;
use agent_team_protocol::TaskId;
use agent_team_protocol::spec::{AgentSpec, Search as Wanted};
use agent_team_system::directories::Directories;
use agent_team_system::sandbox::Network;

use crate::confine::{Confinement, Settings, User};
use crate::guard::Guard;
use crate::secret::Secrets;
use crate::supervisor_client::SupervisorClient;
use crate::team::{
    Arrivals, Claims, Shared, Verify, Verifying, plan_first, plan_tool, request_tools, team_tools,
};
use crate::{Options, Permission, SeenFiles, Tool, ToolContext, domain_tools, web_search};

#[derive(Debug)]
struct NoCheck;

impl Verify for NoCheck {
    fn verify<'a>(&'a self, _task: TaskId, _line: &'a str) -> Verifying<'a> {
        Box::pin(async { Ok(()) })
    }
}

fn client(lead: bool) -> SupervisorClient {
    let (name, role) = ("ada".parse(), "worker".parse());
    SupervisorClient::new(name.unwrap(), role.unwrap(), lead).0
}

fn shared() -> Shared {
    Shared {
        claims: Claims::default(),
        arrivals: Arrivals::default(),
        verify: Arc::new(NoCheck),
    }
}

fn built_in(permission: Permission, confinement: Option<Confinement>) -> Vec<Box<dyn Tool>> {
    domain_tools(Options {
        permission,
        confinement: confinement.map(Arc::new),
        private_addresses: false,
    })
}

/// The tools as a model receives them.
fn definitions(tools: &[Box<dyn Tool>]) -> String {
    let mut text = String::new();
    for tool in tools {
        let spec = tool.spec();
        let access = if tool.reads_only() {
            "reads only"
        } else {
            "changes"
        };
        let schema = serde_json::to_string_pretty(&spec.input).unwrap();
        let (name, description) = (&spec.name, &spec.description);
        writeln!(text, "# {name} ({access})\n{description}\n{schema}\n").unwrap();
    }
    text
}

/// The names of the tools whose calls may run concurrently.
fn reading(tools: &[Box<dyn Tool>]) -> Vec<&str> {
    let reading = tools.iter().filter(|tool| tool.reads_only());
    reading.map(|tool| tool.spec().name.as_str()).collect()
}

#[test]
fn definitions_of_the_built_in_tools() {
    insta::assert_snapshot!(definitions(&built_in(Permission::Bypass, None)));
}

#[test]
fn definitions_of_the_team_tools() {
    let (lead, teammate) = (client(true), client(false));
    let shared = shared();
    let mut tools = team_tools(&lead, &shared, &Permission::Bypass, None);
    tools.extend(request_tools(&lead, &shared));
    tools.push(plan_tool(&teammate, &shared));
    insta::assert_snapshot!("lead", definitions(&tools));
    let tools = team_tools(&teammate, &shared, &Permission::Bypass, None);
    insta::assert_snapshot!("teammate", definitions(&tools));
}

#[test]
fn definition_of_the_web_search() {
    let context = ToolContext {
        project: "/".into(),
        cwd: "/".into(),
        env: Vec::new(),
        secrets: Secrets::default(),
        outputs: "/".into(),
        output_max: 1000,
        seen: SeenFiles::default(),
        guard: Guard::default(),
        notes: Default::default(),
        model: "openai/m".to_owned(),
        media: Default::default(),
    };
    let url = "https://search.example.org".to_owned();
    let agent = AgentSpec {
        search: Some(Wanted::Searxng { url }),
        ..AgentSpec::default()
    };
    let of = |permission| match web_search::of(
        &agent,
        SearchSupport::Unsupported,
        &permission,
        &context,
    ) {
        Ok(web_search::Search::Tool(tool)) => [tool],
        other => panic!("{other:?}"),
    };
    insta::assert_snapshot!(definitions(&of(Permission::Bypass)));
    assert!(reading(&of(Permission::Ask(client(false)))).is_empty());
}

#[test]
fn tools_that_may_wait_for_a_decision_run_alone() {
    let tools = built_in(Permission::Ask(client(false)), None);
    let reads = ["read", "glob", "grep", "git_status", "git_diff", "notes"];
    assert_eq!(reading(&tools), reads);
    let wrapped = plan_first(tools, &client(false));
    assert_eq!(reading(&wrapped), reads);
}

#[test]
fn bash_states_whether_commands_have_network() {
    let ours = Directories {
        state: "/nowhere/state".into(),
        run: "/nowhere/run".into(),
        config: "/nowhere/config".into(),
    };
    let bash = |network| {
        let user = User::new(Vec::new(), &Settings::default());
        let (project, temporary) = (Path::new("/nowhere/project"), "/nowhere/tmp".into());
        let confinement = Confinement::new(project, temporary, user, &ours, network);
        let tools = built_in(Permission::Bypass, Some(confinement));
        let bash = tools.iter().find(|tool| tool.spec().name == "bash");
        bash.unwrap().spec().description.clone()
    };
    assert!(bash(Network::None).contains("to $TMPDIR, and have no network; set"));
    assert!(bash(Network::Host).contains("to $TMPDIR; set"));
}
