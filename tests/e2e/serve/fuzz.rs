//! Requests generated from the OpenAPI document for a bounded time: broken requests must get the right status and
//! change nothing, and well-formed requests with odd values must never fail the service.

use std::time::Duration;

use agent_team_tests::Rig;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::client::{Answer, Service};
use super::team;

/// How long each kind of request is generated.
const ROUNDS_LIMIT: Duration = Duration::from_secs(6);

/// A fast machine sends more than the default of 1000 requests in a second.
const RATE_LIMIT: [&str; 2] = ["--rate-limit", "1000000"];

/// A repeatable choice of numbers.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn text<'a>(&mut self, all: &'a [impl AsRef<str>]) -> &'a str {
        self.of(all).as_ref()
    }

    /// A value for this schema, often a wrong one.
    fn value(&mut self, document: &Value, schema: &Value, depth: usize) -> Value {
        let odd = [
            json!(null),
            json!(-1),
            json!(u64::MAX),
            json!(1.5e300),
            json!(""),
            json!("T-1"),
            json!("ada"),
            json!("\u{0}\u{202e}"),
            json!([]),
            json!({}),
            json!([[[[]]]]),
            json!("x".repeat(3000)),
        ];
        if self.below(5) == 0 || depth > 6 {
            return self.of(&odd).clone();
        }
        if let Some(name) = schema["$ref"].as_str() {
            let schema = document
                .pointer(name.trim_start_matches('#'))
                .expect("a schema");
            return self.value(document, schema, depth + 1);
        }
        for key in ["anyOf", "oneOf", "enum"] {
            if let Some(all) = schema[key].as_array() {
                let one = self.of(all);
                return if key == "enum" {
                    one.clone()
                } else {
                    self.value(document, one, depth + 1)
                };
            }
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        let kind = match schema["type"].as_array() {
            Some(all) => self.of(all),
            None => &schema["type"],
        };
        match kind.as_str().unwrap_or_default() {
            "object" => {
                let fields = schema["properties"].as_object().into_iter().flatten();
                let mut object = Map::new();
                for (name, schema) in fields {
                    if self.below(3) > 0 {
                        object.insert(name.clone(), self.value(document, schema, depth + 1));
                    }
                }
                object.into()
            }
            "array" => (0..self.below(3))
                .map(|_| self.value(document, &schema["items"], depth + 1))
                .collect(),
            "integer" | "number" => json!(self.below(300)),
            "boolean" => json!(self.below(2) == 0),
            "null" => Value::Null,
            _ => odd[4 + self.below(4)].clone(),
        }
    }
}

/// One operation of the document.
struct Operation {
    method: String,
    path: String,
    /// The methods of its path.
    methods: Vec<String>,
    parameters: Vec<Value>,
    body: Option<Value>,
}

impl Operation {
    /// All operations except the stream of events, which has no end.
    fn all(document: &Value) -> Vec<Self> {
        let mut all = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            if path.ends_with("/events") {
                continue;
            }
            let operations = operations.as_object().unwrap();
            let methods: Vec<_> = operations.keys().map(|it| it.to_uppercase()).collect();
            for (method, operation) in operations {
                let body = &operation["requestBody"]["content"]["application/json"]["schema"];
                all.push(Self {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    methods: methods.clone(),
                    parameters: operation["parameters"].as_array().unwrap().clone(),
                    body: (!body.is_null()).then(|| body.clone()),
                });
            }
        }
        all
    }

    fn has_team(&self) -> bool {
        self.parameters
            .iter()
            .any(|parameter| parameter["name"] == "team")
    }

    /// Whether the operation ends the team.
    fn ends_team(&self) -> bool {
        self.path.ends_with("/down") || (self.method == "DELETE" && self.path.ends_with("/team"))
    }

    /// The path with this value for each of its arguments.
    fn target(&self, value: &str) -> String {
        let parts = self.path.split('/');
        let parts = parts.map(|part| if part.starts_with('{') { value } else { part });
        parts.collect::<Vec<_>>().join("/")
    }
}

/// A broken request, with the statuses that are right for it.
struct Broken {
    request: String,
    statuses: &'static [u16],
}

/// The number of kinds of [`broken`].
const KINDS: usize = 15;

