//! `[providers.<name>]`: the base URL of a model provider, extra headers and body fields, its API, and certificates.
//! Called when the team is read.
//!
//! The file comes with the project, so a base URL from the file is marked as the project's: the user's API keys are not
//! sent to this URL.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_team_protocol::spec::{BaseUrl, ProviderSpec, Wire};
use agent_team_providers::{PROVIDERS, Provider};

use super::open::read_text;
use super::overrides::{Key, Overrides, check_base_url};
use super::source::Source;
use super::table::{Table, suggest};
use super::unsupported::Level;

/// Headers that determine the target or the length of a request. The HTTP client sets them.
const CLIENT_HEADERS: [&str; 4] = ["connection", "content-length", "host", "transfer-encoding"];

/// Fields of a request's body that the client sets.
const CLIENT_FIELDS: [&str; 7] = [
    "model",
    "stream",
    "messages",
    "input",
    "system",
    "instructions",
    "tools",
];

/// The lines around a certificate in PEM.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The providers of a team, by name.
#[derive(Debug, Default)]
pub(super) struct Providers {
    pub(super) specs: BTreeMap<String, ProviderSpec>,
    /// The resolved files from which `ca` was read.
    pub(super) certificate_files: BTreeMap<String, PathBuf>,
}

/// Reads the providers of the file; base URLs in `overrides` take precedence.
pub(super) fn read(
    source: &Source<'_>,
    table: Option<Table<'_>>,
    project: &Path,
    overrides: &Overrides,
) -> Providers {
    let mut providers = BTreeMap::new();
    let mut certificate_files = BTreeMap::new();
    let tables = table.map(|table| table.named_tables(Level::Provider));
    for (name, mut table) in tables.unwrap_or_default() {
        let base_url = table.string("base_url").and_then(|found| {
            let checked = check_base_url(found.value);
            checked
                .map_err(|why| source.fault(found.at, format!("`base_url` {why}")))
                .ok()
        });
        let mut headers = table.string_map("headers", check_header);
        let extra_headers = table.string_map("extra_headers", check_header);
        if let Some(name) = extra_headers.keys().find(|it| headers.contains_key(*it)) {
            source.fault(
                table.position_of("extra_headers").unwrap_or(table.at),
                format!("`extra_headers`: {name} is also in `headers`, which is the same key"),
            );
        }
        headers.extend(extra_headers);
        let extra_body = table.object("extra_body").unwrap_or_default();
        if let Some(field) = CLIENT_FIELDS
            .iter()
            .find(|it| extra_body.contains_key(**it))
        {
            source.fault(
                table.position_of("extra_body").unwrap_or(table.at),
                format!("`extra_body` cannot set {field}: the client sets it"),
            );
        }
        let wire = table.word("wire", &Wire::NAMES).map(|found| found.value);
        let reasoning_content = table.boolean("reasoning_content").unwrap_or(false);
        let silence_seconds = table.count("silence_seconds");
        let ca = table.string("ca").and_then(|found| {
            let read = certificates(&project.join(found.value));
            read.map_err(|why| source.fault(found.at, format!("cannot read `ca`: {why}")))
                .ok()
        });
        let (ca_file, ca) = ca.unzip();
        table.finish();
        match Provider::named(name.value) {
            Some(provider) => {
                let base_url = base_url.map(BaseUrl::OfProject);
                let spec = ProviderSpec {
                    base_url,
                    headers,
                    extra_body,
                    wire,
                    reasoning_content,
                    silence_seconds,
                    ca,
                };
                providers.insert(provider.name.to_owned(), spec);
                if let Some(file) = ca_file {
                    certificate_files.insert(provider.name.to_owned(), file);
                }
            }
            None => {
                let known: Vec<_> = PROVIDERS.iter().map(|known| known.name).collect();
                let message = format!("there is no provider {:?}", name.value);
                source.fault_with_hint(name.at, message, suggest(name.value, &known));
            }
        }
    }
    for provider in PROVIDERS {
        if let Some(url) = overrides.get(&Key::BaseUrl(provider)) {
            let spec: &mut ProviderSpec = providers.entry(provider.name.to_owned()).or_default();
            spec.base_url = Some(BaseUrl::Own(url.to_owned()));
        }
    }
    Providers {
        specs: providers,
        certificate_files,
    }
}

/// Reads the certificates of a PEM file. Returns the resolved path and the certificates.
fn certificates(file: &Path) -> Result<(PathBuf, String), String> {
    let file = file.canonicalize().map_err(|error| error.to_string())?;
    let text = read_text(&file).map_err(|error| error.to_string())?;
    let found = certificates_in(&text);
    match found.is_empty() {
        true => Err("the file contains no certificate in PEM".to_owned()),
        false => Ok((file, found)),
    }
}

/// Returns only the certificates of a text. The project chooses the path, so the path may be that of a private key of
/// the user, and the specification of each agent contains the result.
fn certificates_in(text: &str) -> String {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/= \t\r\n".contains(c);
    let certificates = text.split(BEGIN).skip(1).filter_map(|rest| {
        let (base64, _) = rest.split_once(END)?;
        let is_certificate = base64.chars().all(is_base64);
        is_certificate.then(|| format!("{BEGIN}{base64}{END}\n"))
    });
    certificates.collect()
}

/// Checks a header when the file is read, so that an invalid header is reported before a member starts.
fn check_header(name: &str, value: &str) -> Result<(), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("{name:?} is not a valid header name"));
    }
    if CLIENT_HEADERS.contains(&name.to_lowercase().as_str()) {
        return Err(format!("cannot set header {name}: the HTTP client sets it"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("the value of {name} contains a control character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_of_a_file_are_kept() {
        let one = "-----BEGIN CERTIFICATE-----\nMIIB+/==\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        for (text, kept) in [
            (one.to_owned(), one.to_owned()),
            (format!("a note\n{one}{key}{one}"), one.repeat(2)),
            (key.to_owned(), String::new()),
            (format!("{BEGIN}\n{key}{one}"), one.to_owned()),
            (format!("{BEGIN}\n{key}{END}\n"), String::new()),
            (format!("{one}{BEGIN}\nMIIB"), one.to_owned()),
        ] {
            assert_eq!(certificates_in(&text), kept, "{text}");
        }
    }
}
