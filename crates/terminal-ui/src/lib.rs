//! Rendering and input of one member's terminal, without I/O. Used by the member's own pane, and by clients that show
//! members in another terminal.
//!
//! ```text
//!   output of the member ──┐                    ┌─► bytes for the terminal
//!   keystrokes ────────────┼─► TranscriptView ──┤
//!   pending requests ──────┘                    └─► actions of the user
//! ```
//! Where to look:
//! - the layout of the screen, and key bindings: `transcript_view`
//! - live rows and the terminal's scrollback: `canvas`
//! - Markdown, code: [`markdown`], `code`
//! - the prompt: [`editor`]; its menu and completion: `menu`, `complete`; slash commands: `slash`, `custom_command`
//! - a pending permission request: [`dialog`], its rows: `card`
//! - tool calls as lines: [`call`]; lines of a log: [`log`]; styled text without control characters: [`line`]
//! - decoding of keystrokes: [`keys`]; notifications to the user: [`notifications`]
//! - styles and themes: [`style`], of the protocol crate, and [`background`]
//!
//! Reads no terminal, no clock and no file.

pub mod background;
pub mod call;
mod canvas;
mod card;
mod code;
mod complete;
mod custom_command;
pub mod dialog;
mod diff;
pub mod editor;
pub mod keys;
pub mod line;
pub mod log;
pub mod markdown;
mod menu;
pub mod notifications;
mod slash;
mod transcript_view;

pub use agent_team_protocol::style;
pub use complete::Names;
pub use custom_command::CustomCommand;
pub use menu::Candidate;
pub use slash::{COLUMNS, PromptKind, columns_of_output};
pub use slash::{help as prompt_help, is_verb as is_prompt_verb};
pub use transcript_view::{TextKind, Tone, TranscriptView, UserAction};
