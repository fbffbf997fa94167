//! Parses a patch into sections. Pure.
//!
//! ```text
//! *** Begin Patch
//! *** Add File: PATH          then lines with `+`
//! *** Delete File: PATH
//! *** Update File: PATH       then optionally *** Move to: PATH, and hunks:
//! @@ LINE                     a line above the hunk, such as the head of a function; can be empty or repeated
//!  context
//! -removed
//! +added
//! *** End of File             the hunk is at the end of the file
//! *** End Patch
//! ```

/// The changes of one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    path: String,
    pub(super) action: Action,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Add {
        text: String,
    },
    Delete,
    Update {
        to: Option<String>,
        hunks: Vec<Hunk>,
    },
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hunk {
    /// Lines above the hunk, in this order.
    pub(super) above: Vec<String>,
    pub(super) lines: Vec<(Sign, String)>,
    pub(super) is_at_end: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Context,
    Removed,
    Added,
}

impl Section {
    /// The path, and the path that the file is moved to.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let to = match &self.action {
            Action::Update { to, .. } => to.as_deref(),
            Action::Add { .. } | Action::Delete => None,
        };
        std::iter::once(self.path.as_str()).chain(to)
    }
}

/// # Errors
/// If the text is not a valid patch. The error contains the line number if one line is invalid.
pub(super) fn parse(text: &str) -> Result<Vec<Section>, String> {
    let text = text.trim();
    let body = text
        .strip_prefix("*** Begin Patch")
        .and_then(|text| text.strip_suffix("*** End Patch"))
        .ok_or("the patch must begin with `*** Begin Patch` and end with `*** End Patch`")?;
    let mut sections: Vec<Section> = Vec::new();
    for (index, line) in body.lines().enumerate() {
        // A patch puts a sign before each line of a file, so no such line begins with `*** `.
        let marker = line.strip_prefix("*** ").map(str::trim_end);
        let section = marker.and_then(begin);
        let added = match (section, sections.last_mut()) {
            (Some(section), _) => {
                sections.push(section);
                Ok(())
            }
            (None, None) if index == 0 && line.trim().is_empty() => Ok(()),
            (None, None) => Err("a section begins with Add File, Delete File or Update File"),
            (None, Some(section)) => section.action.add(line, marker),
        };
        added.map_err(|why| format!("line {} of the patch: {why}", index + 1))?;
    }
    let empty = |section: &&Section| matches!(&section.action, Action::Update { to: None, hunks } if hunks.is_empty());
    match (sections.iter().find(empty), sections.is_empty()) {
        (Some(section), _) => Err(format!("the section of {} has no hunk", section.path)),
        (None, true) => Err("the patch has no section".to_owned()),
        (None, false) => Ok(sections),
    }
}

fn begin(marker: &str) -> Option<Section> {
    let (kind, path) = marker.split_once(": ")?;
    let action = match kind {
        "Add File" => Action::Add {
            text: String::new(),
        },
        "Delete File" => Action::Delete,
        "Update File" => Action::Update {
            to: None,
            hunks: Vec::new(),
        },
        _ => return None,
    };
    Some(Section {
        path: path.trim().to_owned(),
        action,
    })
}

impl Action {
    /// Adds a line to the section. `marker`: the rest of a line that begins with `*** `.
    fn add(&mut self, line: &str, marker: Option<&str>) -> Result<(), &'static str> {
        match self {
            Action::Add { text } => {
                let line = line.strip_prefix('+');
                let line = line.ok_or("each line of a new file begins with `+`")?;
                text.push_str(line);
                text.push('\n');
                Ok(())
            }
            Action::Delete if line.trim().is_empty() => Ok(()),
            Action::Delete => Err("a file that is removed has no lines"),
            Action::Update { to, hunks } => {
                let path = marker.and_then(|marker| marker.strip_prefix("Move to: "));
                if let Some(path) = path.filter(|_| to.is_none() && hunks.is_empty()) {
                    *to = Some(path.trim().to_owned());
                    return Ok(());
                }
                add_to_hunks(hunks, line, marker)
            }
        }
    }
}

