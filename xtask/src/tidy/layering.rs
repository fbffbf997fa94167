//! Rules about dependencies between crates, checked in the manifests and in the linked graph.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::Manifest;
use super::tree::{Finding, Severity};

/// A crate that must not depend on some other crates, directly or through a crate of this workspace.
struct Edge {
    from: &'static str,
    never: Never,
    why: &'static str,
}

enum Never {
    /// All crates of this workspace except these.
    OursBut(&'static [&'static str]),
    These(&'static [&'static str]),
}

const EDGES: &[Edge] = &[
    Edge {
        from: "agent-team-core",
        never: Never::OursBut(&["agent-team-protocol"]),
        why: "the core is a pure state machine that uses only ids and values",
    },
    Edge {
        from: "agent-team-core",
        never: Never::These(&["tokio", "rusqlite", "nix", "rustix", "libc", "mio"]),
        why: "the core has no clock, no I/O and no async",
    },
    Edge {
        from: "agent-team-protocol",
        never: Never::OursBut(&[]),
        why: "programs outside this workspace use it",
    },
    Edge {
        from: "agent-team-terminal-ui",
        never: Never::OursBut(&["agent-team-protocol"]),
        why: "the terminal UI is a pure state machine that two programs use",
    },
    Edge {
        from: "agent-team-terminal-ui",
        never: Never::These(&["tokio", "nix", "rustix", "libc", "mio"]),
        why: "the terminal UI reads no terminal, clock or file",
    },
    Edge {
        from: "agent-team-client",
        never: Never::OursBut(&["agent-team-protocol", "agent-team-system"]),
        why: "every client of the supervisor links it",
    },
    Edge {
        from: "agent-team-llm",
        never: Never::OursBut(&[
            "agent-team-protocol",
            "agent-team-providers",
            "agent-team-system",
            "agent-team-fuzz",
        ]),
        why: "model clients depend on no team, agent loop or tool",
    },
    Edge {
        from: "agent-team-tools",
        never: Never::OursBut(&[
            "agent-team-llm",
            "agent-team-policy",
            "agent-team-protocol",
            "agent-team-providers",
            "agent-team-system",
        ]),
        why: "tools depend on no agent loop, connection or terminal",
    },
    Edge {
        from: "agent-team-providers",
        never: Never::OursBut(&["agent-team-protocol"]),
        why: "the supervisor and the team file read the table of providers, too",
    },
    Edge {
        from: "agent-team-file",
        never: Never::OursBut(&[
            "agent-team-protocol",
            "agent-team-policy",
            "agent-team-providers",
            "agent-team-system",
        ]),
        why: "reading a team file does not access a team",
    },
    Edge {
        from: "agent-team",
        never: Never::These(&["agent-team-cli", "agent-team-gateway"]),
        why: "an embedding program links no command line",
    },
    Edge {
        from: "agent-team-policy",
        never: Never::These(&["tokio"]),
        why: "permission rules are pure functions",
    },
    Edge {
        from: "agent-team-supervisor",
        never: Never::These(&["agent-team-teammate", "agent-team-gateway", "agent-team"]),
        why: "a fault in a tool or provider must not crash the supervisor",
    },
    Edge {
        from: "agent-team-gateway",
        never: Never::These(&[
            "agent-team",
            "agent-team-supervisor",
            "agent-team-core",
            "agent-team-store",
        ]),
        why: "a gateway is a client of the supervisor",
    },
    Edge {
        from: "agent-team-cli",
        never: Never::These(&[
            "agent-team",
            "agent-team-supervisor",
            "agent-team-core",
            "agent-team-store",
        ]),
        why: "the command line is a client of the supervisor",
    },
    Edge {
        from: "agent-team-teammate",
        never: Never::These(&["agent-team-supervisor", "agent-team-store", "agent-team"]),
        why: "the supervisor is the only writer",
    },
];

/// A package that must not link some crates, directly or indirectly.
pub(super) struct Link {
    pub(super) package: &'static str,
    never: &'static [&'static str],
    why: &'static str,
}

pub(super) const LINKS: &[Link] = &[Link {
    package: "agent-team-supervisor",
    never: &[
        "agent-client-protocol",
        "aws-lc-rs",
        "axum",
        "genai",
        "h2",
        "hyper",
        "native-tls",
        "openssl",
        "reqwest",
        "ring",
        "rmcp",
        "rustls",
        "tower-http",
        "ureq",
    ],
    why: "the supervisor links no model, TLS or web code",
}];

