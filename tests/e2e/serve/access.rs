//! Tests of the permissions of routes: a token without the permission of the route is refused before the request is
//! read.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::client::Service;
use super::team;

/// The routes that are not in the OpenAPI document, with the permission of each.
const OTHERS: [(&str, &str, &str); 14] = [
    // `/ag-ui` checks the permissions later, when the service has read the request.
    ("POST", "/team/stream", "steer"),
    ("POST", "/team/query", "steer"),
    ("POST", "/team/user-message", "steer"),
    ("POST", "/team/message", "steer"),
    ("POST", "/team/stop", "steer"),
    ("POST", "/team/tasks", "steer"),
    ("POST", "/team/tasks/claim", "steer"),
    ("PATCH", "/team/tasks/T-1?user_id=u&session_id=s", "steer"),
    ("GET", "/team/status", "view"),
    ("GET", "/team/teammates", "view"),
    ("GET", "/team/tasks", "view"),
    ("GET", "/team/subscribe", "view"),
    ("POST", "/mcp", "steer"),
    ("DELETE", "/mcp", "steer"),
];

#[tokio::test]
async fn each_route_needs_its_permission() {
    let rig = team().await;
    let tokens = ["view", "decide", "steer", "decide,steer"];
    let token = |index: usize| index.to_string().repeat(40);
    let file = rig.root().join("tokens");
    let lines = tokens.iter().enumerate();
    let lines: String = lines
        .map(|(index, permissions)| format!("{} {permissions}\n", token(index)))
        .collect();
    std::fs::write(&file, lines).expect("a file");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&file, mode).expect("a mode");
    let name = file.to_str().expect("UTF-8");
    let mut service = Service::start(&rig, &["--token-file", name]).await;
    let read_only = [
        "--token-file",
        name,
        "--listen",
        "127.0.0.1:0",
        "--read-only",
    ];
    let mut read_only = Service::start(&rig, &read_only).await;
    service.token = token(0);
    let document = service.get("/api/v1/openapi.json").await.expect(200).json();
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let needs = operation["x-permission"].as_str().expect("a permission");
            // A valid stream of events has no end.
            let target = match path.ends_with("/events") {
                true => format!("{path}?after=x"),
                false => path.replace(['{', '}'], ""),
            };
            routes.push((method.to_uppercase(), target, needs.to_owned()));
        }
    }
    assert!(routes.len() > 40, "{routes:?}");
    routes.extend(
        OTHERS.map(|(method, target, needs)| {
            (method.to_owned(), target.to_owned(), needs.to_owned())
        }),
    );
    let before: Value = rig.json(["ps"]).await["revision"].clone();
    for (method, target, needs) in &routes {
        for (index, permissions) in tokens.iter().enumerate() {
            let permits = needs == "view" || permissions.split(',').any(|one| one == needs);
            for (service, permits) in [(&mut service, permits), (&mut read_only, needs == "view")] {
                service.token = token(index);
                // The body is malformed, so that no request changes anything.
                let request = service.request(method, target, "{");
                let status = service.send(&request).await.status;
                assert_eq!(
                    status != 403,
                    permits,
                    "{method} {target} with {permissions}: {status}"
                );
                assert!(
                    (400..500).contains(&status) || status == 200,
                    "{method} {target}: {status}"
                );
            }
        }
    }
    assert_eq!(rig.json(["ps"]).await["revision"], before);
}
