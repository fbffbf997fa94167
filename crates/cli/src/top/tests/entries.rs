//! Tests of selection, search, pages, the board and the mouse of `top`.

use super::*;

#[test]
fn search_goes_from_match_to_match_and_hides_nothing() {
    let (mut top, now) = top();
    press(&mut top, "2/THE", now);
    let searching = shown(&mut top, now);
    assert!(searching.contains("/THE   1 of 4"), "{searching}");
    assert!(
        searching.contains("T-5 Document it"),
        "the search hides T-5: {searching}"
    );
    assert_eq!(top.board_list.id(), Some(&TaskId(2)));
    press(&mut top, " tests", now);
    assert_eq!(
        top.board_list.id(),
        Some(&TaskId(3)),
        "typing skipped a match"
    );
    press(&mut top, "⏎", now);
    assert_eq!(top.board_list.id(), Some(&TaskId(3)));
    press(&mut top, "n", now);
    assert_eq!(top.board_list.id(), Some(&TaskId(4)));
    assert!(shown(&mut top, now).contains("/THE tests 2 of 2"));
    press(&mut top, "n", now);
    assert_eq!(
        top.board_list.id(),
        Some(&TaskId(3)),
        "the search does not continue at the first match"
    );
    press(&mut top, "N", now);
    assert_eq!(top.board_list.id(), Some(&TaskId(4)));
    let reversed = |top: &mut Top| -> String {
        let buffer = show(top, now, PLAIN, (80, 24));
        let found = buffer
            .content()
            .iter()
            .filter(|cell| cell.modifier.contains(Modifier::REVERSED));
        found.map(ratatui::buffer::Cell::symbol).collect()
    };
    assert!(reversed(&mut top).matches("the tests").count() >= 2);
    press(&mut top, "⎋", now);
    assert_eq!(reversed(&mut top), " 2 board 1/6 ");
    assert_eq!(
        top.board_list.id(),
        Some(&TaskId(4)),
        "the selection has moved"
    );
    press(&mut top, "/zzz⏎", now);
    assert!(shown(&mut top, now).contains("no match for /zzz in board"));
    assert_eq!(top.board_list.id(), Some(&TaskId(4)));
}

#[test]
fn search_scrolls_texts_to_their_matches() {
    let (mut top, now) = top();
    for line in 1..=100 {
        top.append_output(&format!("line {line}\n"));
    }
    press(&mut top, "1", now);
    assert!(shown(&mut top, now).contains("line 100"));
    press(&mut top, "/line 4⏎", now);
    assert!(
        shown(&mut top, now).contains("line 4\n"),
        "{}",
        screen(&top, now, 80, 24)
    );
    for _ in 0..3 {
        press(&mut top, "n", now);
    }
    let found = shown(&mut top, now);
    assert!(
        found.contains("line 42\n") && found.contains("4 of 11"),
        "{found}"
    );
    press(&mut top, "⎋", now);
    top.on_keys(&[Key::End], now);
    assert!(shown(&mut top, now).contains("line 100"));
}

#[test]
fn the_selected_row_has_one_background_in_full_width() {
    for theme in [Theme::Dark, Theme::Light] {
        let (mut top, now) = top();
        let rows = selected_rows(&show(&mut top, now, theme, (80, 24)), theme);
        let [(text, 80)] = rows.as_slice() else {
            panic!("{rows:?}");
        };
        assert!(text.starts_with("▸   lea"), "{text}");
        press(&mut top, "2j", now);
        let rows = selected_rows(&show(&mut top, now, theme, (80, 24)), theme);
        assert_eq!(rows, [("▸ ◐ T-3 Write the tests  ben".to_owned(), 80)]);
    }
    // Without colours, signs show the selection and the focus.
    let (mut top, now) = top();
    press(&mut top, "2", now);
    let plain = shown(&mut top, now);
    assert!(
        plain.contains("\n› ") && plain.contains("\n▸ ◐ T-2"),
        "{plain}"
    );
}

#[test]
fn the_selection_follows_its_task_over_the_board() {
    let (mut top, now) = top();
    press(&mut top, "2jj", now);
    assert_eq!(top.board_list.id(), Some(&TaskId(6)));
    // The failed task was retried, and is now the last task but one; another task is new.
    let changed = |tasks| Refresh {
        team: team(""),
        tasks,
        board: false,
        requests: None,
        messages: None,
    };
    let retried = task(6, "Measure it", "pending", json!({"blocked": true}));
    let new = task(7, "Another", "in_progress", json!({"owner": "lea"}));
    top.on_refresh(changed(vec![retried, new]), now);
    assert_eq!(top.board_list.id(), Some(&TaskId(6)));
    let buffer = show(&mut top, now, Theme::Dark, (80, 24));
    let rows = selected_rows(&buffer, Theme::Dark);
    assert_eq!(rows, [("▸ ◌ T-6 Measure it".to_owned(), 80)]);
    // Remove a task.
    let rest: Vec<_> = board("")
        .into_iter()
        .filter(|it| it.id != TaskId(6))
        .collect();
    let refresh = Refresh {
        board: true,
        ..changed(rest)
    };
    top.on_refresh(refresh, now);
    assert!(
        top.board_list
            .id()
            .is_some_and(|id| top.task(*id).is_some())
    );
}

