//! Reads the pages of the documentation: their commands and settings, and the invisible comments that name the world in
//! which each block runs. Called by the tests of the guide, which run the commands.

use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// The state of a world before the first command of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum World {
    /// A project without a team file, and a model: a local server that plays OpenAI.
    Project,
    /// The team file that the page shows, not started.
    File,
    /// A team that is up, from the file that the page shows, or with two command members if the page shows no file.
    Team,
    /// A lead and ada, agents in panes. Ada asks for permission to run `cargo test -p parser`.
    Request,
}

/// Where a block of commands runs, according to the invisible comment before the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BlockWorld {
    /// The block runs in the world of the previous block.
    Same,
    /// The block runs in a new world.
    New(World),
    /// Each line of the block runs in a new world.
    Each(World),
    NotRun,
}

/// A block of shell lines.
#[derive(Debug)]
pub(super) struct Block {
    /// The page, and the line where the block begins.
    pub(super) at: String,
    pub(super) world: BlockWorld,
    pub(super) lines: Vec<String>,
    /// The last TOML that the page shows before the block.
    pub(super) file: Option<String>,
}

/// The parts of a page that the tests use.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) blocks: Vec<Block>,
    /// Commands within sentences.
    pub(super) inline: Vec<String>,
    pub(super) tmux: Vec<String>,
    /// The settings that the page shows, each with the page and the line.
    pub(super) toml: Vec<(String, String)>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn block_world(comment: &str) -> Option<BlockWorld> {
    let text = comment.trim().strip_prefix("<!-- test:")?;
    let text = text.strip_suffix("-->")?.trim();
    if text.starts_with("not run, ") {
        return Some(BlockWorld::NotRun);
    }
    let (world, each) = match text.strip_suffix(", each") {
        Some(world) => (world, true),
        None => (text, false),
    };
    let world = match world {
        "project" => World::Project,
        "file" => World::File,
        "team" => World::Team,
        "request" => World::Request,
        other => panic!("no world is called {other:?}"),
    };
    Some(if each {
        BlockWorld::Each(world)
    } else {
        BlockWorld::New(world)
    })
}

pub(super) fn page(name: &str) -> Page {
    let text = std::fs::read_to_string(repository().join(name)).unwrap();
    let mut page = Page::default();
    let mut next = BlockWorld::Same;
    let mut file = None;
    let mut inside: Option<(String, usize, String)> = None;
    for (event, range) in Parser::new(&text).into_offset_iter() {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                if let Some(world) = block_world(&html) {
                    next = world;
                }
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Indented => "sh".to_owned(),
                    CodeBlockKind::Fenced(language) => language.to_string(),
                };
                let line = text[..range.start].lines().count();
                inside = Some((language, line.max(1), String::new()));
            }
            Event::Text(more) => {
                if let Some((_, _, block)) = &mut inside {
                    block.push_str(&more);
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                let (language, line, block) = inside.take().expect("the block began");
                match language.as_str() {
                    "sh" => page.blocks.push(Block {
                        at: format!("{name}:{line}"),
                        world: std::mem::replace(&mut next, BlockWorld::Same),
                        lines: block.lines().map(str::to_owned).collect(),
                        file: file.clone(),
                    }),
                    "toml" => {
                        page.toml.push((format!("{name}:{line}"), block.clone()));
                        file = Some(block);
                    }
                    "tmux" => page.tmux.push(block),
                    _ => {}
                }
            }
            Event::Code(code) => page.inline.push(code.to_string()),
            Event::Start(_)
            | Event::End(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::SoftBreak
            | Event::HardBreak
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
    assert_eq!(next, BlockWorld::Same, "{name}: a comment without a block");
    page
}

/// README.md and the pages of the guide.
pub(super) fn names() -> Vec<String> {
    let guide = std::fs::read_dir(repository().join("docs/guide")).unwrap();
    let guide = guide.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = guide.map(|name| format!("docs/guide/{name}")).collect();
    names.push("README.md".to_owned());
    names.sort();
    names
}

/// The commands of a block, each with the output that the page shows.
pub(super) fn commands(lines: &[String]) -> Vec<(&str, Option<String>)> {
    let mut commands: Vec<(&str, Option<String>)> = Vec::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Some(String::new()))),
            (None, Some((_, Some(output)))) => output.push_str(&format!("{line}\n")),
            (None, _) => commands.push((line, None)),
        }
    }
    commands
}
