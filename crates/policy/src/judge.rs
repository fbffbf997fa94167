//! Evaluates a call. Called by the supervisor, for the tool calls for which members request permission and for `rules
//! check`, and by the offers.
//!
//! A call is split into parts: each command, each file that it reads or writes, each URL. Each part is evaluated by the
//! checks of [`Judge::weigh`]; the first check that applies decides: deny rules, mode plan, protected paths, mode
//! bypass, ask rules, features that no rule can allow (except for contained commands in mode sandboxed), allow rules,
//! notes of the user, modes accept-edits and sandboxed. An exact grant then allows all parts whose ruling is ask.
//! Without a grant, mode dont-ask denies these parts. The strictest ruling of a part is the ruling of the call; every
//! part is evaluated.
//!
//! In mode sandboxed, a command that the sandbox confines completely needs no rule: [`Judge::contains_commands`].

mod line;

use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::Containment;

use super::call::{Action, ToolCall};
use super::decision::{Judgement, Part, PartAction, Reason, Ruling};
use super::digest::Digest;
use super::domain;
use super::path::RuleContext;
use super::pattern::Reach;
use super::rule::Rule;
use super::rule_book::{Entry, RuleBook, RuleKind};

impl RuleBook {
    /// Evaluates a call of a member in this mode.
    pub fn judge(&self, call: &ToolCall, context: &RuleContext, mode: Mode) -> Judgement {
        let judge = Judge {
            book: self,
            call,
            context,
            mode,
        };
        judge.decide()
    }
}

struct Judge<'a> {
    book: &'a RuleBook,
    call: &'a ToolCall,
    context: &'a RuleContext,
    mode: Mode,
}

/// The findings of the rules and built-in checks about a part.
struct Findings {
    deny: Option<Reason>,
    ask: Option<Reason>,
    allow: Option<Reason>,
    /// Whether the part changes a protected path, so it needs a decision.
    protected: bool,
    /// Whether the part changes a note of the user, so neither the modes accept-edits and sandboxed nor a hook allows
    /// it.
    of_user: bool,
    changes: Changes,
    /// A feature of the part because of which no rule can allow it.
    complex: Option<&'static str>,
    /// Whether a sandbox contains all effects of the part, so mode sandboxed allows it.
    contained: bool,
    /// The containment that the sandbox of the call lacks, so the built-in rule for reading does not allow the part.
    uncontained: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Changes {
    Nothing,
    Project,
    Anything,
}

impl Judge<'_> {
    fn decide(&self) -> Judgement {
        let mut run = None;
        let mut parts = match self.call.action() {
            Action::Run(line) => {
                let (parts, runnable) = self.line(&line);
                run = runnable;
                parts
            }
            Action::Read(path) => vec![self.read(&path)],
            Action::Edit(paths) => paths.iter().map(|path| self.edit(path)).collect(),
            Action::Fetch(address) => vec![self.fetch(address)],
            Action::Search => {
                vec![self.by_name("web_search", Changes::Nothing, |rule, _| {
                    rule.matches_search()
                })]
            }
            Action::Mcp(tool) => vec![self.by_name(&tool, Changes::Anything, |rule, reach| {
                rule.matches_mcp(&tool, reach)
            })],
            Action::Own => {
                let why = Reason::BuiltIn("it affects only the team's own state");
                vec![self.tool(Ruling::Allow, why)]
            }
            Action::Unknown => {
                let findings = Findings::new(Changes::Anything);
                vec![self.part(PartAction::Tool(self.call.tool.clone()), findings)]
            }
        };
        let runs = matches!(self.call.action(), Action::Run(_)) || self.call.runs_git();
        let features = [
            (runs && !self.call.confined).then_some("no sandbox"),
            (!self.call.environment.is_empty()).then_some("a changed environment"),
        ];
        for complex in features.into_iter().flatten() {
            let mut findings = Findings::new(Changes::Anything);
            findings.complex = Some(complex);
            parts.push(self.part(PartAction::Tool(self.call.tool.clone()), findings));
        }
        self.allow_exact_grant(&mut parts);
        let ruling = parts.iter().map(|part| part.ruling).max();
        let ruling = ruling.unwrap_or(Ruling::Ask);
        // Mode sandboxed allows the command as text. A word can be the name of a builtin, so bash must run the text.
        let runs_text = parts.iter().any(|part| {
            matches!(part.action, PartAction::Command(_))
                && part.why == Reason::Mode(Mode::Sandboxed)
        });
        let decision = Judgement {
            run: run.filter(|_| ruling == Ruling::Allow && !runs_text),
            ruling,
            parts,
        };
        match self.mode {
            Mode::DontAsk => decision.without_asking(&Reason::Mode(Mode::DontAsk)),
            Mode::Plan | Mode::Default | Mode::AcceptEdits | Mode::Sandboxed | Mode::Bypass => {
                decision
            }
        }
    }

