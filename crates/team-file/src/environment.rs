//! Restricts the variables that `env` in a team file may set for agents. Called when the members are known.
//!
//! An agent also starts programs outside the sandbox (MCP servers, git, bubblewrap itself), and its sandbox is
//! configured from its environment. So only the user may set variables that choose a program, make a program load code,
//! move a directory that the sandbox hides, or redirect API keys. A command member is exempt: it runs command lines of
//! the same file, and such a variable is one more line that the user must trust.

use std::collections::BTreeSet;

use agent_team_providers::affects_keys;

use super::member::Member;
use super::source::Source;

/// Variables that choose or change the programs that run.
const NAMES: [&str; 38] = [
    "BASHOPTS",
    "BASH_ENV",
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
    "NODE_OPTIONS",
    "NODE_PATH",
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
    let agents = members
        .iter()
        .filter(|member| member.spec.engine.uses_model());
    for member in agents {
        for name in member.spec.env.keys() {
            let at = member.env_at.get(name).copied().unwrap_or(member.at);
            if affects_keys(name) && reported.insert(at) {
                source.fault_with_hint(
                    at,
                    format!(
                        "`env`: {name} can redirect your API keys, so a team file cannot set it for agents"
                    ),
                    "set it in your own environment, or set base_url under [providers.<name>]",
                );
            } else if chooses_programs(name) && reported.insert(at) {
                source.fault_with_hint(
                    at,
                    format!(
                        "`env`: {name} changes which programs run, so a team file cannot set it for agents"
                    ),
                    format!("set it yourself: agent-team up --env {name}=VALUE"),
                );
            }
        }
    }
}

fn chooses_programs(name: &str) -> bool {
    NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with(SUFFIX)
}
