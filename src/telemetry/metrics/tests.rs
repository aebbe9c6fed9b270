//! What is counted comes out as it was, and how much a count costs.

use std::time::Duration;

use super::*;

fn ended(series: Series, status: Option<u16>, code: Option<Code>) -> Ended {
    let (first_byte, duration) = (Some(Duration::from_micros(700)), Duration::from_millis(30));
    Ended { series, status, code, is_complete: status.is_some(), received: 10, sent: 100, first_byte, duration }
}

fn text(metrics: &Metrics) -> String {
    let mut page = Page::default();
    metrics.write(&mut page);
    page.text().expect("every family has samples")
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|has| has == line), "no `{line}` in\n{text}");
}

#[test]
fn what_workers_count_is_added_up_and_labelled_by_names() {
    let metrics = Metrics::new(2);
    let route = metrics.route("POST /chat", false);
    let bots = metrics.bots([(1, "support"), (0, "sales")].into_iter());
    let series = Series { bot: bots.at(1), route, limit: None };
    metrics.count(0, &ended(series, Some(200), None));
    metrics.count(1, &ended(series, Some(200), None));
    metrics.count(1, &ended(Series { limit: Some("session"), ..series }, Some(429), Some(Code::RateLimited)));
    metrics.count(0, &ended(Series::default(), None, None));
    let text = text(&metrics);
    has(&text, r#"keystile_calls_total{bot="support",route="POST /chat",status="2xx",code=""} 2"#);
    has(&text, r#"keystile_calls_total{bot="support",route="POST /chat",status="4xx",code="rate_limited"} 1"#);
    has(&text, r#"keystile_calls_total{bot="",route="",status="left",code=""} 1"#);
    has(&text, r#"keystile_cut_calls_total{bot="",route=""} 1"#);
    has(&text, r#"keystile_sent_bytes_total{bot="support",route="POST /chat"} 300"#);
    has(&text, r#"keystile_faults_total{code="rate_limited",fault="client"} 1"#);
    has(&text, r#"keystile_limits_hit_total{limit="session"} 1"#);
    has(&text, r#"keystile_call_duration_seconds_bucket{route="POST /chat",le="0.025"} 0"#);
    has(&text, r#"keystile_call_duration_seconds_bucket{route="POST /chat",le="0.05"} 3"#);
    has(&text, r#"keystile_call_duration_seconds_sum{route="POST /chat"} 0.09"#);
    has(&text, r#"keystile_first_byte_seconds_bucket{route="POST /chat",le="0.001"} 3"#);
    has(&text, r#"keystile_first_byte_seconds_count{route="POST /chat"} 3"#);
}

#[test]
fn a_name_keeps_its_counts_when_the_configuration_names_it_anew() {
    let metrics = Metrics::new(1);
    let (route, earlier) = (metrics.route("POST /chat", false), metrics.bots([(0, "support")].into_iter()));
    let later = metrics.bots([(0, "sales"), (1, "support")].into_iter());
    assert_eq!((earlier.at(0), metrics.route("POST /chat", false)), (later.at(1), route));
    assert_ne!(later.at(0), later.at(1));
    assert_eq!(later.at(7), Bot::default(), "a number that nobody has is no bot's");
}

#[test]
fn what_was_done_is_counted_of_bots_that_are_known() {
    let metrics = Metrics::new(1);
    let _bots = metrics.bots([(0, "support")].into_iter());
    metrics.done(Deed::Opened, Some("support"));
    metrics.done(Deed::Renewed, Some("support"));
    metrics.done(Deed::Ended("contact"), None);
    metrics.done(Deed::Ended("session"), Some("of an earlier configuration"));
    let text = text(&metrics);
    has(&text, r#"keystile_mints_total{bot="support",result="opened"} 1"#);
    has(&text, r#"keystile_renewals_total{bot="support"} 1"#);
    has(&text, r#"keystile_ends_total{bot="",scope="contact"} 1"#);
    has(&text, r#"keystile_ends_total{bot="",scope="session"} 1"#);
    assert!(!text.contains("earlier"), "{text}");
}

#[test]
fn labels_of_metrics_are_unique_names_with_a_unit() {
    for (at, metric) in METRICS.iter().enumerate() {
        assert!(METRICS[..at].iter().all(|other| other.name != metric.name), "{}", metric.name);
        assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        assert!(metric.name.starts_with("keystile_") || metric.name.starts_with("process_"), "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.help);
    }
}