/// A request for this operation that is broken in one way; `None` if the operation cannot be broken in this way.
fn broken(
    service: &Service,
    operation: &Operation,
    kind: usize,
    choices: &mut Choices,
) -> Option<Broken> {
    let Operation { method, .. } = operation;
    let target = operation.target("T-1");
    let of = |method: &str, target: &str, body: &str| service.request(method, target, body);
    let with = |header: &str| {
        let request = of(method, &target, "");
        request.replacen("\r\n", &format!("\r\n{header}\r\n"), 1)
    };
    let instead = |name: &str, header: &str| {
        let request = with(header);
        let lines = request.split_inclusive("\r\n");
        let mut seen = 0;
        lines
            .filter(|line| {
                seen += usize::from(line.starts_with(name));
                // `with` adds the new header before all other headers.
                !line.starts_with(name) || seen == 1
            })
            .collect::<String>()
    };
    let is_change = method != "GET";
    let (request, statuses): (String, &[u16]) = match kind {
        0 => {
            let texts = [
                "{",
                "\u{0}",
                "[1,",
                "nul",
                r#"{"a":}"#,
                "{} {}",
                "\"",
                "1e",
                "'a'",
            ];
            (of(method, &target, choices.text(&texts)), &[400])
        }
        1 => {
            let texts = [
                r#"{"text": 1, "text": 2}"#,
                r#"{"x": {"a": 1, "\u0061": 2}}"#,
                r#"[{"a": 0, "a": 0}]"#,
            ];
            (of(method, &target, choices.text(&texts)), &[400])
        }
        2 => {
            let types = [
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/jsonx",
                "text/json; application/json",
                "",
            ];
            let request = of(method, &target, "{}");
            let media_type = format!("Content-Type: {}", choices.text(&types));
            (
                request.replace("Content-Type: application/json", &media_type),
                &[415],
            )
        }
        3 => {
            let all = [
                "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
            ];
            let is_known = |it: &&&str| !operation.methods.iter().any(|known| known == **it);
            let others: Vec<_> = all.iter().filter(is_known).collect();
            (of(choices.text(&others), &target, ""), &[405])
        }
        4 => {
            let ends = ["/x/y/z", "//", "/%2e%2e/x/y"];
            (
                of(method, &format!("{target}{}", choices.text(&ends)), ""),
                &[404, 405],
            )
        }
        5 => {
            let queries = [
                "unknown=1",
                "team=a&team=b",
                "%00",
                "=",
                "a=%ff",
                "after[]=1",
            ];
            (
                of(method, &format!("{target}?{}", choices.text(&queries)), ""),
                &[400],
            )
        }
        6 if operation.has_team() => {
            let body = match &operation.body {
                Some(_) => r#"{"title": "x", "text": "x", "to": "ada", "member": "ada"}"#,
                None => "",
            };
            let teams = ["nobody", "nobody-01234567", "%00", "..", "%2Fetc", ""];
            let target = format!("{target}?team={}", choices.text(&teams));
            (of(method, &target, body), &[400, 404, 422])
        }
        7 => {
            let request = of(method, &target, "{}");
            let lengths = ["99999999", "18446744073709551615"];
            let length = format!("Content-Length: {}", choices.text(&lengths));
            (
                request.replace("Content-Length: 2", &length),
                &[413, 400, 431, 0],
            )
        }
        8 if choices.below(20) == 0 => {
            let body = format!("\"{}\"", "x".repeat(1 << 20));
            (of(method, &target, &body), &[413])
        }
        9 if is_change => {
            let long = format!("Idempotency-Key: {}", "k".repeat(65));
            let repeated = "Idempotency-Key: a\r\nIdempotency-Key: b".to_owned();
            let headers = ["Idempotency-Key: ".to_owned(), long, repeated];
            (with(choices.text(&headers)), &[400])
        }
        10 => {
            let headers = [
                "Authorization: Bearer x",
                "Authorization: Basic x",
                "Authorization: Bearer",
                "Authorization: ",
            ];
            (instead("Authorization", choices.text(&headers)), &[401])
        }
        11 => {
            let headers = [
                "Host: evil.example",
                "Host: ",
                "Host: 127.0.0.1",
                "Host: localhost",
            ];
            (instead("Host", choices.text(&headers)), &[421])
        }
        12 => {
            let headers = [
                "Origin: null",
                "Origin: http://evil.example",
                "Origin: ",
                "Sec-Fetch-Site: cross-site",
                "Sec-Fetch-Site: same-site",
                "Sec-Fetch-Site: x",
            ];
            (with(choices.text(&headers)), &[403])
        }
        // Any text is a valid key of the memory.
        13 if operation.path.contains('{') && !operation.path.contains("{key}") => {
            let values = [
                "%ff",
                "%00",
                "%zz",
                "..",
                "T-0x1",
                "A%20B",
                "%F0%9F%92%A9",
                "-1",
            ];
            let target = operation.target(choices.text(&values));
            (of(method, &target, "[]"), &[400, 404, 422])
        }
        14 => {
            let query = format!("{target}?a={}", "x".repeat(8 << 10));
            (of(method, &query, ""), &[414])
        }
        _ => return None,
    };
    Some(Broken { request, statuses })
}

