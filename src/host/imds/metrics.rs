//! What the service counts, for Prometheus.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::log;
use crate::core::imds::quota::Quota;

/// What they are written as.
pub const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a request is counted under: words of the service's own, none of a guest's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// What was asked for.
    pub class: &'static str,
    /// The status that it was answered with.
    pub status: u32,
}

/// Why a connection was ended at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// The reason.
    pub reason: &'static str,
}

/// All counters.
pub struct Metrics {
    registry: Registry,
    /// Requests that were answered.
    pub requests: Family<RequestLabels, Counter>,
    /// How long they took, in seconds.
    pub seconds: Histogram,
    /// Requests of callers that nobody knows.
    pub strangers: Counter,
    /// Connections that were not served.
    pub refused: Family<ReasonLabels, Counter>,
    /// Connections that are open.
    pub connections: Gauge<i64, AtomicI64>,
    /// Domains that are known.
    pub domains: Gauge<i64, AtomicI64>,
    /// Whether libvirt answers.
    pub libvirt: Gauge<i64, AtomicI64>,
    /// Whether the rules by which guests are known are in force.
    pub rules: Gauge<i64, AtomicI64>,
    /// Lines of the log that were left out.
    pub unlogged: Counter<u64, AtomicU64>,
    /// How many of them the log itself has left out, as far as they are counted.
    dropped: AtomicU64,
    began: Instant,
    quota: Mutex<Quota>,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tpl_metadata");
        // From a tenth of a millisecond to a second and a half.
        let seconds = Histogram::new((0..15).map(|step| 0.0001 * f64::from(1 << step)));
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            seconds,
            strangers: Counter::default(),
            refused: Family::default(),
            connections: Gauge::default(),
            domains: Gauge::default(),
            libvirt: Gauge::default(),
            rules: Gauge::default(),
            unlogged: Counter::default(),
            dropped: AtomicU64::new(0),
            began: Instant::now(),
            quota: Mutex::default(),
        };
        registry.register("requests", "Requests that were answered", metrics.requests.clone());
        registry.register("request_seconds", "How long requests took", metrics.seconds.clone());
        registry.register("strangers", "Requests of callers that nobody knows", metrics.strangers.clone());
        registry.register("connections_refused", "Connections that were not served", metrics.refused.clone());
        registry.register("connections", "Connections that are open", metrics.connections.clone());
        registry.register("domains", "Running domains that are known", metrics.domains.clone());
        registry.register("libvirt_up", "Whether libvirt answers", metrics.libvirt.clone());
        // The service does not begin without them.
        metrics.rules.set(1);
        registry.register("rules_up", "Whether the rules by which guests are known are in force", metrics.rules.clone());
        registry.register("log_lines_dropped", "Lines of the log that were left out", metrics.unlogged.clone());
        Self { registry, ..metrics }
    }

    /// Counts a request.
    pub fn answered(&self, class: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { class, status: u32::from(status) }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a connection that is ended at once.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Whether a line about this domain, or about a stranger, goes into the log, and does not take too much of it. Counts it if not.
    pub fn may_log(&self, domain: Option<&str>) -> bool {
        let second = self.began.elapsed().as_secs();
        let may = self.quota.lock().unwrap_or_else(PoisonError::into_inner).take(domain, second);
        if !may {
            self.unlogged.inc();
        }
        may
    }

    /// Counts what the log has left out by now.
    fn count_dropped(&self, dropped: u64) {
        let counted = self.dropped.fetch_max(dropped, Ordering::Relaxed);
        self.unlogged.inc_by(dropped.saturating_sub(counted));
    }

    /// All of it in the text format that Prometheus reads: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
    pub fn text(&self) -> String {
        self.count_dropped(log::dropped());
        let mut text = String::new();
        // A String takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text() {
        let metrics = Metrics::new();
        metrics.answered("meta-data", 200, Duration::from_micros(150));
        metrics.refused("busy");
        metrics.domains.set(3);
        // Counted once, whoever reads it and how often.
        [5, 7, 7].into_iter().for_each(|dropped| metrics.count_dropped(dropped));
        metrics.unlogged.inc();
        let text = metrics.text();
        for line in [
            "tpl_metadata_requests_total{class=\"meta-data\",status=\"200\"} 1",
            "tpl_metadata_request_seconds_bucket{le=\"0.0002\"} 1",
            "tpl_metadata_connections_refused_total{reason=\"busy\"} 1",
            "tpl_metadata_domains 3",
            "tpl_metadata_rules_up 1",
            "tpl_metadata_strangers_total 0",
            "tpl_metadata_log_lines_dropped_total 8",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
