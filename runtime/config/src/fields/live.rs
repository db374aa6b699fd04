//! Section `[live]`: a run watched while it goes on.

use super::{Rule, Section, field, integer};
use serde_json::Value;
use taps_schema::FieldKind;

/// Largest number of a port.
const LAST_PORT: i64 = 65_535;

pub(super) fn section() -> Section {
    let fields = vec![
        field(
            "dashboard",
            integer(0, LAST_PORT),
            Value::Null,
            "Serve a page that shows the run while it goes on, at this port of 127.0.0.1; 0, and the flag \
             alone, is any free port. The address, which holds a secret, is printed on stderr.",
        )
        .alias("dashboard")
        .bare("0"),
        field(
            "metrics_port",
            integer(0, LAST_PORT),
            Value::Null,
            "Serve numbers of the run for Prometheus at this port of 127.0.0.1, path `/metrics`; 0 is any \
             free port.",
        )
        .alias("metrics-port"),
        field(
            "otlp_endpoint",
            FieldKind::String,
            Value::Null,
            "Send traces to this OpenTelemetry collector, by OTLP over HTTP: a span for the run, each task \
             and each attempt. `env` takes address and headers from OTEL_EXPORTER_OTLP_*.",
        )
        .rule(Rule::Collector)
        .alias("otlp-endpoint"),
    ];
    Section {
        name: "live",
        title: "Live",
        fields,
    }
}