async fn revision(rig: &Rig) -> Value {
    rig.json(["ps"]).await["revision"].clone()
}

fn shown(request: &str) -> String {
    request.chars().take(600).collect()
}

/// Asserts that this is a problem document. The server itself answers requests that are not HTTP.
fn check_problem(request: &str, answer: Answer) {
    let status = answer.status;
    if status == 0 {
        return;
    }
    let is_document = answer.head.contains("application/problem+json");
    assert!(
        is_document || [400, 431].contains(&status),
        "{}\n{answer:?}",
        shown(request)
    );
    if is_document {
        answer.expect_problem(status);
    }
}

#[tokio::test]
async fn broken_requests_get_the_right_status_and_change_nothing() {
    let rig = team().await;
    let service = Service::start(&rig, &RATE_LIMIT).await;
    let document = service.get("/api/v1/openapi.json").await.expect(200).json();
    let operations = Operation::all(&document);
    let before = revision(&rig).await;
    let mut choices = Choices(11);
    let end = Instant::now() + ROUNDS_LIMIT;
    let mut tried = [0; KINDS];
    loop {
        let mut is_first = false;
        for operation in &operations {
            for (kind, tried) in tried.iter_mut().enumerate() {
                // Try every kind of request once, then as many as the time permits.
                if *tried > 0 && Instant::now() > end {
                    continue;
                }
                let Some(broken) = broken(&service, operation, kind, &mut choices) else {
                    is_first |= *tried == 0;
                    continue;
                };
                let answer = service.send(&broken.request).await;
                let status = answer.status;
                assert!(
                    broken.statuses.contains(&status),
                    "kind {kind}: {}\n{answer:?}",
                    shown(&broken.request)
                );
                check_problem(&broken.request, answer);
                *tried += 1;
            }
        }
        if Instant::now() > end && !is_first {
            break;
        }
    }
    assert!(tried.iter().all(|tried| *tried > 0), "{tried:?}");
    assert_eq!(revision(&rig).await, before);
    service.get("/api/v1/team").await.expect(200);
}

#[tokio::test]
async fn requests_generated_from_openapi_never_fail_the_service() {
    let rig = team().await;
    let service = Service::start(&rig, &RATE_LIMIT).await;
    let document = service.get("/api/v1/openapi.json").await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut choices = Choices(7);
    let end = Instant::now() + ROUNDS_LIMIT;
    let mut tried = 0;
    for round in 0.. {
        for operation in Operation::all(&document) {
            if operation.ends_team() {
                continue;
            }
            let mut target = operation.path.clone();
            let mut query = Vec::new();
            for parameter in &operation.parameters {
                let name = parameter["name"].as_str().unwrap();
                let value = choices.value(&document, &parameter["schema"], 0);
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                // Replace an empty value: a path with an empty part is another path.
                let value = if value.is_empty() {
                    "x".to_owned()
                } else {
                    value
                };
                // Limit the length: a path that is too long makes the request a broken one.
                let value = value.bytes().take(1000);
                let value: String = value.map(|byte| format!("%{byte:02x}")).collect();
                match parameter["in"].as_str().unwrap() {
                    "path" => target = target.replace(&format!("{{{name}}}"), &value),
                    "query" if choices.below(3) > 0 => query.push(format!("{name}={value}")),
                    _ => {}
                }
            }
            if choices.below(2) == 0 {
                query.retain(|parameter| !parameter.starts_with("team="));
            }
            let body = operation.body.as_ref();
            let body = body.map(|schema| choices.value(&document, schema, 0).to_string());
            let body = body.unwrap_or_default();
            let target = format!("{target}?{}", query.join("&"));
            let request = service.request(&operation.method, &target, &body);
            let answer = service.send(&request).await;
            assert!((200..500).contains(&answer.status), "{request}\n{answer:?}");
            assert_ne!(answer.status, 405, "{request}");
            if answer.status >= 400 {
                let status = answer.status;
                let problem = answer.expect_problem(status);
                assert_ne!(problem["detail"], "unknown path", "{request}");
            }
            tried += 1;
        }
        if round > 0 && Instant::now() > end {
            break;
        }
    }
    assert!(tried >= 80, "{tried}");
    service.get("/api/v1/team").await.expect(200);
}