pub(super) fn edges(manifests: &[Manifest<'_>]) -> Vec<Finding> {
    let needs: BTreeMap<&str, &BTreeSet<String>> = manifests
        .iter()
        .map(|manifest| (manifest.name.as_str(), &manifest.needs))
        .collect();
    let mut findings = Vec::new();
    for edge in EDGES {
        for manifest in manifests
            .iter()
            .filter(|manifest| manifest.name == edge.from)
        {
            for direct in manifest.needs.union(&manifest.tests_need) {
                for reached in reach(direct, &needs) {
                    let forbidden = match edge.never {
                        Never::OursBut(but) => {
                            needs.contains_key(reached) && !but.contains(&reached)
                        }
                        Never::These(these) => these.contains(&reached),
                    };
                    if forbidden {
                        let through = if reached == direct {
                            String::new()
                        } else {
                            format!(" through {direct}")
                        };
                        let sentence =
                            format!("{} depends on {reached}{through}: {}", edge.from, edge.why);
                        findings.push(
                            manifest
                                .file
                                .finding(line_of(&manifest.file.text, direct), sentence),
                        );
                    }
                }
            }
        }
    }
    findings
}

/// A package and its direct and indirect dependencies, as far as the manifests of this workspace list them.
fn reach<'a>(from: &'a str, needs: &BTreeMap<&'a str, &'a BTreeSet<String>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut pending = vec![from];
    while let Some(package) = pending.pop() {
        if reached.insert(package) {
            pending.extend(
                needs
                    .get(package)
                    .into_iter()
                    .flat_map(|needs| needs.iter().map(String::as_str)),
            );
        }
    }
    reached
}

/// The line that starts with this key, or the first line.
fn line_of(text: &str, key: &str) -> usize {
    text.lines()
        .position(|line| line.starts_with(key))
        .map_or(1, |index| index + 1)
}

/// Finds the forbidden packages in `listed`, the output of `cargo tree`: a package and its version on each line.
pub(super) fn links(link: &Link, listed: &str) -> Vec<Finding> {
    let linked: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    link.never
        .iter()
        .filter(|package| linked.contains(*package))
        .map(|package| Finding {
            path: "Cargo.lock".to_owned(),
            line: 1,
            sentence: format!("{} links {package}: {}", link.package, link.why),
            severity: Severity::Error,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::manifest::manifests;
    use crate::tidy::tree::Tree;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn package(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{LINTS}{rest}")
    }

    /// The findings about a workspace of these packages.
    fn findings(packages: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(String, String)> = packages
            .iter()
            .map(|(name, rest)| (format!("crates/{name}/Cargo.toml"), package(name, rest)))
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        let tree = Tree::of(&files);
        edges(&manifests(&tree).unwrap())
            .into_iter()
            .map(|finding| finding.sentence)
            .collect()
    }

    #[test]
    fn forbidden_dependencies_are_found() {
        for edge in EDGES {
            let never: &[&str] = match edge.never {
                Never::OursBut(_) => &["agent-team-store"],
                Never::These(these) => these,
            };
            for to in never {
                for kind in [
                    "dependencies",
                    "dev-dependencies",
                    "build-dependencies",
                    "target.'cfg(unix)'.dependencies",
                ] {
                    let found = findings(&[
                        (edge.from, &format!("[{kind}]\n{to} = \"1\"\n")),
                        ("agent-team-store", ""),
                    ]);
                    assert!(
                        found.iter().any(|text| text.contains(edge.why)),
                        "{} {kind} {to}",
                        edge.from
                    );
                }
            }
        }
    }

    #[test]
    fn indirect_dependencies_are_found() {
        let found = findings(&[
            (
                "agent-team-cli",
                "[dependencies]\nagent-team-file = \"1\"\n",
            ),
            (
                "agent-team-file",
                "[dependencies]\nagent-team-supervisor = \"1\"\n",
            ),
        ]);
        assert!(
            found.iter().any(|text| text
                .starts_with("agent-team-cli depends on agent-team-supervisor")
                && text.contains("through agent-team-file")),
            "{found:?}"
        );
    }

    #[test]
    fn designed_dependencies_are_allowed() {
        let found = findings(&[
            ("agent-team-protocol", "[dependencies]\nserde = \"1\"\n"),
            (
                "agent-team-core",
                "[dependencies]\nagent-team-protocol = \"1\"\n",
            ),
            (
                "agent-team-store",
                "[dependencies]\nagent-team-core = \"1\"\nrusqlite = \"1\"\n",
            ),
            (
                "agent-team-supervisor",
                "[dependencies]\nagent-team-store = \"1\"\ntokio = \"1\"\n",
            ),
            (
                "agent-team-cli",
                "[dependencies]\nagent-team-protocol = \"1\"\n",
            ),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn linked_web_crates_are_found_by_exact_name() {
        assert_eq!(
            links(
                &LINKS[0],
                "agent-team-supervisor v0.1.0 (crates/supervisor)\nrustls v0.23.0\n"
            )
            .len(),
            1
        );
        assert_eq!(
            links(
                &LINKS[0],
                "agent-team-supervisor v0.1.0\nrustls-pki-types v1.0.0\n"
            ),
            []
        );
    }
}
