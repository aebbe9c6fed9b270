//! What Prometheus reads, as it reads it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::gateway::TestGateway;

pub(super) type Labels = BTreeMap<String, String>;

/// One text of metrics.
pub(super) struct Scrape {
    pub(super) text: String,
    pub(super) samples: Vec<(String, Labels, f64)>,
}

impl Scrape {
    fn of(text: String) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
        Self { text, samples }
    }

    fn found<'s>(&'s self, name: &'s str, labels: &'s [(&str, &str)]) -> impl Iterator<Item = f64> + 's {
        let has = |all: &Labels| labels.iter().all(|(label, value)| all.get(*label).is_some_and(|has| has == value));
        self.samples.iter().filter(move |(of, all, _)| of == name && has(all)).map(|(_, _, value)| *value)
    }

    /// All samples of `name` with these labels, added up.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.found(name, labels).sum()
    }

    /// The one sample of `name` with these labels; 0 while there is none.
    pub(super) fn only(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        assert!(self.found(name, labels).count() <= 1, "{name} {labels:?} in\n{}", self.text);
        self.sum(name, labels)
    }

    /// All samples of `name`, in the order of their labels.
    pub(super) fn all(&self, name: &str) -> BTreeMap<Labels, u64> {
        let of_name = self.samples.iter().filter(|(of, _, _)| of == name);
        of_name.map(|(_, labels, value)| (labels.clone(), format!("{value}").parse().unwrap())).collect()
    }
}

fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("labels end")),
        None => (series, ""),
    };
    // No name in these tests has a quotation mark.
    let mut parts = labels.split('"');
    let mut all = Labels::new();
    while let (Some(label), Some(value)) = (parts.next(), parts.next()) {
        all.insert(label.trim_matches([',', '=']).to_owned(), value.to_owned());
    }
    (name.to_owned(), all, value.parse().expect("a value is a number"))
}

/// What the admin listener says now.
pub(super) async fn scrape(gateway: &TestGateway) -> Scrape {
    let url = format!("{}/metrics", gateway.admin.as_deref().unwrap());
    let answer = gateway.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    Scrape::of(answer.text().await.unwrap())
}

/// What there is once something `is_so`, for ten seconds at most: a call is counted when the gateway has done with it,
/// which may be after its client has. Read once more then, since one text is not of one moment: a call that ended while it
/// was written is in some of its numbers.
pub(super) async fn until(gateway: &TestGateway, is_so: impl Fn(&Scrape) -> bool) -> Scrape {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = scrape(gateway).await;
        if is_so(&metrics) {
            return scrape(gateway).await;
        }
        assert!(Instant::now() < end, "it did not become so:\n{}", metrics.text);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The calls that are in access records, labelled as the metrics label them.
pub(super) fn of_records(records: &[Value]) -> BTreeMap<Labels, u64> {
    let mut all = BTreeMap::new();
    for record in records {
        let text = |name: &str| record[name].as_str().filter(|text| *text != "-").unwrap_or_default().to_owned();
        let status = format!("{}xx", record["status"].as_u64().unwrap() / 100);
        let labels = [("bot", text("bot")), ("route", text("route")), ("status", status), ("code", text("code"))];
        let labels: Labels = labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect();
        *all.entry(labels).or_default() += 1;
    }
    all
}

/// Prometheus's own check of a text of metrics.
pub(super) fn promtool(text: &str) {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/target/promtool/usr/bin/promtool");
    let program = if std::path::Path::new(program).exists() { program } else { "promtool" };
    let checking = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut checking = checking.expect("promtool is there; tests/run installs it");
    checking.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = checking.wait_with_output().unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
}