#[test]
fn a_task_is_opened_and_shown_with_its_history() {
    let (mut top, now) = top();
    let result = "# Found\n\n- **two** bugs\n- `a.rs`";
    let more = json!({
        "owner": "ada", "description": "All of *them*.", "after": ["T-1"], "blocks": ["T-4"],
        "files": ["src/lib.rs"], "result": result, "attempts": 2,
    });
    let refresh = Refresh {
        team: team(""),
        tasks: vec![task(
            2,
            "Validate the input of all handlers",
            "completed",
            more,
        )],
        board: false,
        requests: None,
        messages: None,
    };
    top.on_refresh(refresh, now);
    press(&mut top, "2", now);
    top.on_keys(&[Key::Home], now);
    while top.board_list.id() != Some(&TaskId(2)) {
        press(&mut top, "j", now);
    }
    press(&mut top, "⏎", now);
    assert!(
        std::mem::take(&mut top.more_claims),
        "the history does not count as outdated"
    );
    let entry = |at, what: &str| ClaimEntry {
        at,
        what: what.into(),
    };
    top.set_claims(
        TaskId(2),
        vec![
            entry(WALL_MS - 600_000, "claimed by ben"),
            entry(WALL_MS - 90_000, "released: stopped"),
        ],
    );
    assert_snapshot!("task_80", shown(&mut top, now));
    show(&mut top, now, PLAIN, (120, 40));
    assert_snapshot!("task_120", screen(&top, now, 120, 40));
    press(&mut top, "⎋", now);
    assert!(top.page.is_none());
    assert_eq!(
        top.board_list.id(),
        Some(&TaskId(2)),
        "the selection of the board has moved"
    );
}

#[test]
fn the_member_page_shows_why_and_the_last_result() {
    let (mut top, now) = top();
    press(&mut top, "j⏎", now);
    assert_snapshot!("member_80", shown(&mut top, now));
    press(&mut top, "⎋", now);
    assert_eq!(
        press(&mut top, "ja", now),
        [Effect::Attach("ben".parse().unwrap())]
    );
}

#[test]
fn board_keys_retry_cancel_add_explain_and_show_output() {
    let (mut top, now) = top();
    press(&mut top, "2jj", now);
    assert!(shown(&mut top, now).contains("r retry"));
    assert_eq!(
        press(&mut top, "r", now),
        [Effect::Perform(Action::Retry(TaskId(6)))]
    );
    press(&mut top, "c", now);
    assert!(shown(&mut top, now).contains("cannot cancel T-6: it has ended"));
    press(&mut top, "kk", now);
    press(&mut top, "c", now);
    assert!(shown(&mut top, now).contains("cancel T-2 Validate the input of all handlers? y/N"));
    assert_eq!(press(&mut top, "n", now), []);
    assert_eq!(
        press(&mut top, "cy", now),
        [Effect::Perform(Action::Cancel(TaskId(2)))]
    );
    let effects = press(&mut top, "anew one⏎", now);
    let [Effect::Perform(Action::AddTask(spec))] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (spec.title.as_str(), spec.key.as_str()),
        ("new one", "new one")
    );
    // T-4 is blocked by T-3.
    press(&mut top, "jjjjw", now);
    let why = shown(&mut top, now);
    assert!(
        why.contains("T-4 waits for T-3 (in progress, ben)"),
        "{why}"
    );
    press(&mut top, "kkkl", now);
    assert_eq!(
        (top.focus, top.selected().unwrap().as_str()),
        (TopView::Output, "ben")
    );
}

#[test]
fn a_click_selects_and_a_second_click_opens() {
    let (mut top, now) = top();
    let at = |top: &mut Top, text: &str| position(&shown(top, now), text);
    let title = at(&mut top, "2 board");
    mouse(&mut top, MouseAction::Press, title, now);
    assert_eq!(top.focus, TopView::Board);
    let task = at(&mut top, "T-5 Document it");
    mouse(&mut top, MouseAction::Press, task, now);
    assert_eq!(top.board_list.id(), Some(&TaskId(5)));
    assert!(top.page.is_none());
    mouse(&mut top, MouseAction::Press, task, now);
    assert!(matches!(top.page, Some(Page::Task(TaskId(5)))));
    press(&mut top, "⎋", now);
    let ben = at(&mut top, "ben    worker");
    mouse(&mut top, MouseAction::Press, ben, now);
    assert_eq!(
        (top.focus, top.selected().unwrap().as_str()),
        (TopView::Members, "ben")
    );
    // A click beside all entries selects nothing.
    mouse(&mut top, MouseAction::Press, (40, 20), now);
    assert_eq!(top.board_list.id(), Some(&TaskId(5)));
    // A click does not confirm.
    press(&mut top, "c", now);
    mouse(&mut top, MouseAction::Press, task, now);
    assert!(matches!(top.mode, Mode::Confirm(_)));
}

