//! The standard variables `OTEL_*`. Pure: the parameter `variable` returns the value of a variable.
//!
//! Nothing is exported unless a variable names an endpoint: the default endpoint of the standard would send data of
//! each team to any program that listens on its port.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use reqwest::Url;

/// A variable whose value cannot be used. Never contains the value: headers are secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct InvalidVariable {
    variable: String,
    problem: &'static str,
    hint: Option<&'static str>,
}

impl InvalidVariable {
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

/// The exported signals and their endpoints.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    pub(super) traces: Signal,
    pub(super) metrics: Signal,
    /// The attributes of the resource, with `service.name`.
    pub(super) resource: BTreeMap<String, String>,
    /// The time between two exports of spans.
    pub(super) span_delay: Duration,
    pub(super) metric_interval: Duration,
}

/// The destination of one signal.
#[derive(Debug, Clone)]
pub(super) struct Signal {
    /// `None`: the signal is not exported.
    pub(super) url: Option<Url>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Duration,
}

impl Signal {
    pub(super) fn is_enabled(&self) -> bool {
        self.url.is_some()
    }
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

impl TelemetrySettings {
    /// `None`: no variable names an endpoint, or the export is disabled.
    ///
    /// # Errors
    /// A value cannot be parsed, or names something that is not supported.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, InvalidVariable> {
        // By the standard, an empty value counts as an unset variable.
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is_disabled =
            get("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let traces = signal(&get, "TRACES", "v1/traces")?;
        let metrics = signal(&get, "METRICS", "v1/metrics")?;
        if is_disabled || (traces.url.is_none() && metrics.url.is_none()) {
            return Ok(None);
        }
        let mut resource = BTreeMap::new();
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        for (key, value) in pairs(name, &get(name).unwrap_or_default())? {
            resource.insert(key, value);
        }
        let service = get("OTEL_SERVICE_NAME").or_else(|| resource.remove("service.name"));
        let service = service.unwrap_or_else(|| "agent-team".to_owned());
        resource.insert("service.name".to_owned(), service);
        Ok(Some(Self {
            traces,
            metrics,
            resource,
            span_delay: milliseconds(&get, "OTEL_BSP_SCHEDULE_DELAY", 5_000)?,
            metric_interval: milliseconds(&get, "OTEL_METRIC_EXPORT_INTERVAL", 60_000)?,
        }))
    }
}

fn invalid(variable: &str, problem: &'static str) -> InvalidVariable {
    InvalidVariable {
        variable: variable.to_owned(),
        problem,
        hint: None,
    }
}

/// The settings of a signal. A variable of the signal has precedence over the general variable.
fn signal(
    get: &impl Fn(&str) -> Option<String>,
    name: &str,
    path: &str,
) -> Result<Signal, InvalidVariable> {
    let either = |end: &str| {
        let own = format!("OTEL_EXPORTER_OTLP_{name}_{end}");
        match get(&own) {
            Some(value) => (own, Some(value)),
            None => {
                let general = format!("OTEL_EXPORTER_OTLP_{end}");
                let value = get(&general);
                (general, value)
            }
        }
    };
    let exporter = format!("OTEL_{name}_EXPORTER");
    let is_chosen = match get(&exporter).as_deref().map(str::trim) {
        None | Some("otlp") => true,
        Some("none") => false,
        Some(_) => return Err(invalid(&exporter, "is neither otlp nor none")),
    };
    let own = format!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT");
    let url = match (get(&own), get(ENDPOINT)) {
        (Some(value), _) => Some(url(&own, &value)?),
        (None, Some(value)) => Some(url(
            ENDPOINT,
            &format!("{}/{path}", value.trim().trim_end_matches('/')),
        )?),
        (None, None) => None,
    };
    let url = url.filter(|_| is_chosen);
    let (protocol, value) = either("PROTOCOL");
    // Collectors accept both encodings of HTTP on the same path.
    if url.is_some() && !matches!(value.as_deref(), None | Some("http/json" | "http/protobuf")) {
        return Err(InvalidVariable {
            hint: Some(
                "set it to http/json, and the endpoint to the HTTP port of the collector, such as http://127.0.0.1:4318",
            ),
            ..invalid(&protocol, "names a protocol that is not supported")
        });
    }
    let (variable, value) = either("HEADERS");
    let mut headers = Vec::new();
    for (key, value) in pairs(&variable, &value.unwrap_or_default())? {
        let key = HeaderName::try_from(key);
        let value = HeaderValue::try_from(value);
        let (Ok(key), Ok(mut value)) = (key, value) else {
            return Err(invalid(&variable, "contains an invalid header"));
        };
        value.set_sensitive(true);
        headers.push((key, value));
    }
    let (variable, value) = either("TIMEOUT");
    Ok(Signal {
        url,
        headers,
        timeout: duration(&variable, value, 10_000)?,
    })
}

fn url(variable: &str, value: &str) -> Result<Url, InvalidVariable> {
    let url = Url::parse(value.trim()).ok();
    url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
        .ok_or_else(|| invalid(variable, "is not an http:// or https:// URL"))
}

/// Parses `a=1,b=2` with percent-encoded values.
fn pairs(variable: &str, text: &str) -> Result<Vec<(String, String)>, InvalidVariable> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then(|| Some((key.to_owned(), decoded(value.trim())?)))?
    };
    let pairs: Option<Vec<_>> = parts.map(pair).collect();
    pairs.ok_or_else(|| invalid(variable, "is not a list such as key=value,key=value"))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(*high)? * 16 + digit(*low)?;
                bytes.push(u8::try_from(value).ok()?);
                rest = after;
            }
            (b'%', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

fn milliseconds(
    get: &impl Fn(&str) -> Option<String>,
    name: &str,
    default: u64,
) -> Result<Duration, InvalidVariable> {
    duration(name, get(name), default)
}

fn duration(
    variable: &str,
    value: Option<String>,
    default: u64,
) -> Result<Duration, InvalidVariable> {
    let milliseconds = match value {
        None => default,
        Some(value) => {
            let number = value.trim().parse::<u64>().ok();
            let number = number.filter(|number| (1..=86_400_000).contains(number));
            number.ok_or_else(|| invalid(variable, "is not a number of milliseconds"))?
        }
    };
    Ok(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TelemetrySettings>, InvalidVariable> {
        TelemetrySettings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn url_of(signal: &Signal) -> &str {
        signal.url.as_ref().map_or("", Url::as_str)
    }

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[(ENDPOINT, " ")]).unwrap().is_none());
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "a=b");
        assert!(read(&[headers]).unwrap().is_none());
        let endpoint = (ENDPOINT, "http://collector:4318");
        assert!(
            read(&[endpoint, ("OTEL_SDK_DISABLED", "True")])
                .unwrap()
                .is_none()
        );
        let none = [
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ];
        assert!(read(&[endpoint, none[0], none[1]]).unwrap().is_none());
    }

    #[test]
    fn the_variables_of_a_signal_have_precedence() {
        let settings = read(&[
            (ENDPOINT, "http://collector:4318/otlp/"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://other/m"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Basic%20abc, x-a = 1",
            ),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-b=2"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,team=a%2Cb"),
            ("OTEL_SERVICE_NAME", "mine"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(
            url_of(&settings.traces),
            "http://collector:4318/otlp/v1/traces"
        );
        assert_eq!(url_of(&settings.metrics), "https://other/m");
        assert_eq!(settings.traces.headers.len(), 1);
        assert_eq!(settings.metrics.headers[0].1, "Basic abc");
        assert_eq!(settings.resource["service.name"], "mine");
        assert_eq!(settings.resource["team"], "a,b");
        assert_eq!(settings.traces.timeout, Duration::from_millis(250));
    }

    #[test]
    fn errors_name_the_variable_and_not_its_value() {
        for (name, value) in [
            (ENDPOINT, "collector:4318"),
            (ENDPOINT, "file:///etc/passwd"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_EXPORTER", "jaeger"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
        ] {
            let error = read(&[(ENDPOINT, "http://collector"), (name, value)]);
            let error = match name {
                ENDPOINT => read(&[(name, value)]),
                _ => error,
            };
            let error = error.expect_err(name).to_string();
            assert!(error.starts_with(name) && !error.contains(value), "{error}");
        }
    }
}
