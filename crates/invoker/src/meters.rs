//! What an invoker counts, with the names that `/metrics` shows.

use metrics::{Counter, Gauge, Histogram, Unit};
use whisker_pool::{Counts, Reason};

/// Handles, looked up once: a warm run moves four of them.
pub(crate) struct Meters {
    cold: Counter,
    prewarmed: Counter,
    resumed: Counter,
    warm: Counter,
    pub failed_starts: Counter,
    pub interrupted: Counter,
    pub retries: Counter,
    pub letters: Counter,
    pub wait: Histogram,
    pub init: Histogram,
    pub run: Histogram,
    pub start: Histogram,
    queue: Gauge,
    memory: Gauge,
    containers: Gauge,
    idle: Gauge,
    stems: Gauge,
    pub spool_records: Gauge,
    pub spool_bytes: Gauge,
}

impl Meters {
    /// Describes them to the recorder that is installed by now.
    pub fn new() -> Self {
        use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
        const STARTS: &str = "invoker_container_start_total";
        describe_counter!(STARTS, Unit::Count, "Runs, by what their container was when they came");
        describe_counter!("invoker_container_start_failed_total", Unit::Count, "Containers that could not be made");
        describe_counter!("invoker_interrupted_total", Unit::Count, "Runs that a crash or a shutdown cut off");
        describe_counter!("invoker_retries_total", Unit::Count, "Failed runs that are followed by another");
        describe_counter!("invoker_dead_letters_total", Unit::Count, "Failed activations that a trigger is to hear of");
        describe_histogram!("invoker_wait_seconds", Unit::Seconds, "From the request to the beginning of init or run");
        describe_histogram!("invoker_activation_init_seconds", Unit::Seconds, "Initialisations");
        describe_histogram!("invoker_activation_run_seconds", Unit::Seconds, "Runs");
        describe_histogram!("invoker_container_start_seconds", Unit::Seconds, "Making containers");
        describe_gauge!("invoker_queue_length", Unit::Count, "Runs without a container");
        describe_gauge!("invoker_memory_used_bytes", Unit::Bytes, "Memory limits of all containers");
        describe_gauge!("invoker_containers", Unit::Count, "Containers that are not gone");
        describe_gauge!("invoker_containers_idle", Unit::Count, "Containers that have code and nothing to do");
        describe_gauge!("invoker_containers_prewarmed", Unit::Count, "Containers that have no code yet");
        describe_gauge!("invoker_spool_records", Unit::Count, "Records that the store has not taken yet");
        describe_gauge!("invoker_spool_bytes", Unit::Bytes, "Size of those records");
        Self {
            cold: counter!(STARTS, "state" => "cold"),
            prewarmed: counter!(STARTS, "state" => "prewarmed"),
            resumed: counter!(STARTS, "state" => "paused"),
            warm: counter!(STARTS, "state" => "warm"),
            failed_starts: counter!("invoker_container_start_failed_total"),
            interrupted: counter!("invoker_interrupted_total"),
            retries: counter!("invoker_retries_total"),
            letters: counter!("invoker_dead_letters_total"),
            wait: histogram!("invoker_wait_seconds"),
            init: histogram!("invoker_activation_init_seconds"),
            run: histogram!("invoker_activation_run_seconds"),
            start: histogram!("invoker_container_start_seconds"),
            queue: gauge!("invoker_queue_length"),
            memory: gauge!("invoker_memory_used_bytes"),
            containers: gauge!("invoker_containers"),
            idle: gauge!("invoker_containers_idle"),
            stems: gauge!("invoker_containers_prewarmed"),
            spool_records: gauge!("invoker_spool_records"),
            spool_bytes: gauge!("invoker_spool_bytes"),
        }
    }

    pub fn begins(&self, reason: Reason) {
        match reason {
            Reason::Cold => &self.cold,
            Reason::Prewarmed => &self.prewarmed,
            Reason::Paused => &self.resumed,
            Reason::Warm => &self.warm,
        }
        .increment(1);
    }

    pub fn show(&self, counts: Counts) {
        self.queue.set(counts.waiting as f64);
        self.memory.set(counts.memory_mb as f64 * whisker_entity::MB as f64);
        self.containers.set(counts.containers as f64);
        self.idle.set(counts.idle as f64);
        self.stems.set(counts.prewarmed as f64);
    }
}
