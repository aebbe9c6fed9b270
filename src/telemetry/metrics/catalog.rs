//! Every metric that there is: `docs/metrics.md` has the same table, and a test compares the two.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only ever grows, from the start of the process.
    Counter,
    /// It is as it is now.
    Gauge,
    /// How many are within each of some bounds.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels; every value is of a closed list.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*

        /// All of them.
        pub const METRICS: &[Metric] = &[$($constant,)*];
    };
}

metrics! {
    BUILD = Gauge "keystile_build_info" ["version"] "Always 1, for each version that runs.";
    CALLS = Counter "keystile_calls_total" ["bot", "route", "status", "code"]
        "Requests whose answer has ended, by the class of its status and by the code of its fault.";
    CUT_CALLS = Counter "keystile_cut_calls_total" ["bot", "route"]
        "Requests whose answer was not read to its end.";
    RECEIVED = Counter "keystile_received_bytes_total" ["bot", "route"] "Bytes of the bodies of requests.";
    SENT = Counter "keystile_sent_bytes_total" ["bot", "route"] "Bytes of the bodies of answers.";
    DURATION = Histogram "keystile_call_duration_seconds" ["route"]
        "Time from a request's head to the end of its answer; of a stream, all of its life.";
    FIRST_BYTE = Histogram "keystile_first_byte_seconds" ["route"]
        "Time from a request's head to the first byte of its answer's body.";
    FAULTS = Counter "keystile_faults_total" ["code", "fault"]
        "Requests that were refused, failed or cut, by code and by whose fault it was.";
    LIMITS_HIT = Counter "keystile_limits_hit_total" ["limit"] "Requests that a limit refused.";
    OPEN_CALLS = Gauge "keystile_open_calls" [] "Requests whose answer has not ended, streams and WebSockets too.";
    OPEN_STREAMS = Gauge "keystile_open_streams" [] "Answers of vendors that stream events or lines.";
    OPEN_WEBSOCKETS = Gauge "keystile_open_websockets" [] "WebSockets.";
    OPEN_CONNECTIONS = Gauge "keystile_open_connections" [] "Connections of clients.";
    REFUSED_CONNECTIONS = Counter "keystile_refused_connections_total" []
        "Connections that were closed at once because server.limits.connections were open.";
    RELOAD_TAKEN = Gauge "keystile_config_last_reload_successful" []
        "0 where the configuration was refused when it was read last, or its certificate; else 1.";
    TLS_ENDS = Gauge "keystile_tls_certificate_not_after_seconds" []
        "When the certificate ends that clients are shown, since 1970.";
    MINTS = Counter "keystile_mints_total" ["bot", "result"]
        "Sessions that were opened, answers that opened one and were given again, and openings that failed, by code.";
    RENEWALS = Counter "keystile_renewals_total" ["bot"] "Tokens that were renewed.";
    CONTACTS = Counter "keystile_contacts_total" ["bot"] "Visitors who became known in their session.";
    ENDS = Counter "keystile_ends_total" ["bot", "scope"]
        "Ends before their time: of a session, or of all sessions of a contact or a bot.";
    LIMITS_ALONE = Gauge "keystile_limits_alone" []
        "1 while the limits that replicas share are this one's own, because the store is away.";
    LIMITS_UNTOLD = Counter "keystile_limits_untold_calls_total" []
        "Calls of which other replicas never heard, because the store was away.";
    STORE_AWAY = Gauge "keystile_store_away" [] "1 while the store cannot be reached.";
    STORE_READ = Gauge "keystile_store_read" []
        "1 once the revocations in the store were read; until then no token is good.";
    STORE_UNREADABLE = Gauge "keystile_store_unreadable" []
        "1 while the store has revocations that this version cannot read.";
    STORE_STALENESS = Gauge "keystile_store_staleness_seconds" []
        "How long ago the revocations in the store were last read.";
    STORE_WEAKNESSES = Gauge "keystile_store_weaknesses" []
        "In how many ways the store, as it is configured, could lose sessions or revocations.";
    AUDIT_FAILING = Gauge "keystile_audit_failing" [] "1 while the audit record cannot be written.";
    VENDOR_STOPPED = Gauge "keystile_vendor_stopped" ["vendor"]
        "1 while calls of a vendor are refused, because it did not answer others.";
    VENDOR_KEYS = Gauge "keystile_vendor_keys" ["vendor"] "Keys of a vendor.";
    VENDOR_KEYS_ASIDE = Gauge "keystile_vendor_keys_aside" ["vendor"]
        "Keys of a vendor that are set aside, because the vendor refused them.";
    MASKED = Counter "keystile_masked_secrets_total" ["vendor"]
        "Secrets that were masked in what a vendor answered. Any is an alarm.";
    CPU = Counter "process_cpu_seconds_total" [] "Time that processors worked for the process.";
    RESIDENT = Gauge "process_resident_memory_bytes" [] "Memory that the process has.";
    VIRTUAL = Gauge "process_virtual_memory_bytes" [] "The size of the virtual memory of the process.";
    STARTED = Gauge "process_start_time_seconds" [] "When the process started, since 1970.";
    OPEN_FDS = Gauge "process_open_fds" [] "Open descriptors, where the system tells them.";
    MAX_FDS = Gauge "process_max_fds" [] "The most descriptors that may be open.";
}
