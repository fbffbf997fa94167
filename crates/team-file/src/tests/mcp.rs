//! Tests of the MCP servers of the team file, and of the members that use them.

use agent_team_protocol::spec::{McpServer, McpTransport};

use super::{project, read_in};

#[test]
fn every_agent_gets_the_mcp_servers_of_the_file() {
    let project = project();
    let file = "mode = \"lead\"\n[[member]]\nname = \"ada\"\n\
        [mcp.db]\ncommand = \"db-mcp\"\nargs = [\"--ro\"]\nenv = { DB = \"x\" }\ntimeout_s = 5\n\
        [mcp.docs]\nurl = \"https://docs.example/mcp\"\nsearch = true\nheaders = { Authorization = \"Bearer $DOCS\" }\n";
    let spec = read_in(project.path(), file).unwrap();
    let expected = [
        McpServer {
            name: "db".to_owned(),
            via: McpTransport::Program {
                command: "db-mcp".to_owned(),
                args: vec!["--ro".to_owned()],
                env: [("DB".to_owned(), "x".to_owned())].into(),
            },
            timeout_s: Some(5),
            search: None,
            shared: false,
            files: Vec::new(),
        },
        McpServer {
            name: "docs".to_owned(),
            via: McpTransport::Http {
                url: "https://docs.example/mcp".to_owned(),
                headers: [("Authorization".to_owned(), "Bearer $DOCS".to_owned())].into(),
            },
            timeout_s: None,
            search: Some(true),
            shared: false,
            files: Vec::new(),
        },
    ];
    assert_eq!(spec.members[0].agent.mcp, expected);
    assert_eq!(spec.members[1].agent.mcp, expected);
    assert!(spec.roles.iter().all(|role| role.agent.mcp == expected));
}

#[test]
fn members_and_roles_choose_their_mcp_servers() {
    let project = project();
    let servers = "[mcp.db]\ncommand = \"db-mcp\"\n[mcp.docs]\ncommand = \"docs-mcp\"\n";
    let file = format!(
        "mode = \"lead\"\n[lead]\nmcp = []\n[[member]]\nname = \"ada\"\nrole = \"admin\"\n\
         [[member]]\nname = \"ben\"\nrole = \"admin\"\nmcp = [\"docs\", \"db\"]\n\
         [[member]]\nname = \"cy\"\n[roles.admin]\nmcp = [\"db\"]\n{servers}"
    );
    let spec = read_in(project.path(), &file).unwrap();
    let chosen = spec.members.iter().map(|member| {
        let servers = member.agent.mcp.iter();
        servers
            .map(|server| server.name.as_str())
            .collect::<Vec<_>>()
    });
    let chosen: Vec<_> = chosen.collect();
    let expected: [&[&str]; 4] = [&[], &["db"], &["db", "docs"], &["db", "docs"]];
    assert_eq!(chosen, expected);
    for (file, hint) in [
        (
            format!("[lead]\nmcp = [\"dbs\"]\n{servers}"),
            "did you mean",
        ),
        (
            format!("[roles.x]\nmcp = [\"dbs\"]\n{servers}"),
            "did you mean",
        ),
        ("[lead]\nmcp = [\"db\"]\n".to_owned(), "add [mcp.db]"),
    ] {
        let faults = read_in(project.path(), &format!("mode = \"lead\"\n{file}")).unwrap_err();
        let text = format!("{faults:?}");
        assert!(text.contains("there is no MCP server"), "{file}: {text}");
        assert!(text.contains(hint), "{file}: {text}");
    }
}

#[test]
fn invalid_mcp_servers_are_faults() {
    let project = project();
    for (file, why) in [
        ("[mcp.x]", "neither `command` nor `url`"),
        ("[mcp.x]\ncommand = \"a\"\nurl = \"http://b\"", "not both"),
        (
            "[mcp.a__b]\ncommand = \"a\"",
            "is not a valid MCP server name",
        ),
        ("[mcp.x]\nurl = \"b\"", "must begin with http"),
        (
            "[mcp.x]\nurl = \"http://b\"\nargs = [\"a\"]",
            "require `command`",
        ),
        (
            "[mcp.x]\ncommand = \"a\"\nheaders = { a = \"b\" }",
            "`headers` requires `url`",
        ),
        (
            "[mcp.x]\nurl = \"http://b\"\nheaders = { authorization = \"Bearer s3cret\" }",
            "`authorization` must not contain the secret itself",
        ),
        (
            "[mcp.x]\nurl = \"http://b\"\nheaders = { \"a b\" = \"c\" }",
            "has an invalid name or value",
        ),
        ("[mcp.x]\ncomand = \"a\"", "unknown key `comand`"),
        (
            "[mcp.x]\nurl = \"http://b\"\nshared = true",
            "`shared` requires `command`",
        ),
        (
            "[mcp.x]\ncommand = \"a\"\ntimeout_s = 0",
            "must be from 1 to 86400",
        ),
    ] {
        let faults = read_in(project.path(), &format!("mode = \"lead\"\n{file}\n")).unwrap_err();
        let text = format!("{faults:?}");
        assert!(text.contains(why), "{file}: {text}");
    }
}

#[test]
fn members_of_a_shared_server_have_the_same_env_and_cwd() {
    let project = project();
    let read = |ben: &str, server: &str| {
        let file = format!(
            "mode = \"lead\"\n[defaults]\nenv = {{ LEVEL = \"1\" }}\n[[member]]\nname = \"ben\"\n{ben}\n\
             [mcp.db]\ncommand = \"db-mcp\"\n{server}\n"
        );
        read_in(project.path(), &file)
    };
    let spec = read("", "shared = true").unwrap();
    assert!(spec.members.iter().all(|member| member.agent.mcp[0].shared));
    for (ben, key) in [("env = { LEVEL = \"2\" }", "env"), ("cwd = \"web\"", "cwd")] {
        assert!(read(ben, "").is_ok(), "{ben}");
        assert!(read(&format!("{ben}\nmcp = []"), "shared = true").is_ok());
        let text = format!("{:?}", read(ben, "shared = true").unwrap_err());
        let why = format!("is shared, but lead and ben have different `{key}`");
        assert!(text.contains(&why), "{text}");
    }
}
