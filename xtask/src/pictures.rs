//! `cargo xtask pictures`: makes the SVG pictures of the documentation from a run of the demo team in a real tmux.
//!
//! Each picture is a terminal of a private tmux server in which `agent-team` runs, drawn by the crate `anstyle-svg`.
//! `--check` makes the pictures again and compares their words with the stored ones. Numbers do not count, because they
//! are times and sizes. Words of the recorded models do not count either, because the order in which members act
//! decides which of these words are on the screen.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anstyle_svg::Term;
use anyhow::{Context as _, Result, bail};

use crate::demo::{self, Demo, Team, goal};
use crate::run::{Failed, check, output, root, succeeds};
use crate::test;

/// How long a team may need to reach the state that a picture shows.
const LIMIT: Duration = Duration::from_secs(120);

/// Makes the pictures, or compares them with the stored ones.
pub(crate) fn run(is_check: bool) -> Result<()> {
    test::install("tmux")?;
    if !test::has_tmux() {
        println!("   skipped: tmux 3.0 or newer is not installed");
        return Ok(());
    }
    demo::build()?;
    for (name, picture) in team_pictures()?.into_iter().chain(request_picture()?) {
        let file = root().join("docs/pictures").join(format!("{name}.svg"));
        if is_check {
            let stored = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            compare(name, &stored, &picture)?;
        } else {
            fs::write(&file, picture)
                .with_context(|| format!("cannot write {}", file.display()))?;
            println!("wrote {}", file.display());
        }
    }
    Ok(())
}

