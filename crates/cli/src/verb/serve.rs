//! `serve`: serves the team over HTTP until a signal ends the command. The crate `gateway` is the service; this file
//! chooses the address and the tokens, and prints the URL.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use agent_team_client::Session;
use agent_team_gateway::{
    Gateway, Listen, McpRoute, RATE_DEFAULT, Settings, Telemetry, TelemetrySettings, Tls, Tokens,
};
use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::method::{Nothing, SupervisorStatus, TeamShow, Up};
use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::{TeamId, exit};
use agent_team_system::directories::Directories;
use agent_team_system::{descriptors, private_file};
use serde::Serialize;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::{mcp, up};
use crate::args::{Global, Serve, Start};
use crate::caller;
use crate::error::Failure;
use crate::output::{Output, text};

/// The address of the service.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ServiceAddress {
    /// With the token in its fragment, except for a token of `--token-file`. `None`: the service has a Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The path of the Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, output: Output, args: Serve) -> Result<ExitCode, Failure> {
    serve(global, output, args, None).await
}

/// `up --web`: opens the page of a team on a free port. The team stays up when the service ends.
pub(super) async fn web(
    global: &Global,
    output: Output,
    team: TeamId,
    session: Session,
) -> Result<ExitCode, Failure> {
    let args = Serve {
        listen: Listen::default(),
        open: true,
        token_file: None,
        tls_cert: None,
        tls_key: None,
        sessions: false,
        rate_limit: RATE_DEFAULT,
        read_only: false,
    };
    let session = session.separate().only_running();
    let code = serve(global, output, args, Some((team, session))).await?;
    output.note("the team keeps running. Stop it with: agent-team down");
    Ok(code)
}

