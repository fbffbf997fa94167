//! A fuzz target: no frame from the socket causes a panic, and decoding is consistent with encoding.

use agent_team_fuzz::{Target, bytes, input, must};
use prost::Message;

use super::super::app::listed;
use super::super::survey::Tag;
use super::*;

const TARGET: Target = Target {
    name: "iterm",
    property: frame,
    seeds: || {
        let summary = |id: &str| Summary {
            unique_identifier: Some(id.to_owned()),
            grid_size: Some(Size {
                width: Some(80),
                height: Some(-1),
            }),
        };
        let leaf = |id| Link {
            child: Some(Child::Session(summary(id))),
        };
        let deep = (0..60).fold(
            Node {
                links: vec![leaf("a")],
            },
            |node, _| Node {
                links: vec![
                    Link {
                        child: Some(Child::Node(node)),
                    },
                    leaf("b"),
                ],
            },
        );
        let sessions = Sessions {
            windows: vec![Window {
                tabs: vec![Tab {
                    root: Some(deep),
                    tab_id: Some("t".to_owned()),
                    minimized: vec![summary("c")],
                }],
                window_id: Some("w".to_owned()),
            }],
            buried: vec![summary("d")],
        };
        let variables = Variables {
            values: vec!["\"demo ada l-1 1 2\"".to_owned()],
            ..Variables::default()
        };
        let answers = [
            None,
            Some(Answer::Error("no".to_owned())),
            Some(Answer::Sessions(sessions)),
            Some(Answer::Variables(variables)),
        ];
        let frames = answers
            .into_iter()
            .enumerate()
            .map(|(id, answer)| Response {
                id: i64::try_from(id).ok(),
                answer,
            });
        frames
            .map(|frame| input(&frame.encode_to_vec()))
            .chain(["demo ada l-1 1 2".to_owned()])
            .collect()
    },
    tokens: &[
        "\0",
        "\u{1}",
        "\u{8}",
        "\n",
        "\u{12}",
        "\u{1a}",
        "\u{7f}",
        "\u{80}",
        "\u{ff}",
        "\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{1}",
        "a",
        " ",
        "18446744073709551616",
    ],
    regressions: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions"),
};

#[test]
fn fuzz_iterm() {
    TARGET.repeat_regressions();
    TARGET.check_seeds();
    TARGET.fuzz();
}

fn frame(text: &str) -> Result<(), String> {
    if let Some(tag) = Tag::parse(text) {
        must(
            tag.to_string().split(' ').count() == 5,
            "a tag has the wrong number of words",
        )?;
        must(
            Tag::parse(&tag.to_string()) == Some(tag),
            "a tag does not round-trip",
        )?;
    }
    let Ok(response) = Response::decode(bytes(text).as_slice()) else {
        return Ok(());
    };
    let again = Response::decode(response.encode_to_vec().as_slice());
    must(
        again.as_ref() == Ok(&response),
        "a frame does not round-trip",
    )?;
    if let Some(Answer::Sessions(sessions)) = response.answer {
        let buried = sessions.buried.len();
        let sessions = listed(sessions);
        let hidden = sessions
            .iter()
            .filter(|it| it.window.is_none() && it.hidden);
        must(hidden.count() >= buried, "a buried session is missing")?;
    }
    Ok(())
}
