//! The colours and texts of borders and status lines, as tmux formats. Used by [`super`] and [`super::create`]; pure.
//!
//! Teams on agent-team's server can have different themes, so nothing here is an option of the whole server. The status
//! line reads the summary of its team from options of the team's first window: see [`super::user_options`].

use agent_team_protocol::status::Status;
use agent_team_protocol::style::{SemanticColour, Theme};

use super::call::Command;
use super::site::TmuxSession;
use super::survey::MEMBER_TAG;
use super::user_options::{
    ACTIVE_BORDER_OPTION, ASKS_OPTION, BORDER_OPTION, COLOUR_OPTION, COMPLETED_OPTION, COST_OPTION,
    FAILED_OPTION, IN_PROGRESS_OPTION, LABEL_OPTION, MODE_OPTION, NAME_OPTION, WAITING_OPTION,
};

/// True for tmux 3.2 and newer, which expand formats in the styles of borders. Older versions refuse such styles.
const HAS_STYLE_FORMATS: &str = "#{m/r:^(3\\.[2-9]|[4-9]|[1-9][0-9]|next|openbsd),#{version}}";

/// A blank at the end of a border's text. At the end of a text, tmux drops a blank in the default style, and draws the
/// border line in its place. `dim` makes the style differ from the default, and is invisible on a blank.
const LAST_BLANK: &str = "#[default]#[dim] #[default]";

/// True in a narrow terminal. Never true in tmux before 3.2, which cannot compare numbers.
const IS_NARROW: &str = "#{e|<:#{client_width},120}";

/// True if the list of windows is shown in a narrow terminal.
const IS_TIGHT: &str = "#{&&:#{e|>:#{session_windows},1},#{e|<:#{client_width},120}}";

/// True if the session has a single window: its list is not shown.
const IS_ALONE: &str = "#{==:#{session_windows},1}";

/// Maximum columns of the team's name and of the list of waiting members, without the `…` that ends a shortened text.
/// Both then fit into 80 columns, together with the counts and the hint `^B d detach`.
const NAME_CHARACTERS: usize = 15;
const WAITING_CHARACTERS: usize = 28;

/// The maxima in a tight status line: 80 columns then also have room for the list of windows. tmux cuts this list
/// first.
const TIGHT_NAME_CHARACTERS: usize = 10;
const TIGHT_WAITING_CHARACTERS: usize = 16;

/// Maximum columns of the team's name and of the list of waiting members for which cost and mode also fit into 80
/// columns.
const NARROW_NAMES_MAX: usize = 18;

/// The name of a theme's colour in styles of tmux.
pub(super) fn colour(theme: Theme, colour: SemanticColour) -> String {
    let number = theme.colour(colour);
    number.map_or("default".to_owned(), |number| format!("colour{number}"))
}

/// The commands that set the borders of a window's panes. The border of a pane has the colour of waiting while its
/// member waits for the user. Otherwise it has the style that the user's configuration sets, or on agent-team's server
/// the style of the theme.
pub(super) fn borders(window: &str, theme: Theme, session: &TmuxSession) -> Vec<Command> {
    let active = match theme {
        Theme::None => "bold".to_owned(),
        Theme::Dark | Theme::Light => format!("fg={}", colour(theme, SemanticColour::ActiveBorder)),
    };
    let waiting = colour(theme, SemanticColour::Attention);
    let set = |option: &str, value: &str| Command::set("-w", Some(window), option, value);
    let mut commands = vec![
        set("pane-border-status", "top"),
        set("pane-border-format", &border_text(&waiting)),
    ];
    for (option, tag, own) in [
        ("pane-border-style", BORDER_OPTION, "default"),
        ("pane-active-border-style", ACTIVE_BORDER_OPTION, &*active),
    ] {
        if *session == TmuxSession::Own {
            commands.push(set(option, own));
        }
        let style = format!("#{{?{ASKS_OPTION},fg={waiting},#{{{tag}}}}}");
        let set = format!("set-option -w -t {window} {option} \"{style}\"");
        commands.extend([
            // `-o` sets the tag only once. When these commands run again for the window, its style is agent-team's, and
            // the tag keeps the user's style.
            Command::set("-oqwF", Some(window), tag, &format!("#{{{option}}}")),
            Command::of(&["if-shell", "-F", "-t", window, HAS_STYLE_FORMATS, &set]),
        ]);
    }
    commands
}

/// The format of a pane's border: the member's name in the member's colour, then the label. While the member waits for
/// the user, the label has the colour of waiting. The border of a pane without a member shows the pane's number.
///
/// tmux draws at most the width of the pane without 4 columns, and cuts the rest. Besides name and label, the text
/// contains 3 blanks, and `…` if the label is shortened. tmux before 3.2 cannot calculate and does not shorten.
fn border_text(waiting: &str) -> String {
    let room = format!("#{{e|-:#{{e|-:#{{pane_width}},#{{w:{MEMBER_TAG}}}}},8}}");
    let label = shortened(&room, LABEL_OPTION);
    format!(
        "#{{?{MEMBER_TAG},#[fg=#{{{COLOUR_OPTION}}}]#[bold] #{{{MEMBER_TAG}}}#[default]\
         #{{?{ASKS_OPTION},#[fg={waiting}]#[bold],}} {label}, #{{pane_index}}}}{LAST_BLANK}"
    )
}