/// Serves until a signal. `known`: the team, with a session that starts no supervisor. `None`: the team that the options
/// and the arguments name.
async fn serve(
    global: &Global,
    output: Output,
    args: Serve,
    known: Option<(TeamId, Session)>,
) -> Result<ExitCode, Failure> {
    let Serve {
        listen,
        open,
        token_file,
        tls_cert,
        tls_key,
        sessions,
        rate_limit,
        read_only,
    } = args;
    if listen.is_public() && token_file.is_none() {
        let text = "cannot listen on an address of the network without a token file";
        return Err(
            Failure::usage(text).hint("add --token-file FILE, or use --listen 127.0.0.1:PORT")
        );
    }
    let tls = match (&tls_cert, &tls_key) {
        (Some(certificate), Some(key)) => Some(read_tls(&listen, certificate, key)?),
        _ => None,
    };
    let telemetry = telemetry_settings()?;
    let tokens = match &token_file {
        Some(file) => read_tokens(file)?,
        None => Tokens::random(),
    };
    let template = match sessions {
        true => Some(Box::new(template(global, output).await?)),
        false => None,
    };
    let (team, session) = match (known, &template) {
        (Some(known), _) => known,
        (None, Some(up)) => team_of_sessions(up).await?,
        (None, None) => team(global).await?,
    };
    // The server acts for the user when it creates a team. A member must not do this.
    let mcp = match std::env::var_os(LAUNCH_MARKER) {
        Some(_) => None,
        None => {
            let (here, team) = (caller::current_directory()?, team.to_string());
            let server = move || mcp::of_http(here.clone(), team.clone());
            Some(McpRoute::new(server))
        }
    };
    // Each client of the service that follows events uses a descriptor.
    if let Err(error) = descriptors::raise_limit() {
        output.note(&format!(
            "warning: cannot raise the limit of open files: {error}"
        ));
    }
    let (is_readable, settings) = (
        listen.is_public() && tls.is_none(),
        Settings {
            listen,
            tls,
            tokens,
            read_only,
            sessions: template,
            rate: rate_limit,
            mcp,
        },
    );
    // Install the handlers before the URL is printed: a program that has read the URL may send a signal at any time,
    // and the command then ends with its usual cleanup.
    let ended = |kind| signal(kind).map_err(|error| Failure::io("cannot wait for signals", &error));
    let (mut interrupt, mut terminate) = (
        ended(SignalKind::interrupt())?,
        ended(SignalKind::terminate())?,
    );
    let telemetry = telemetry.map(|settings| {
        let report = move |line: &str| output.warn(&text::line(line));
        Telemetry::new(settings, team.clone(), &session, report)
    });
    let mut telemetry = telemetry.transpose().map_err(|why| {
        Failure::new(
            "io",
            exit::ExitCode::Failed,
            format!("cannot export telemetry: {why}"),
        )
    })?;
    let gateway = Gateway::bind(settings, TeamRef::Id(team), session).await;
    let gateway = gateway.map_err(|error| Failure::io("cannot listen", &error))?;
    if is_readable {
        output.warn(
            "warning: other machines can reach this service, and its traffic is not encrypted: a program that reads \
             the traffic learns the token; add --tls-cert and --tls-key",
        );
    }
    let address = ServiceAddress {
        url: gateway.url(),
        socket: gateway.socket().map(Path::to_owned),
    };
    output.item(&address, || {
        let path = |path: &PathBuf| format!("unix:{}\n", text::line(&path.to_string_lossy()));
        let url = address.url.as_ref().map(|url| format!("{url}\n"));
        url.or(address.socket.as_ref().map(path))
            .unwrap_or_default()
    })?;
    let _opened = match (open, &address.url) {
        (true, Some(url)) => Some(OpenedPage::open(url)?),
        (true, None) | (false, _) => None,
    };
    let exported = async {
        match &mut telemetry {
            Some(telemetry) => telemetry.run().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = gateway.serve() => {}
        () = exported => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    if let Some(telemetry) = telemetry {
        telemetry.finish().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// The export of telemetry that the variables `OTEL_*` describe; `None` without an endpoint.
fn telemetry_settings() -> Result<Option<TelemetrySettings>, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    TelemetrySettings::read(variable).map_err(|error| {
        let hint = error.hint();
        let failure = Failure::usage(format!("cannot export telemetry: {error}"));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// The team, and a session for the service. A request must not start a supervisor that the user stopped, so only this
/// first call may start one.
async fn team(global: &Global) -> Result<(TeamId, Session), Failure> {
    let mut session = global.session()?;
    let team = session.query::<TeamShow>(Nothing {}).await?.team;
    Ok((team, session.separate().only_running()))
}

/// The call that starts the team of a session, from the team file. Prints the warnings of the file and checks the
/// user's trust. Later changes of the file have no effect on this service.
async fn template(global: &Global, output: Output) -> Result<Up, Failure> {
    let start = Start::default();
    let loaded = up::load(global, &start, true).await?;
    up::check_lead(up::leads(&loaded.spec))?;
    let mut spec = up::trusted_spec(output, loaded, &start)?;
    // A request must not open panes in the user's terminal.
    spec.placement = PlacementChoice::Headless;
    for member in &mut spec.members {
        member.placement = None;
    }
    up::of_spec(spec).await
}

/// The team of the file, which need not exist, and a session for the service.
async fn team_of_sessions(up: &Up) -> Result<(TeamId, Session), Failure> {
    let team = TeamId::new(&up.spec.name, &up.spec.project);
    let mut session = Session::to_create(TeamRef::Id(team.clone()));
    session.query::<SupervisorStatus>(Nothing {}).await?;
    // This connection keeps the supervisor running while no team is up.
    Ok((team, session.only_running()))
}

fn read_tls(listen: &Listen, certificate: &Path, key: &Path) -> Result<Tls, Failure> {
    if matches!(listen, Listen::Unix(_)) {
        let text = "cannot encrypt a Unix socket: it is not a network connection";
        return Err(Failure::usage(text).hint("omit --tls-cert and --tls-key"));
    }
    Tls::read(certificate, key).map_err(|error| {
        let text = format!(
            "cannot use {} with {}",
            certificate.display(),
            key.display()
        );
        Failure::usage(text).because(&error)
    })
}

fn read_tokens(file: &Path) -> Result<Tokens, Failure> {
    Tokens::read(file).map_err(|error| {
        let text = format!("cannot use the token file {}", file.display());
        Failure::usage(text)
            .because(&error)
            .hint("make one with: (umask 077; openssl rand -hex 32 > FILE)")
    })
}

/// A private file that forwards the browser to the URL. Other users can read the arguments of processes, so the token
/// must not be in the arguments of the browser. Removed on drop.
struct OpenedPage(PathBuf);

impl OpenedPage {
    fn open(url: &str) -> Result<Self, Failure> {
        let directories = Directories::from_environment()?;
        let file = directories
            .run
            .join(format!("open-{}.html", std::process::id()));
        let forward =
            format!("<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={url}\">\n");
        let cannot = |error| Failure::io("cannot open the page", &error);
        private_file::replace(&file, forward.as_bytes()).map_err(cannot)?;
        let page = Self(file);
        let program = if cfg!(target_os = "macos") {
            "open"
        } else {
            "xdg-open"
        };
        let opened = Command::new(program)
            .arg(&page.0)
            // Ctrl-C in this terminal ends the service, but not the browser.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        // The URL is already printed.
        opened.map_err(|error| {
            Failure::io(format!("cannot open the page with {program}"), &error)
                .hint("open the printed URL, and omit --open")
        })?;
        Ok(page)
    }
}

impl Drop for OpenedPage {
    fn drop(&mut self) {
        // The user may have removed the file.
        let _removed = private_file::discard(&self.0);
    }
}
