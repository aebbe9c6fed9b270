//! The `[traces]` section of the configuration.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::super::tls::Trust;
use super::super::{Timeouts, Upstream, settings};
use super::Collector;
use crate::document::{Environment, Table, Value};
use crate::net::{BaseUrl, is_loopback};
use crate::secret::Secret;
use crate::telemetry::traces::{self, Sample};

/// What the collector knows the gateway as, unless the configuration says otherwise.
const SERVICE: &str = "keystile";

/// Where traces go, and which.
#[derive(Debug)]
pub struct Settings {
    /// Nothing: nobody wants any.
    pub(super) collector: Option<Collector>,
    pub(super) traces: traces::Settings,
}

impl Settings {
    /// Reads the section; what is wrong is noted.
    pub fn read(table: &Table<'_>, environment: &Environment) -> Self {
        let endpoint = table.get("endpoint");
        let insecure = table.flag("insecure", false);
        let trust = Trust::read(table, environment);
        let headers = table.get("headers").and_then(|value| headers(&value, environment)).unwrap_or_default();
        let sample = table.get("sample").and_then(|value| Sample::read(&value)).unwrap_or_default();
        let service = table.get("service_name").and_then(|value| service(&value));
        let traces = traces::Settings { sample, service: service.unwrap_or_else(|| SERVICE.to_owned()) };
        let upstream = endpoint.zip(trust).and_then(|(value, trust)| upstream(&value, insecure, trust));
        Self { collector: upstream.map(|upstream| Collector { upstream, headers }), traces }
    }
}

fn upstream(value: &Value<'_>, insecure: bool, trust: Trust) -> Option<Upstream> {
    let text = value.text()?;
    let url = BaseUrl::parse(text).map_err(|why| value.problem(why.told(text, "`headers`"))).ok()?;
    if !url.is_https() && !insecure && !is_loopback(url.host()) {
        value.problem(
            "traces would travel in clear text; write https://, or `insecure = true` if the network between is yours",
        );
        return None;
    }
    if url.path().trim_end_matches('/').ends_with("/v1/traces") {
        value.problem("must be without /v1/traces, which is put behind it");
        return None;
    }
    let time = Duration::from_secs(5);
    let timeouts = Timeouts { connect: time, header: time, idle: time };
    Upstream::read(value, &url, settings::Settings { insecure, timeouts, trust, proxy: None, max_connections: None })
}

fn service(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let is_fit = !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control);
    if !is_fit {
        value.problem("must be a name of 1 to 128 bytes");
    }
    is_fit.then(|| text.to_owned())
}

/// What is said to the collector besides: secrets, as it has to know who brings spans.
fn headers(value: &Value<'_>, environment: &Environment) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in value.table()?.named() {
        let Ok(name) = HeaderName::try_from(name) else {
            value.problem("is no name of a header");
            continue;
        };
        if is_ours(&name) {
            value.problem("is a header that the gateway writes itself");
            continue;
        }
        let Some(secret) = Secret::read(&value, environment) else { continue };
        match HeaderValue::try_from(secret.expose()) {
            Ok(mut secret) => {
                secret.set_sensitive(true);
                headers.insert(name, secret);
            }
            Err(_error) => value.problem("the secret is nothing that a header could carry"),
        }
    }
    Some(headers)
}

fn is_ours(name: &HeaderName) -> bool {
    [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TE,
        header::EXPECT,
        header::USER_AGENT,
    ]
    .contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Problems};

    const SECRET: &str = "Bearer 0123456789abcdef";

    fn read(text: &str) -> (Settings, Vec<String>) {
        let problems = Problems::default();
        let document = Document::parse("test.toml", text, &problems).expect("TOML");
        let environment = Environment::given("/etc/keystile", [("AUTH", SECRET)]);
        let settings = Settings::read(&document.root(&problems), &environment);
        (settings, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn without_an_endpoint_nobody_wants_traces() {
        for text in ["", "sample = \"100%\""] {
            let (settings, problems) = read(text);
            assert!(settings.collector.is_none() && problems.is_empty(), "{problems:?}");
        }
    }

    #[test]
    fn a_collector_is_told_secrets_that_nobody_else_is() {
        let (settings, problems) = read(
            "endpoint = \"http://127.0.0.1:4318/otlp/\"\nsample = \"50%\"\nservice_name = \"chat\"\n\
             headers = { authorization = { env = \"AUTH\" } }",
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert!(!format!("{settings:?}").contains(SECRET), "{settings:?}");
        let (collector, settings) = (settings.collector.unwrap(), settings.traces);
        let request = collector.request(bytes::Bytes::new());
        assert_eq!(
            (request.uri().path(), &request.headers()["authorization"]),
            ("/otlp/v1/traces", &SECRET.parse().unwrap())
        );
        assert_eq!(settings.service, "chat");
    }

    #[test]
    fn what_is_wrong_with_it_is_said() {
        for (text, why) in [
            ("endpoint = \"http://otel.example.com:4318\"", "traces would travel in clear text"),
            ("endpoint = \"https://169.254.169.254\"", "link-local"),
            ("endpoint = \"http://127.0.0.1:4318/v1/traces\"", "without /v1/traces"),
            ("endpoint = \"127.0.0.1:4318\"", "must be a URL"),
            ("sample = \"2\"", "a share such as"),
            ("service_name = \"\"", "must be a name"),
            ("headers = { authorization = \"secret\" }", "a secret is never written here"),
            ("headers = { host = { env = \"AUTH\" } }", "writes itself"),
            ("ca = \"nowhere.pem\"", "nowhere.pem"),
        ] {
            let (settings, problems) = read(text);
            assert!(settings.collector.is_none());
            assert!(problems.len() == 1 && problems[0].contains(why), "{text}: {problems:?}");
        }
        let (settings, problems) = read("endpoint = \"http://otel.example.com:4318\"\ninsecure = true");
        assert!(settings.collector.is_some() && problems.is_empty(), "{problems:?}");
    }
}
