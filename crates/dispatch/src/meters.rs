//! What a controller counts of its choices, with the names that `/metrics` shows.

use metrics::{Counter, Gauge, Unit};
use whisker_placement::Counts;

pub(crate) struct Meters {
    warm: Counter,
    cold: Counter,
    forced: Counter,
    pub refused: Counter,
    pub expired: Counter,
    healthy: Gauge,
    unhealthy: Gauge,
    unresponsive: Gauge,
    offline: Gauge,
    in_flight: Gauge,
    booked: Gauge,
    controllers: Gauge,
}

impl Meters {
    /// Describes them to the recorder that is installed by now.
    pub fn new() -> Self {
        use metrics::{counter, describe_counter, describe_gauge, gauge};
        const PLACED: &str = "controller_placed_total";
        const INVOKERS: &str = "controller_invokers";
        describe_counter!(PLACED, Unit::Count, "Activations, by what was believed of the invoker they were sent to");
        describe_counter!("controller_not_placed_total", Unit::Count, "Activations that no invoker could take");
        describe_counter!("controller_expired_total", Unit::Count, "Activations whose completion did not come in time");
        describe_gauge!(INVOKERS, Unit::Count, "Invokers, by health");
        describe_gauge!("controller_in_flight", Unit::Count, "Activations that are booked with an invoker");
        describe_gauge!("controller_booked_bytes", Unit::Bytes, "Memory of invokers that is booked");
        describe_gauge!("controller_controllers", Unit::Count, "Controllers that share invokers and limits");
        Self {
            warm: counter!(PLACED, "at" => "warm"),
            cold: counter!(PLACED, "at" => "cold"),
            forced: counter!(PLACED, "at" => "full"),
            refused: counter!("controller_not_placed_total"),
            expired: counter!("controller_expired_total"),
            healthy: gauge!(INVOKERS, "health" => "up"),
            unhealthy: gauge!(INVOKERS, "health" => "unhealthy"),
            unresponsive: gauge!(INVOKERS, "health" => "unresponsive"),
            offline: gauge!(INVOKERS, "health" => "down"),
            in_flight: gauge!("controller_in_flight"),
            booked: gauge!("controller_booked_bytes"),
            controllers: gauge!("controller_controllers"),
        }
    }

    pub fn placed(&self, forced: bool, warm: bool) {
        match (forced, warm) {
            (true, _) => &self.forced,
            (false, true) => &self.warm,
            (false, false) => &self.cold,
        }
        .increment(1);
    }

    pub fn show(&self, counts: Counts, controllers: u32) {
        self.healthy.set(counts.healthy as f64);
        self.unhealthy.set(counts.unhealthy as f64);
        self.unresponsive.set(counts.unresponsive as f64);
        self.offline.set(counts.offline as f64);
        self.in_flight.set(counts.in_flight as f64);
        self.booked.set(counts.booked_mb as f64 * whisker_entity::MB as f64);
        self.controllers.set(f64::from(controllers));
    }
}