fn add_to_hunks(
    hunks: &mut Vec<Hunk>,
    line: &str,
    marker: Option<&str>,
) -> Result<(), &'static str> {
    if let Some(above) = line.strip_prefix("@@") {
        if hunks.last().is_none_or(|hunk| !hunk.lines.is_empty()) {
            hunks.push(Hunk::default());
        }
        let above = above.trim();
        // Skip a range such as `-1,2 +1,2`: its line numbers are guesses of the model.
        let is_range = above.starts_with('-') && above.contains(" +");
        if let Some(hunk) = hunks.last_mut()
            && !above.is_empty()
            && !is_range
        {
            hunk.above.push(above.to_owned());
        }
        return Ok(());
    }
    if hunks.last().is_none_or(|hunk| hunk.is_at_end) {
        // An empty line outside a hunk only separates parts of the patch.
        if line.is_empty() {
            return Ok(());
        }
        hunks.push(Hunk::default());
    }
    let Some(hunk) = hunks.last_mut() else {
        return Ok(());
    };
    if marker == Some("End of File") {
        hunk.is_at_end = true;
        return Ok(());
    }
    let (sign, text) = match line.split_at_checked(1) {
        // Models omit the blank before an empty line of context.
        None => (Sign::Context, ""),
        Some((" ", text)) => (Sign::Context, text),
        Some(("-", text)) => (Sign::Removed, text),
        Some(("+", text)) => (Sign::Added, text),
        Some(_) => return Err("a line of a hunk begins with a blank, `-`, `+` or `@@`"),
    };
    hunk.lines.push((sign, text.to_owned()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_sections_and_hunks() {
        let patch = "*** Begin Patch\n*** Add File: a.txt\n+one\n+\n*** Delete File: b.txt\n*** Update File: c.py\n*** \
                     Move to: d.py\n@@ class C:\n@@   def f():\n context\n-old\n+*** new\n@@ -1,2 +1,2 @@\n\n+end\n*** \
                     End of File\n*** End Patch\n";
        let line = |sign, text: &str| (sign, text.to_owned());
        let hunks = vec![
            Hunk {
                above: vec!["class C:".into(), "def f():".into()],
                lines: vec![
                    line(Sign::Context, "context"),
                    line(Sign::Removed, "old"),
                    line(Sign::Added, "*** new"),
                ],
                is_at_end: false,
            },
            Hunk {
                above: Vec::new(),
                lines: vec![line(Sign::Context, ""), line(Sign::Added, "end")],
                is_at_end: true,
            },
        ];
        let section = |path: &str, action| Section {
            path: path.into(),
            action,
        };
        let expected = [
            section(
                "a.txt",
                Action::Add {
                    text: "one\n\n".into(),
                },
            ),
            section("b.txt", Action::Delete),
            section(
                "c.py",
                Action::Update {
                    to: Some("d.py".into()),
                    hunks,
                },
            ),
        ];
        assert_eq!(parse(patch).unwrap(), expected);
        assert_eq!(expected[2].paths().collect::<Vec<_>>(), ["c.py", "d.py"]);
    }

    #[test]
    fn empty_lines_outside_of_hunks_are_ignored() {
        let parsed =
            |body: &str| parse(&format!("*** Begin Patch\n{body}\n*** End Patch")).unwrap();
        let dense = "*** Update File: a\n*** Move to: b\n@@\n-x\n*** End of File";
        let spaced = "*** Update File: a\n\n*** Move to: b\n\n@@\n-x\n*** End of File\n";
        assert_eq!(parsed(spaced), parsed(dense));
    }

    #[test]
    fn an_incomplete_patch_is_refused() {
        for (patch, expected) in [
            ("", "must begin"),
            ("*** Begin Patch\n*** Delete File: a\n", "end with"),
            ("*** Begin Patch\n*** End Patch", "no section"),
            ("*** Begin Patch\nhello\n*** End Patch", "line 2"),
            (
                "*** Begin Patch\n*** Update File: a\n*** End Patch",
                "no hunk",
            ),
            (
                "*** Begin Patch\n*** Add File: a\nx\n*** End Patch",
                "line 3",
            ),
            (
                "*** Begin Patch\n*** Delete File: a\n-x\n*** End Patch",
                "line 3",
            ),
            (
                "*** Begin Patch\n*** Update File: a\n@@\nx\n*** End Patch",
                "line 4",
            ),
        ] {
            let error = parse(patch).unwrap_err();
            assert!(error.contains(expected), "{patch}: {error}");
        }
    }
}
