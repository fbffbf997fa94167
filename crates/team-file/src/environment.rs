//! Restricts the variables that `env` in a team file may set for agents. Called when the members are known.
//!
//! An agent also starts programs outside the sandbox (MCP servers, git, bubblewrap itself), and its environment
//! configures its sandbox. So only the user may set variables that choose a program, make a program load code, move a
//! directory that the sandbox hides, or redirect API keys. An agent of another vendor receives the user's keys. Only
//! the user may also set the variables that configure this agent, because they can change the calls that it makes
//! without asking.
//!
//! A command member is exempt: it runs command lines of the same file, and such a variable is one more line that the
//! user must trust. The `env` of an MCP server is exempt too: the same file chooses its program, no other program gets
//! the variables, and `trust` shows them beside the command.
//! the variables, and `trust` shows them beside the command.

use std::collections::BTreeSet;

use agent_team_protocol::external::configures_agent;
use agent_team_providers::affects_keys;

use super::member::Member;
use super::source::Source;

/// Variables that choose or change the programs that run.
const NAMES: [&str; 46] = [
    "BASHOPTS",
    "BASH_ENV",
    "BUN_OPTIONS",
    "CDPATH",
    "CLASSPATH",
    "EDITOR",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LESSOPEN",
    "LOCPATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NPM_CONFIG_NODE_OPTIONS",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PAGER",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
    "SHELL",
    "SHELLOPTS",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "VISUAL",
    "ZDOTDIR",
    "_JAVA_OPTIONS",
    "npm_config_node_options",
    "RUSTC",
];

const PREFIXES: [&str; 7] = [
    "AGENT_TEAM_",
    "BASH_FUNC_",
    "DYLD_",
    "GIT_",
    "LD_",
    "SSH_",
    "XDG_",
];

const SUFFIX: &str = "_WRAPPER";

pub(super) fn check(source: &Source<'_>, members: &[Member]) {
    // Report a variable of `[defaults]` once, not for each member.
    let mut reported = BTreeSet::new();
    for member in members {
        let engine = member.spec.engine;
        if !engine.uses_model() && !engine.is_external() {
            continue;
        }
        for name in member.spec.env.keys() {
            let at = member.env_at.get(name).copied().unwrap_or(member.at);
            let (effect, hint) = if affects_keys(name) {
                let hint = match engine.is_external() {
                    true => set_hint(name),
                    false => {
                        "set it in your own environment, or set base_url under [providers.<name>]"
                            .to_owned()
                    }
                };
                ("can redirect your API keys", hint)
            } else if chooses_programs(name) {
                ("changes which programs run", set_hint(name))
            } else if engine.is_external() && configures_agent(name) {
                ("configures an agent of another vendor", set_hint(name))
            } else {
                continue;
            };
            if reported.insert(at) {
                source.fault_with_hint(
                    at,
                    format!("`env`: {name} {effect}, so a team file cannot set it for agents"),
                    hint,
                );
            }
        }
    }
}

fn set_hint(name: &str) -> String {
    format!("set it yourself: agent-team up --env {name}=VALUE")
}

fn chooses_programs(name: &str) -> bool {
    NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with(SUFFIX)
}