#[test]
fn the_wheel_scrolls_the_view_at_the_pointer() {
    let (mut top, now) = top();
    for line in 1..=100 {
        top.append_output(&format!("line {line}\n"));
    }
    let output = position(&shown(&mut top, now), "line 99");
    mouse(&mut top, MouseAction::ScrollUp, output, now);
    let back = shown(&mut top, now);
    assert!(
        back.contains("line 97") && !back.contains("line 98"),
        "{back}"
    );
    assert_eq!(
        (top.focus, top.selected().unwrap().as_str()),
        (TopView::Members, "lea")
    );
    for _ in 0..9 {
        mouse(&mut top, MouseAction::ScrollDown, output, now);
        shown(&mut top, now);
    }
    assert!(
        screen(&top, now, 80, 24).contains("line 100"),
        "scrolled past the end"
    );
    // Over a list, the wheel moves the rows and keeps the selection.
    let tasks = (10..60)
        .map(|id| task(id, "More", "pending", json!({})))
        .collect();
    let refresh = Refresh {
        team: team(""),
        tasks,
        board: false,
        requests: None,
        messages: None,
    };
    top.on_refresh(refresh, now);
    press(&mut top, "2", now);
    let board = position(&shown(&mut top, now), "◐ T-2 Validate");
    mouse(&mut top, MouseAction::ScrollDown, board, now);
    let scrolled = shown(&mut top, now);
    assert!(
        !scrolled.contains("▸ ◐ T-2") && scrolled.contains("T-5"),
        "{scrolled}"
    );
    assert_eq!(top.board_list.id(), Some(&TaskId(2)));
    press(&mut top, "j", now);
    assert!(shown(&mut top, now).contains("▸ ◐ T-3"));
}

#[test]
fn changes_are_read_and_shown_as_a_diff() {
    let (mut top, now) = top();
    assert_eq!(press(&mut top, "d", now), [Effect::ReadChanges]);
    top.set_changes(Changes {
        stat: " a.rs | 2 +-\n".into(),
        untracked: "b\u{1b}[2J.rs\n".into(),
        diff: "@@ -1 +1 @@\n-one\n+two\u{1b}]0;x\u{7}\n".into(),
        is_cut: true,
    });
    assert_snapshot!("changes_80", shown(&mut top, now));
    let buffer = show(&mut top, now, Theme::Dark, (80, 24));
    let (column, row) = position(&screen(&top, now, 80, 24), "+two");
    let added = Theme::Dark
        .colour(agent_team_terminal_ui::style::SemanticColour::Added)
        .unwrap();
    assert_eq!(buffer[(column, row)].fg, Color::Indexed(added));
}

#[test]
fn words_are_not_broken_in_columns() {
    for columns in [80, 120, 200] {
        let (mut top, now) = top();
        for key in ["1", "2", "3", "4"] {
            press(&mut top, key, now);
            let words: Vec<String> = screen(&top, now, 400, 50)
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            for word in screen(&top, now, columns, 50).split_whitespace() {
                let whole = word.trim_end_matches('…');
                let is_whole =
                    whole.is_empty() || words.iter().any(|it| it.trim_end_matches('…') == whole);
                assert!(is_whole, "{word:?} at {columns}");
            }
        }
    }
}

/// The rows of a frame; a text in a style follows the style in brackets: `[75 on 236 bold]`.
fn styled(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in 0..buffer.area.height {
        let (mut line, mut last) = (String::new(), String::new());
        for column in 0..buffer.area.width {
            let cell = &buffer[(column, row)];
            let mut parts = Vec::new();
            if let Color::Indexed(colour) = cell.fg {
                parts.push(colour.to_string());
            }
            if let Color::Indexed(colour) = cell.bg {
                parts.push(format!("on {colour}"));
            }
            if !cell.modifier.is_empty() {
                parts.push(format!("{:?}", cell.modifier).to_lowercase());
            }
            let style = parts.join(" ");
            if style != last {
                line.push_str(&format!("[{style}]"));
                last = style;
            }
            line.push_str(cell.symbol());
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[test]
fn dark_screens_at_80_and_120_columns() {
    let (mut top, now) = top();
    press(&mut top, "2jj", now);
    assert_snapshot!(
        "dark_80",
        styled(&show(&mut top, now, Theme::Dark, (80, 24)))
    );
    assert_snapshot!(
        "dark_120",
        styled(&show(&mut top, now, Theme::Dark, (120, 40)))
    );
}