    /// Whether a sandbox contains the commands of this call. The sandbox must protect the protected paths. No rule may
    /// restrict edits: a command could evade such a rule.
    fn contains_commands(&self) -> bool {
        self.call.confined && self.hides_files() && !self.book.restricts(Rule::is_about_edits)
    }

    /// Whether a command that the built-in rule for reading covers can run read-only. If rules restrict reading, the
    /// sandbox must hide the restricted files: a command can read all files of a directory.
    fn contains_reading(&self) -> bool {
        let hides = self.hides_files() || !self.book.restricts(Rule::is_about_reading);
        self.call.confined && self.call.containment >= Containment::ReadOnly && hides
    }

    /// Whether the sandbox gives programs their own view of the files. Landlock does not: programs can change modes and
    /// times of files everywhere.
    fn hides_files(&self) -> bool {
        self.call.containment >= Containment::Protects
    }

    /// Allows the parts that need a decision if the user has allowed exactly this call. Does not change denials.
    fn allow_exact_grant(&self, parts: &mut [Part]) {
        if parts.iter().all(|part| part.ruling != Ruling::Ask) {
            return;
        }
        let Some(source) = self.book.granted(&Digest::of(self.call)) else {
            return;
        };
        for part in parts.iter_mut().filter(|part| part.ruling == Ruling::Ask) {
            part.ruling = Ruling::Allow;
            part.why = Reason::Exact(source);
        }
    }

    fn read(&self, path: &str) -> Part {
        let call_path = self.call.path_of(path);
        let known = self.call.known(path).is_some();
        let find = |kind, reach| {
            self.book.find(kind, |rule| {
                rule.matches_read(&call_path, self.context, reach)
            })
        };
        let mut findings = Findings::new(Changes::Nothing);
        findings.deny = find(RuleKind::Deny, Reach::Wide).map(why);
        findings.ask = find(RuleKind::Ask, Reach::Wide).map(why);
        if known {
            let inside = call_path
                .is_inside(self.context)
                .then_some(Reason::BuiltIn("reading in the project needs no rule"));
            findings.allow = find(RuleKind::Allow, Reach::Narrow).map(why).or(inside);
        }
        self.part(PartAction::Read(path.to_owned()), findings)
    }

    fn edit(&self, path: &str) -> Part {
        let call_path = self.call.path_of(path);
        let known = self.call.known(path).is_some();
        let find = |kind, reach| {
            self.book.find(kind, |rule| {
                rule.matches_edit(&call_path, self.context, reach)
            })
        };
        let of_user = self.call.changes_user_note();
        let inside = known && !of_user && call_path.is_inside(self.context);
        let mut findings = Findings::new(if inside {
            Changes::Project
        } else {
            Changes::Anything
        });
        findings.deny = find(RuleKind::Deny, Reach::Wide).map(why);
        findings.ask = find(RuleKind::Ask, Reach::Wide).map(why);
        findings.protected = self.call.is_protected(&call_path, self.context);
        findings.of_user = of_user;
        if known && of_user {
            let names = |rule: &Rule| rule.names_edit_outside(&call_path, self.context);
            findings.allow = self.book.find(RuleKind::Allow, names).map(why);
        } else if known {
            findings.allow = find(RuleKind::Allow, Reach::Narrow).map(why);
        }
        self.part(PartAction::Edit(path.to_owned()), findings)
    }

