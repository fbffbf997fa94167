//! Host names in URLs and in rules. Called by the rules, the judge, the offers, and the code that shows calls.

use agent_team_protocol::request::summary;
use serde_json::Value;

use super::pattern::{Fault, Reach};

/// `example.com`, or `*.example.com` for its subdomains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DomainPattern {
    domain: String,
    subdomains_only: bool,
}

impl DomainPattern {
    /// Parses the text after `domain:`; `at` is its byte offset in the specifier.
    pub(crate) fn parse(text: &str, at: usize) -> Result<Self, Fault> {
        let (domain, subdomains_only) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        if domain.contains("://") || domain.contains('/') {
            return Err(Fault::new(
                at,
                "a URL is not a host name",
                "`domain:example.com`",
            ));
        }
        if !domain.is_ascii() {
            let instead = match to_ascii(domain) {
                Some(ascii) => format!("`domain:{ascii}`"),
                None => "the form that begins with `xn--`".to_owned(),
            };
            return Err(Fault::new(
                at,
                "hosts are compared in their ASCII form",
                instead,
            ));
        }
        match normal(domain) {
            Some(domain) => Ok(Self {
                domain,
                subdomains_only,
            }),
            None => Err(Fault::new(
                at,
                "invalid host name",
                "`domain:example.com`, or `domain:*.example.com` for its subdomains",
            )),
        }
    }

    /// Whether the pattern matches the host. With [`Reach::Wide`] (deny and ask rules), a pattern for a host also
    /// matches its subdomains.
    pub(crate) fn matches(&self, host: &str, reach: Reach) -> bool {
        let below = host
            .strip_suffix(&self.domain)
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
        match reach {
            Reach::Narrow | Reach::Wide if self.subdomains_only => below,
            Reach::Narrow => host == self.domain,
            Reach::Wide => below || host == self.domain,
        }
    }

    /// Whether a URL could name this host although [`host_of`] cannot read its host. HTTP clients decode `%67`, drop
    /// line breaks and map letters of other scripts, so a URL with such characters can name any host.
    pub(crate) fn may_be_named_in(&self, address: &str) -> bool {
        let may_be_changed = |c: char| c == '%' || c == '\\' || c <= ' ' || !c.is_ascii();
        address.contains(may_be_changed) || address.to_ascii_lowercase().contains(&self.domain)
    }
}

/// The host of a URL, if every program parses it the same way. Allow rules compare only this form.
pub(crate) fn host_of(address: &str) -> Option<String> {
    normal(written_host(address)?)
}

/// The ASCII form (`xn--…`) of a URL's host, if the host contains non-ASCII characters. Programs disagree on some of
/// these names, so only deny and ask rules compare this form.
pub(crate) fn ascii_host(address: &str) -> Option<String> {
    let host = written_host(address).filter(|host| !host.is_ascii())?;
    normal(&to_ascii(host)?)
}

/// A call of a tool on one line, for the user. If the host of the URL has non-ASCII letters, appends the host in
/// punycode: letters of other scripts can look like ASCII letters.
pub fn call_line(tool: &str, arguments: &Value) -> String {
    let mut line = summary(tool, arguments);
    if let Some(host) = arguments["url"].as_str().and_then(ascii_host) {
        line.push_str(&format!(" (host {host})"));
    }
    line
}

fn written_host(address: &str) -> Option<&str> {
    let lower = address.get(..8).unwrap_or(address).to_ascii_lowercase();
    let rest = if lower.starts_with("https://") {
        &address[8..]
    } else if lower.starts_with("http://") {
        &address[7..]
    } else {
        return None;
    };
    if address
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => (authority, ""),
    };
    // Split at the last colon. An IPv6 address, which is in brackets, is not accepted: `normal` refuses the brackets.
    let is_digits = port.bytes().all(|b| b.is_ascii_digit());
    let is_port = port.is_empty() || port.parse::<u16>().is_ok();
    (is_digits && is_port).then_some(host)
}

/// Uses the mapping of the `url` crate, so that the judged host is also the host that is contacted.
fn to_ascii(host: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii_cow(host.as_bytes(), idna::AsciiDenyList::URL).ok()?;
    Some(ascii.into_owned())
}

/// The host in lower case and without the final dot; `None` if it is not a valid host name.
fn normal(host: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (host.len() <= 253 && host.split('.').all(is_label)).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::call_line;

    #[test]
    fn non_ascii_hosts_are_shown_in_punycode_too() {
        let url = |url: &str| call_line("fetch", &json!({ "url": url }));
        assert_eq!(
            // The second letter is Cyrillic.
            url("https://g\u{456}thub.com/xn--gthub-n2e.com"),
            "fetch: https://g\u{456}thub.com/xn--gthub-n2e.com (host xn--gthub-n2e.com)"
        );
        assert_eq!(url("https://GitHub.com/a"), "fetch: https://GitHub.com/a");
    }
}
