//! Traces: where the time of a request went, across controller, bus and
//! invoker, as spans for whatever collects OpenTelemetry's.
//!
//! | span | of | from, to |
//! | --- | --- | --- |
//! | `POST` and the like | controller | a request, its answer |
//! | `send` | controller | an invoker is chosen, the bus has the message |
//! | `queue` | invoker | the request's beginning, that of its init or run |
//! | `init`, `run` | invoker | what user code takes |
//! | `record` | invoker | the run's end, its record in the spool |
//!
//! A request that says which trace it belongs to (W3C's `traceparent`) is
//! continued; others begin one. The context goes along in the message's
//! `traceContext`, under the names of W3C's headers.
//!
//! A [`Tracer`] that is off is an empty option: nothing is read, measured or
//! allocated. One that is on puts ended spans into a queue, which
//! [`Exporter::run`] empties: nobody waits for a collector, and a span that
//! finds the queue full is dropped and counted.
//!
//! Not OpenTelemetry's own libraries: six kinds of spans and one request in its
//! JSON take less code than wiring those, and no dependency.

mod context;
mod export;
mod span;
mod wire;

pub use context::{Context, TRACEPARENT, TRACESTATE};
pub use export::{Endpoint, Exporter, InvalidEndpoint};
pub use span::{Kind, Span, Tracer, Where};

#[cfg(test)]
mod tests;
