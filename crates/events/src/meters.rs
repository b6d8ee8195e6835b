//! The metrics of OpenWhisk's user-events service, under its names, counted
//! where activations end: nobody needs that service to look at them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use metrics::{
    Counter, Gauge, Histogram, Label, SharedString, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};
use whisker_bus::{ActivationEvent, MetricName};
use whisker_entity::Status;

const ACTIVATIONS: &str = "openwhisk_action_activations_total";
const COLD_STARTS: &str = "openwhisk_action_coldStarts_total";
const WAIT: &str = "openwhisk_action_waitTime_seconds";
const INIT: &str = "openwhisk_action_initTime_seconds";
const DURATION: &str = "openwhisk_action_duration_seconds";
const SIZE: &str = "openwhisk_action_response_size_bytes";
const STATUS: &str = "openwhisk_action_status";
const MEMORY: &str = "openwhisk_action_memory";
const STATUS_CODE: &str = "openwhisk_action_status_code";
const CONCURRENT: &str = "openwhisk_action_limit_concurrent_total";
const TIMED: &str = "openwhisk_action_limit_timed_total";

/// Actions that have figures of their own, each by each who invokes it. All
/// further ones share those of `other` in `other`, until the next start.
const MOST_ACTIONS: usize = 1_000;
/// Namespaces that are counted for themselves when they meet limits, likewise.
const MOST_NAMESPACES: usize = 1_000;
/// Status codes of one action, likewise.
const MOST_CODES: usize = 16;

/// Whoever came too late for figures of its own.
const OTHER: &str = "other";

pub(crate) struct Meters {
    actions: Mutex<HashMap<Key, Arc<Action>>>,
    namespaces: Mutex<HashSet<String>>,
    most_actions: usize,
}

/// Which figures: the action's path, who invokes it, its kind and memory.
type Key = (String, String, String, u64);

/// Figures of one action.
struct Action {
    labels: Vec<Label>,
    activations: Counter,
    cold_starts: Counter,
    wait: Histogram,
    init: Histogram,
    duration: Histogram,
    size: Histogram,
    statuses: [Counter; 4],
    memory: Option<Gauge>,
    codes: Mutex<HashSet<i32>>,
}

impl Meters {
    pub fn new() -> Self {
        describe_counter!(ACTIVATIONS, Unit::Count, "Activations that ended");
        describe_counter!(COLD_STARTS, Unit::Count, "Of those, with an initialisation");
        describe_histogram!(WAIT, Unit::Seconds, "From the request to the beginning of init or run");
        describe_histogram!(INIT, Unit::Seconds, "Initialisations");
        describe_histogram!(DURATION, Unit::Seconds, "Initialisation and run");
        describe_histogram!(SIZE, Unit::Bytes, "Answers of actions");
        describe_counter!(STATUS, Unit::Count, "Activations, by how they ended");
        describe_gauge!(MEMORY, "Memory limit of the action, in MB");
        describe_counter!(STATUS_CODE, Unit::Count, "Activations, by the statusCode in their result");
        describe_counter!(CONCURRENT, Unit::Count, "Refused, since the namespace had too many in flight");
        describe_counter!(TIMED, Unit::Count, "Refused, since the namespace had too many in this minute");
        Self { actions: Mutex::default(), namespaces: Mutex::default(), most_actions: MOST_ACTIONS }
    }

    #[cfg(test)]
    pub fn of_few(most_actions: usize) -> Self {
        Self { most_actions, ..Self::new() }
    }

    /// Counts an activation of whoever `initiator` is.
    pub fn ended(&self, event: &ActivationEvent, initiator: &str) {
        let action = self.action(event, initiator);
        let seconds = |ms: u64| ms as f64 / 1000.0;
        action.activations.increment(1);
        if event.init_time > 0 {
            action.cold_starts.increment(1);
            action.init.record(seconds(event.init_time));
        }
        action.wait.record(seconds(event.wait_time));
        action.duration.record(seconds(event.duration));
        if let Some(size) = event.size {
            action.size.record(size as f64);
        }
        if let Some(status) = action.statuses.get(usize::from(event.status_code)) {
            status.increment(1);
        }
        if let Some(memory) = &action.memory {
            memory.set(event.memory as f64);
        }
        if let Some(code) = event.user_defined_status_code {
            action.code(code).increment(1);
        }
    }

