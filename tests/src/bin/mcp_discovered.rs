//! A real MCP server for tests, built with the official SDK, that knows only revision 2026-07-28: `mcp_discovered
//! stdio`, or `mcp_discovered http`, which prints its address. `mcp_discovered old` knows the earlier revisions and
//! exits if the first request is not `initialize`. Each start adds a line to the file `starts`.

use std::borrow::Cow;
use std::io::{BufRead as _, Cursor, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    InputRequiredResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
    ResourceContents, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext, SubscriptionSink};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, ServiceExt};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

/// The beginning of a PNG file in base64.
const IMAGE: &str = "iVBORw0KGgogaW1hZ2U=";

const STATE: &str = "the state of the call";

#[derive(Clone, Default)]
struct Discovered {
    is_old: bool,
    subscribers: Arc<Mutex<Vec<SubscriptionSink>>>,
    has_grown: Arc<Mutex<bool>>,
}

fn text(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

fn image(uri: &str) -> ResourceContents {
    ResourceContents::blob(IMAGE, uri).with_mime_type("image/png")
}

/// Returns the client's input for the call, or asks for input if the call has none. `repeat`: always asks.
fn require(
    request: &CallToolRequestParams,
    repeat: bool,
    input: Value,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(responses) = &request.input_responses
        && !repeat
    {
        let state = request.request_state.as_deref();
        return match state == Some(STATE) {
            true => Ok(text(json!(responses).to_string())),
            false => Ok(text(format!("another state: {state:?}"))),
        };
    }
    let requests = json!({ "input": input });
    let requests = serde_json::from_value(requests)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    Ok(InputRequiredResult::new(Some(requests), Some(STATE.to_owned())).into())
}

fn form(properties: &Value) -> Value {
    let schema = json!({"type": "object", "properties": properties});
    let params = json!({"mode": "form", "message": "Where to?", "requestedSchema": schema});
    json!({"method": "elicitation/create", "params": params})
}

impl ServerHandler for Discovered {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .build();
        ServerConfig::new(capabilities)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        match self.is_old {
            true => Cow::Borrowed(ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25)),
            false => Cow::Borrowed(&[ProtocolVersion::V_2026_07_28]),
        }
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut names = vec![
            "say", "deploy", "login", "endless", "roots", "sample", "picture", "grow",
        ];
        if *self
            .has_grown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            names.push("grown");
        }
        let schema = json!({"type": "object"});
        let schema = schema.as_object().cloned().unwrap_or_default();
        let tools = names
            .into_iter()
            .map(|name| Tool::new(name, "For tests.", schema.clone()));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let env = json!({"env": {"type": "string", "enum": ["staging", "production"]}});
        match &*request.name {
            "say" => {
                let version = context.protocol_version();
                Ok(text(format!("I speak {}", version.unwrap_or_default())))
            }
            "deploy" => require(&request, false, form(&env)),
            "login" => require(
                &request,
                false,
                form(&json!({"password": {"type": "string"}})),
            ),
            "endless" => require(&request, true, form(&env)),
            "roots" => require(&request, false, json!({"method": "roots/list"})),
            "sample" => {
                let message = json!({"role": "user", "content": {"type": "text", "text": "Hi"}});
                let params = json!({"messages": [message], "maxTokens": 9});
                let sample = json!({"method": "sampling/createMessage", "params": params});
                require(&request, false, sample)
            }
            "picture" => {
                let image = ContentBlock::resource(image("file:///plot.png"));
                Ok(CallToolResult::success(vec![image]).into())
            }
            "grow" => {
                *self
                    .has_grown
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = true;
                let subscribers = self.subscribers.lock();
                let subscribers = subscribers.unwrap_or_else(PoisonError::into_inner).clone();
                for subscriber in subscribers {
                    let _gone = subscriber.notify_tool_list_changed().await;
                }
                Ok(text("it grows"))
            }
            "grown" => Ok(text("I grew")),
            other => Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        }
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let plot = Resource::new("file:///plot.png", "plot");
        Ok(ListResourcesResult::with_all_items(vec![plot]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri == "file:///form" {
            return Ok(InputRequiredResult::from_request_state(STATE).into());
        }
        Ok(ReadResourceResult::new(vec![image(&request.uri)]).into())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(context.sink().clone());
        context.cancelled().await;
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let mut starts = std::fs::File::options()
        .append(true)
        .create(true)
        .open("starts")?;
    writeln!(starts, "{mode}")?;
    match mode.as_str() {
        "http" => serve_http().await,
        "old" => serve_old().await,
        _ => {
            let stdio = (tokio::io::stdin(), tokio::io::stdout());
            Discovered::default().serve(stdio).await?.waiting().await?;
            Ok(())
        }
    }
}

async fn serve_old() -> anyhow::Result<()> {
    let mut first = String::new();
    std::io::stdin().lock().read_line(&mut first)?;
    let message: Value = serde_json::from_str(&first)?;
    anyhow::ensure!(message["method"] == "initialize", "unknown: {first}");
    let server = Discovered {
        is_old: true,
        ..Discovered::default()
    };
    let stdin = Cursor::new(first).chain(tokio::io::stdin());
    server
        .serve((stdin, tokio::io::stdout()))
        .await?
        .waiting()
        .await?;
    Ok(())
}

async fn serve_http() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "http://{}/mcp", listener.local_addr()?)?;
    let sessions = Arc::new(LocalSessionManager::default());
    let config = StreamableHttpServerConfig::default();
    let discovered = Discovered::default();
    let service = StreamableHttpService::new(move || Ok(discovered.clone()), sessions, config);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            // An error means that the client has disconnected.
            let _ended = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