/// The demo team after its work in panes, and the same team in `top`.
fn team_pictures() -> Result<[(&'static str, String); 2]> {
    let stage = Stage::new()?;
    let goal = goal()?;
    stage.open("team", (140, 40), &["up", &goal])?;
    stage.wait_for("the answer of the lead", || {
        stage.demo.answer()?;
        let screen = stage.screen("team")?;
        let idle = [
            "lead idle",
            "worker · idle",
            "test-engineer · idle",
            "document-specialist · idle",
        ];
        Ok(screen.contains("✓ Done in") && idle.iter().all(|label| screen.contains(label)))
    })?;
    stage.open("top", (110, 16), &["top"])?;
    stage.wait_for("the view of the team", || {
        Ok(stage.screen("top")?.contains("2 board 3/3"))
    })?;
    stage.tmux(&["send-keys", "-t", "top", "2"])?;
    stage.wait_for("the board", || {
        Ok(stage.screen("top")?.contains("T-3 Document"))
    })?;
    Ok([
        ("team", stage.picture("team")?),
        ("top", stage.picture("top")?),
    ])
}

/// A permission request in the pane of its member.
fn request_picture() -> Result<[(&'static str, String); 1]> {
    let stage = Stage::new()?;
    check(
        stage
            .demo
            .agent_team(&["up", "--detach", &goal()?])
            .stdout(Stdio::null()),
    )?;
    stage.wait_for("a request", || {
        Ok(output(&mut stage.demo.agent_team(&["requests"]))?.contains("P-1"))
    })?;
    stage.open("request", (110, 36), &["next"])?;
    stage.wait_for("the question", || {
        Ok(stage.screen("request")?.contains("[n] no"))
    })?;
    Ok([("request", stage.picture("request")?)])
}

/// A demo team, and a private tmux server for terminals that show it.
struct Stage {
    demo: Demo,
    socket: PathBuf,
}

impl Stage {
    fn new() -> Result<Self> {
        let demo = Demo::new(Team::Agents, None)?;
        let socket = demo.directory().join("tmux.sock");
        Ok(Self { demo, socket })
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S")
            .arg(&self.socket)
            .args(["-f", "/dev/null"])
            .args(arguments);
        output(tmux.env_remove("TMUX"))
    }

    /// Starts a verb in a new terminal of this name and size.
    fn open(&self, name: &str, (columns, rows): (u32, u32), arguments: &[&str]) -> Result<()> {
        let verb = self.demo.agent_team(arguments);
        // `env` requires the variables to remove before the variables to set. Also remove the variables that tmux sets
        // for the programs that it starts.
        let (mut words, mut set) = (vec!["env".to_owned()], Vec::new());
        let removed = ["TMUX", "TMUX_PANE"].map(|name| (OsStr::new(name), None));
        for (name, value) in verb.get_envs().chain(removed) {
            let name = name.to_string_lossy().into_owned();
            match value {
                Some(value) => set.push(format!("{name}={}", value.to_string_lossy())),
                None => words.extend(["-u".to_owned(), name]),
            }
        }
        words.extend(set);
        words.push(verb.get_program().to_string_lossy().into_owned());
        words.extend(arguments.iter().map(|&word| word.to_owned()));
        let project = self.demo.project();
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let project = project.to_string_lossy();
        let mut start = vec![
            "set",
            "-g",
            "status",
            "off",
            ";",
            "new-session",
            "-d",
            "-s",
            name,
            "-x",
            &columns,
            "-y",
            &rows,
            "-c",
            &project,
            "--",
        ];
        start.extend(words.iter().map(String::as_str));
        self.tmux(&start).map(drop)
    }

    /// The text of a terminal.
    fn screen(&self, name: &str) -> Result<String> {
        self.tmux(&["capture-pane", "-p", "-t", name])
    }

    fn wait_for(&self, what: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while !condition()? {
            if start.elapsed() > LIMIT {
                bail!("timed out waiting for {what}");
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn picture(&self, name: &str) -> Result<String> {
        let screen = self.tmux(&["capture-pane", "-e", "-p", "-t", name])?;
        let project = self.demo.project();
        let screen = screen.replace(&*project.to_string_lossy(), "~/tally");
        let screen = with_fixed_id(&screen);
        Ok(Term::new().render_svg(screen.trim_end()))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _stopped = succeeds(&mut self.demo.agent_team(&["down", "--force"]));
        let _gone = self.tmux(&["kill-server"]);
    }
}

/// Replaces the id of the team, which depends on the path of its project.
fn with_fixed_id(screen: &str) -> String {
    const NAME: &str = "tally-";
    const DIGITS: &str = "5f3a9c1e";
    let mut fixed = String::new();
    let mut rest = screen;
    while let Some((before, id)) = rest.split_once(NAME) {
        let is_id = id.bytes().take_while(u8::is_ascii_hexdigit).count() >= DIGITS.len();
        fixed.extend([before, NAME, if is_id { DIGITS } else { "" }]);
        rest = if is_id { &id[DIGITS.len()..] } else { id };
    }
    fixed + rest
}

/// Fails if a picture and the stored one contain different words.
fn compare(name: &str, stored: &str, made: &str) -> Result<()> {
    let recording = fs::read_to_string(root().join("scripts/demo/recording.jsonl"))?;
    let (recorded, stored, made) = (
        words(&recording),
        words(&displayed_text(stored)),
        words(&displayed_text(made)),
    );
    let differ: Vec<_> = stored
        .symmetric_difference(&made)
        .filter(|word| !recorded.contains(*word))
        .collect();
    if differ.is_empty() {
        println!("   {name}: {} words", stored.len());
        return Ok(());
    }
    Err(Failed {
        what: format!(
            "docs/pictures/{name}.svg is out of date (words that differ: {differ:?}); make it again with: cargo xtask \
             pictures"
        ),
        code: 1,
    }
    .into())
}

/// The text that an SVG displays: without the tags and the style sheet.
fn displayed_text(svg: &str) -> String {
    let body = svg.split_once("</style>").map_or(svg, |(_, body)| body);
    body.split('<')
        .filter_map(|tag| tag.split_once('>'))
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The words of at least three letters.
fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphabetic())
        .filter(|word| word.chars().count() > 2)
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_recorded_words_do_not_count() {
        let stored = "<svg><style>.fg { fill: red }</style><tspan>ada · idle 8 s</tspan></svg>";
        let made = "<svg><style></style><tspan>ada · </tspan><tspan>idle 12 s tally</tspan></svg>";
        compare("team", stored, made).unwrap();
        let error = compare("team", stored, &made.replace("idle", "resting")).unwrap_err();
        assert!(
            error.to_string().contains("[\"idle\", \"resting\"]"),
            "{error}"
        );
    }

    #[test]
    fn team_ids_are_replaced() {
        let screen = "in tally-0badcafe0: tally-ho, tally-00000000";
        let fixed = "in tally-5f3a9c1e0: tally-ho, tally-5f3a9c1e";
        assert_eq!(with_fixed_id(screen), fixed);
    }

    #[test]
    fn the_documentation_shows_every_picture() {
        let pages = [
            "README.md",
            "docs/guide/panes.md",
            "docs/guide/permissions.md",
        ];
        let pages = pages
            .map(|page| fs::read_to_string(root().join(page)).unwrap())
            .concat();
        for entry in fs::read_dir(root().join("docs/pictures")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(pages.contains(&format!("pictures/{name})")), "{name}");
        }
    }
}
