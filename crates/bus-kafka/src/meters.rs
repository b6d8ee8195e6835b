//! What is measured: by topic, what went through it, how long it took, and
//! what waits.

use std::{sync::Once, time::Duration};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const SENT: &str = "bus_sent_total";
const SENT_BYTES: &str = "bus_sent_bytes_total";
const FAILED: &str = "bus_send_failed_total";
const SEND: &str = "bus_send_seconds";
const RECEIVED: &str = "bus_received_total";
const RECEIVED_BYTES: &str = "bus_received_bytes_total";
const UNREADABLE: &str = "bus_unreadable_total";
const WAIT: &str = "bus_wait_seconds";
const PROCESS: &str = "bus_process_seconds";
const LAG: &str = "bus_queue_length";
const HELD: &str = "bus_held";
const LOST: &str = "bus_claims_lost_total";
const RESCUES: &str = "bus_rescues";

/// Says once what they are.
pub(crate) fn describe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        describe_counter!(SENT, Unit::Count, "Messages that are durable, by topic");
        describe_counter!(SENT_BYTES, Unit::Bytes, "Their payloads, by topic");
        describe_counter!(FAILED, Unit::Count, "Messages that could not be sent, by topic");
        describe_histogram!(SEND, Unit::Seconds, "Until a message was durable, by topic");
        describe_counter!(RECEIVED, Unit::Count, "Messages that were read, by topic");
        describe_counter!(RECEIVED_BYTES, Unit::Bytes, "Their payloads, by topic");
        describe_counter!(UNREADABLE, Unit::Count, "Messages that nobody can read and that were passed over, by topic");
        describe_histogram!(WAIT, Unit::Seconds, "From writing a message to giving it out, by topic");
        describe_histogram!(PROCESS, Unit::Seconds, "From giving a message out to the end of it");
        describe_gauge!(LAG, Unit::Count, "Messages in a topic that were not read, by topic and partition");
        describe_gauge!(HELD, Unit::Count, "Messages that were read and are not done");
        describe_counter!(LOST, Unit::Count, "Runs that were not begun, since another invoker was quicker");
        describe_gauge!(RESCUES, Unit::Count, "Invokers whose messages are read in their stead");
    });
}

pub(crate) fn sent(topic: &str, bytes: usize, took: Duration, well: bool) {
    if well {
        counter!(SENT, "topic" => topic.to_owned()).increment(1);
        counter!(SENT_BYTES, "topic" => topic.to_owned()).increment(bytes as u64);
        histogram!(SEND, "topic" => topic.to_owned()).record(took.as_secs_f64());
    } else {
        counter!(FAILED, "topic" => topic.to_owned()).increment(1);
    }
}

pub(crate) fn received(topic: &str, bytes: usize) {
    counter!(RECEIVED, "topic" => topic.to_owned()).increment(1);
    counter!(RECEIVED_BYTES, "topic" => topic.to_owned()).increment(bytes as u64);
}

pub(crate) fn unreadable(topic: &str) {
    counter!(UNREADABLE, "topic" => topic.to_owned()).increment(1);
}

pub(crate) fn waited(topic: &str, ms: u64) {
    histogram!(WAIT, "topic" => topic.to_owned()).record(ms as f64 / 1000.0);
}

pub(crate) fn processed(took: Duration) {
    histogram!(PROCESS).record(took.as_secs_f64());
}

pub(crate) fn lag(topic: &str, partition: i32, messages: i64) {
    gauge!(LAG, "topic" => topic.to_owned(), "partition" => partition.to_string()).set(messages.max(0) as f64);
}

pub(crate) fn held(messages: usize) {
    gauge!(HELD).set(messages as f64);
}

pub(crate) fn lost() {
    counter!(LOST).increment(1);
}

pub(crate) fn rescues(invokers: usize) {
    gauge!(RESCUES).set(invokers as f64);
}
