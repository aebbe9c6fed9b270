//! What is read of the counts, as one text.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as Wire, LabelPair, Metric as Sample, MetricFamily, MetricType,
};
use prometheus::{TEXT_FORMAT, TextEncoder};

use super::catalog::{Kind, Metric};
use super::shard::{BOUNDS, Histogram};

/// Microseconds in a second.
const MICROS: f64 = 1e6;

/// A text of metrics in the making.
#[derive(Debug, Default)]
pub struct Page(Vec<MetricFamily>);

/// A number that is a sample: all of ours are whole, but for times.
pub trait Number {
    /// It, as Prometheus has numbers.
    fn number(self) -> f64;
}

impl Number for u64 {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        u64::try_from(self).unwrap_or(u64::MAX).number()
    }
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl Page {
    /// The media type of the text.
    pub const MEDIA_TYPE: &str = TEXT_FORMAT;

    /// A metric without labels.
    pub fn one(&mut self, metric: &Metric, value: impl Number) {
        self.each(metric, std::iter::once(([], value)));
    }

    /// A metric with a sample for each of these values of its labels. Without any it is left out.
    pub fn each<'v, const N: usize, V: Number>(
        &mut self,
        metric: &Metric,
        samples: impl Iterator<Item = ([&'v str; N], V)>,
    ) {
        let samples = samples.map(|(values, value)| {
            let mut sample = Sample::from_label(labels(metric, &values));
            match metric.kind {
                Kind::Counter => {
                    let mut counter = Counter::default();
                    counter.set_value(value.number());
                    sample.set_counter(counter);
                }
                Kind::Gauge | Kind::Histogram => {
                    let mut gauge = Gauge::default();
                    gauge.set_value(value.number());
                    sample.set_gauge(gauge);
                }
            }
            sample
        });
        self.add(metric, samples.collect());
    }

    /// A histogram for each of these values of its labels; those of nothing are left out.
    pub(super) fn histograms<'v, const N: usize>(
        &mut self,
        metric: &Metric,
        samples: impl Iterator<Item = ([&'v str; N], &'v Histogram)>,
    ) {
        let filled = samples.filter(|(_, histogram)| histogram.counts.iter().any(|count| *count > 0));
        let samples = filled.map(|(values, histogram)| {
            let mut sample = Sample::from_label(labels(metric, &values));
            sample.set_histogram(wire(histogram));
            sample
        });
        self.add(metric, samples.collect());
    }

    fn add(&mut self, metric: &Metric, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(metric.name.to_owned());
        family.set_help(metric.help.to_owned());
        family.set_field_type(match metric.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(samples);
        self.0.push(family);
    }

    /// The text.
    ///
    /// # Errors
    ///
    /// Never, as every family has a name and samples.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0)
    }
}

fn labels(metric: &Metric, values: &[&str]) -> Vec<LabelPair> {
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    metric.labels.iter().zip(values).map(pair).collect()
}

/// As Prometheus has it: each count holds those before it.
fn wire(histogram: &Histogram) -> Wire {
    let mut sum = 0;
    let mut buckets = Vec::with_capacity(BOUNDS.len());
    for (bound, count) in BOUNDS.iter().zip(histogram.counts) {
        sum += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound.number() / MICROS);
        bucket.set_cumulative_count(sum);
        buckets.push(bucket);
    }
    let mut wire = Wire::default();
    wire.set_bucket(buckets);
    wire.set_sample_count(histogram.counts.iter().sum());
    wire.set_sample_sum(histogram.micros.number() / MICROS);
    wire
}
