//! Lines for a terminal or a file: a word for the level, and the message.

use std::fmt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{debug_fn, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::Layer;

/// Writes to `to`. Errors of writing are ignored: there is no one to tell.
pub(super) fn layer<S, W>(to: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .with_writer(to)
        // By default it tells stderr, and panics when that is what failed.
        .log_internal_errors(false)
        .fmt_fields(debug_fn(|to, field, value| match field.name() {
            "message" => write!(to, "{value:?}"),
            // The line says what these say.
            name if name == "message_id" || name.starts_with("bulkhead_") => Ok(()),
            name => write!(to, " {name}={value:?}"),
        }))
        .event_format(Plain)
}

struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let word = match *event.metadata().level() {
            Level::ERROR => "critical",
            Level::WARN => "warning",
            Level::INFO => "notice",
            Level::DEBUG | Level::TRACE => "debug",
        };
        write!(to, "{word}: ")?;
        context.format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}