/// The options of a session that make up its status line. If a status line is too long, tmux first cuts the list of
/// windows, then the beginning of the right part. A cost that is cut would be a wrong figure. A tight status line
/// therefore shortens the names, and omits the cost and `^B n`. While a member waits, it also omits the mode, which the
/// borders show. In a narrow terminal, the status line also omits cost and mode if a member waits and the names are
/// long.
pub(super) fn status_line(theme: Theme) -> [(&'static str, String); 3] {
    let (style, text, marked) = match theme.selection() {
        // The status line is in reverse video, so marked text is not.
        None => (
            "reverse".to_owned(),
            "default".to_owned(),
            "#[noreverse]".to_owned(),
        ),
        Some(bar) => {
            let text = if theme == Theme::Light { 238 } else { 250 };
            let attention = colour(theme, SemanticColour::Attention);
            (
                format!("fg=colour{text},bg=colour{bar}"),
                format!("colour{text}"),
                format!("#[bg={attention}]#[fg=colour{bar}]"),
            )
        }
    };
    let when = |condition: &str, then: &str| either(condition, then, "");
    let value = |tag: &str| format!("#{{{tag}}}");
    let of_state = |status: Status| format!("#[fg={}]", colour(theme, status.into()));
    let count = |tag: &str, status: Status| {
        let shown = format!("  {}{}{}", of_state(status), status.sign(), value(tag));
        when(tag, &shown)
    };
    let cut = |tag: &str, most: usize, tight: usize| {
        let shortened = |most: usize| shortened(&most.to_string(), tag);
        either(IS_TIGHT, &shortened(tight), &shortened(most))
    };
    let name = cut(NAME_OPTION, NAME_CHARACTERS, TIGHT_NAME_CHARACTERS);
    let text = format!("#[fg={text}]");
    let left = [
        // The team's name is marked, so that the user notices a waiting team without reading the status line.
        format!("#[bold]{}{name}#[default]", when(WAITING_OPTION, &marked)),
        count(COMPLETED_OPTION, Status::Success),
        count(FAILED_OPTION, Status::Failure),
        count(IN_PROGRESS_OPTION, Status::Working),
        text.clone(),
    ];
    let cost = when(COST_OPTION, &format!("{}  ", value(COST_OPTION)));
    let attention = of_state(Status::Waiting);
    let mode = when(
        MODE_OPTION,
        &format!("{attention}{}{text}  ", value(MODE_OPTION)),
    );
    let waiting = cut(WAITING_OPTION, WAITING_CHARACTERS, TIGHT_WAITING_CHARACTERS);
    let sign = Status::Waiting.sign();
    let waiting = format!("{marked}#[bold]{sign} {waiting}#[default]  ");
    let names = format!("#{{e|+:#{{w:{NAME_OPTION}}},#{{w:{WAITING_OPTION}}}}}");
    let is_full = format!("#{{e|>:{names},{NARROW_NAMES_MAX}}}");
    let is_full = both(&value(WAITING_OPTION), &both(IS_NARROW, &is_full));
    let omits_mode = any(&both(IS_TIGHT, &value(WAITING_OPTION)), &is_full);
    let right = [
        either(&any(IS_TIGHT, &is_full), "", &cost),
        either(&omits_mode, "", &mode),
        when(WAITING_OPTION, &waiting),
    ];
    let team = |parts: &[String]| format!("#{{W:{}}}", when(NAME_OPTION, &parts.concat()));
    // While a member waits, the hint for the key that shows the member replaces the hint for the next window.
    let windows = either(IS_ALONE, "", "^B n window  ");
    let is_any_waiting = format!("#{{W:{}}}", value(WAITING_OPTION));
    let keys = [
        either(
            IS_NARROW,
            "",
            &either(&is_any_waiting, "^B a answer  ", &windows),
        ),
        "^B d detach ".to_owned(),
    ];
    [
        ("status-style", style),
        ("status-left", format!(" {} ", team(&left))),
        ("status-right", team(&right) + &keys.concat()),
    ]
}

/// The text of an option. tmux puts `…` after `most` columns if the text is longer.
fn shortened(most: &str, tag: &str) -> String {
    format!("#{{=/{most}/…:{tag}}}")
}

fn either(condition: &str, then: &str, otherwise: &str) -> String {
    format!("#{{?{condition},{then},{otherwise}}}")
}

fn both(a: &str, b: &str) -> String {
    format!("#{{&&:{a},{b}}}")
}

fn any(a: &str, b: &str) -> String {
    format!("#{{||:{a},{b}}}")
}
