//! Members whose agent of another vendor runs in its own terminal interface, beside a side channel. Fakes replace the
//! agents, which need accounts or models.
//!
//! `agents` contains the table of the agents. `rules` and `faults` contain the tests that each agent must pass. `reads`
//! tests the agents that ask about calls that read. Each other file tests one agent.

/// One test for each agent and rule.
macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        rules!(@ claude, CLAUDE, $($rule),*);
        rules!(@ codex, CODEX, $($rule),*);
        rules!(@ opencode, OPENCODE, $($rule),*);
        rules!(@ qwen, QWEN, $($rule),*);
    };
    (@ $word:ident, $agent:ident, $($rule:ident),*) => {
        mod $word {
            $(
                #[tokio::test]
                async fn $rule() {
                    super::$rule(&super::$agent).await;
                }
            )*
        }
    };
}

pub(crate) mod agents;
mod claude;
mod codex;
mod faults;
mod opencode;
mod qwen;
mod reads;
mod rules;