    fn fetch(&self, address: String) -> Part {
        let plain = domain::host_of(&address);
        let mapped = plain.clone().or_else(|| domain::ascii_host(&address));
        let find = |kind, reach| {
            let host = match reach {
                Reach::Narrow => plain.as_deref(),
                Reach::Wide => mapped.as_deref(),
            };
            let matches = |rule: &Rule| rule.matches_host(host, &address, reach);
            self.book.find(kind, matches)
        };
        let mut findings = Findings::new(Changes::Nothing);
        findings.deny = find(RuleKind::Deny, Reach::Wide).map(why);
        findings.ask = find(RuleKind::Ask, Reach::Wide).map(why);
        findings.allow = find(RuleKind::Allow, Reach::Narrow).map(why);
        self.part(PartAction::Fetch(address), findings)
    }

    /// The part of a tool that is judged only by its name.
    fn by_name(
        &self,
        tool: &str,
        changes: Changes,
        matches: impl Fn(&Rule, Reach) -> bool,
    ) -> Part {
        let find = |kind, reach| self.book.find(kind, |rule| matches(rule, reach));
        let mut findings = Findings::new(changes);
        findings.deny = find(RuleKind::Deny, Reach::Wide).map(why);
        findings.ask = find(RuleKind::Ask, Reach::Wide).map(why);
        findings.allow = find(RuleKind::Allow, Reach::Narrow).map(why);
        self.part(PartAction::Tool(tool.to_owned()), findings)
    }

    fn tool(&self, ruling: Ruling, why: Reason) -> Part {
        Part {
            action: PartAction::Tool(self.call.tool.clone()),
            ruling,
            why,
        }
    }

    fn part(&self, action: PartAction, findings: Findings) -> Part {
        let (ruling, why) = self.weigh(findings);
        Part {
            action,
            ruling,
            why,
        }
    }

    /// Combines rules, built-in checks and the mode: the first check below that applies decides. No other function
    /// combines them.
    fn weigh(&self, findings: Findings) -> (Ruling, Reason) {
        let mode = Reason::Mode(self.mode);
        if let Some(why) = findings.deny {
            return (Ruling::Deny, why);
        }
        if self.mode == Mode::Plan && findings.changes != Changes::Nothing {
            return (Ruling::Deny, mode);
        }
        if findings.protected {
            let why = "it configures agent-team, other tools or a shell, or is a trusted script";
            return (Ruling::Ask, Reason::BuiltIn(why));
        }
        if self.mode == Mode::Bypass {
            return (Ruling::Allow, mode);
        }
        if let Some(why) = findings.ask {
            return (Ruling::Ask, why);
        }
        let contained = self.mode == Mode::Sandboxed && findings.contained;
        match (findings.complex, findings.allow) {
            (Some(_), _) if contained => return (Ruling::Allow, mode),
            (Some(why), _) => return (Ruling::Ask, Reason::Complex(why)),
            (None, Some(why)) => return (Ruling::Allow, why),
            (None, None) => {}
        }
        if findings.of_user {
            let why = "agents in all projects of the user read this note";
            return (Ruling::Ask, Reason::BuiltIn(why));
        }
        let accepts_edits = matches!(self.mode, Mode::AcceptEdits | Mode::Sandboxed);
        if contained || (accepts_edits && findings.changes == Changes::Project) {
            return (Ruling::Allow, mode);
        }
        (
            Ruling::Ask,
            findings
                .uncontained
                .map_or(Reason::NoRule, Reason::Uncontained),
        )
    }
}

impl Findings {
    fn new(changes: Changes) -> Self {
        Self {
            deny: None,
            ask: None,
            allow: None,
            protected: false,
            of_user: false,
            changes,
            complex: None,
            contained: false,
            uncontained: None,
        }
    }
}

fn why(entry: &Entry) -> Reason {
    Reason::Rule {
        kind: entry.kind,
        rule: entry.rule.to_string(),
        source: entry.source,
    }
}
