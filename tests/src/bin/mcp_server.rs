//! A real MCP server for tests, built with the official SDK: `mcp_server stdio`, or `mcp_server http`, which prints its
//! address.

use std::io::Write as _;
use std::sync::Arc;

use hyper::http::request::Parts;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, ServiceExt};
use serde_json::{Value, json};

#[derive(Clone)]
struct Tools;

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let nothing = json!({"type": "object"});
        let schema = json!({
            "type": "object",
            "properties": {"text": {"type": "string", "description": "What to say."}},
            "required": ["text"]
        });
        let tool = |name: &'static str, schema: &Value| {
            Tool::new(
                name,
                "For tests.",
                schema.as_object().cloned().unwrap_or_default(),
            )
        };
        Ok(ListToolsResult::with_all_items(vec![
            tool("say", &schema),
            tool("draw.it", &nothing),
            tool("count", &nothing),
            tool("much", &nothing),
            tool("fail", &nothing),
            tool("secret", &nothing),
            tool("headers", &nothing),
            tool("die", &nothing),
        ]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = |text: String| CallToolResult::success(vec![ContentBlock::text(text)]);
        let result = match &*request.name {
            "say" => {
                let arguments = request.arguments.unwrap_or_default();
                text(format!(
                    "you said {}",
                    arguments["text"].as_str().unwrap_or("nothing")
                ))
            }
            "draw.it" => CallToolResult::success(vec![
                ContentBlock::text("here it is"),
                ContentBlock::image("AAAAAAAA", "image/png"),
            ]),
            "count" => {
                let mut counted = CallToolResult::structured(json!({"count": 3}));
                counted.content.clear();
                counted
            }
            "much" => text("a line of much\n".repeat(20_000)),
            "fail" => CallToolResult::error(vec![ContentBlock::text("no such table")]),
            "secret" => text(std::env::var("DEPLOY").unwrap_or_default()),
            "headers" => {
                let sent = context.extensions.get::<Parts>();
                let sent = |name| Some(sent?.headers.get(name)?.to_str().ok()?.to_owned());
                // Reverse the secret, so that redaction does not recognize it.
                let backwards = |name| {
                    sent(name).map_or(String::new(), |value| {
                        value.chars().rev().collect::<String>()
                    })
                };
                let host = sent("host").unwrap_or_default();
                text(format!(
                    "{host} {} {}",
                    backwards("authorization"),
                    backwards("x-toolset")
                ))
            }
            "die" => {
                let _closed = writeln!(std::io::stderr(), "out of memory");
                std::process::exit(3);
            }
            other => return Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        };
        Ok(CallToolResponse::Complete(result))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("http") {
        return serve_http().await;
    }
    let stdio = (tokio::io::stdin(), tokio::io::stdout());
    Tools.serve(stdio).await?.waiting().await?;
    Ok(())
}

async fn serve_http() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "http://{}/mcp", listener.local_addr()?)?;
    let sessions = Arc::new(LocalSessionManager::default());
    // Tests also send requests with other host names.
    let config = StreamableHttpServerConfig::default().disable_allowed_hosts();
    let service = StreamableHttpService::new(|| Ok(Tools), sessions, config);
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