    /// Counts a limit that was met.
    pub fn metric(&self, name: MetricName, namespace: &str) {
        let name = match name {
            MetricName::ConcurrentRateLimit => CONCURRENT,
            MetricName::TimedRateLimit => TIMED,
            // OpenWhisk's service makes nothing of it.
            MetricName::ConcurrentInvocations => return,
        };
        let mut known = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let own = known.contains(namespace) || (known.len() < MOST_NAMESPACES && known.insert(namespace.to_owned()));
        drop(known);
        counter!(name, "namespace" => if own { namespace.to_owned() } else { OTHER.to_owned() }).increment(1);
    }

    fn action(&self, event: &ActivationEvent, initiator: &str) -> Arc<Action> {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (event.name.clone(), initiator.to_owned(), event.kind.clone(), event.memory);
        if let Some(action) = actions.get(&key) {
            return action.clone();
        }
        if actions.len() < self.most_actions {
            return actions.entry(key).or_insert(Arc::new(Action::own(event, initiator))).clone();
        }
        // One more than there may be: that of all the others.
        let other = (OTHER.to_owned(), OTHER.to_owned(), OTHER.to_owned(), 0);
        actions.entry(other).or_insert_with(|| Arc::new(Action::other())).clone()
    }
}

impl Action {
    fn own(event: &ActivationEvent, initiator: &str) -> Self {
        let (namespace, name) = event.name.split_once('/').unwrap_or(("", &event.name));
        let memory = event.memory.to_string();
        Self::new([namespace, initiator, name].map(str::to_owned), event.kind.clone(), memory, true)
    }

    fn other() -> Self {
        Self::new([OTHER, OTHER, OTHER].map(str::to_owned), OTHER.to_owned(), OTHER.to_owned(), false)
    }

    fn new([namespace, initiator, action]: [String; 3], kind: String, memory: String, alone: bool) -> Self {
        let labels =
            vec![Label::new("namespace", namespace), Label::new("initiator", initiator), Label::new("action", action)];
        let with = |name: &'static str, value: SharedString| {
            let mut more = labels.clone();
            more.push(Label::new(name, value));
            more
        };
        let mut of_kind = with("kind", kind.into());
        of_kind.push(Label::new("memory", memory));
        let status = |status: Status| counter!(STATUS, with("status", words(status).into()));
        Self {
            activations: counter!(ACTIVATIONS, of_kind),
            cold_starts: counter!(COLD_STARTS, labels.clone()),
            wait: histogram!(WAIT, labels.clone()),
            init: histogram!(INIT, labels.clone()),
            duration: histogram!(DURATION, labels.clone()),
            size: histogram!(SIZE, labels.clone()),
            statuses: [Status::Success, Status::ApplicationError, Status::DeveloperError, Status::WhiskError]
                .map(status),
            memory: alone.then(|| gauge!(MEMORY, labels.clone())),
            codes: Mutex::default(),
            labels,
        }
    }

    fn code(&self, code: i32) -> Counter {
        let mut known = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let own = known.contains(&code) || (known.len() < MOST_CODES && known.insert(code));
        drop(known);
        let mut labels = self.labels.clone();
        labels.push(Label::new("status_code", if own { code.to_string() } else { OTHER.to_owned() }));
        counter!(STATUS_CODE, labels)
    }
}

/// How OpenWhisk calls them here (`ActivationResponse.statusForCode`).
const fn words(status: Status) -> &'static str {
    match status {
        Status::Success => "success",
        Status::ApplicationError => "application_error",
        Status::DeveloperError => "action_developer_error",
        Status::WhiskError => "whisk_internal_error",
    }
}
