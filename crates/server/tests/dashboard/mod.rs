//! What the dashboard of `deploy/grafana` asks for.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs};

use serde_json::Value;

/// Rows of what only a cluster has.
const OF_CLUSTERS: [&str; 2] = ["Cluster", "Bus"];

/// What is counted when something goes wrong, and is not there before; docs
/// say what it is.
const OF_TROUBLE: [&str; 3] =
    ["controller_records_refused_total", "invoker_records_refused_total", "listener_refused_total"];

/// The names of the metrics that it shows: those of any server, or of a cluster.
pub fn metrics(of_cluster: bool) -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/grafana/whisker.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (mut row, mut all) = (String::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        if panel["type"] == "row" {
            row = panel["title"].as_str().unwrap().to_owned();
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let names = names(query);
            assert!(!names.is_empty(), "{query} asks for nothing of ours");
            if OF_CLUSTERS.contains(&row.as_str()) == of_cluster {
                all.extend(names);
            }
        }
    }
    assert!(all.len() > 10, "{all:?}");
    all
}

/// Those that an answer to `/metrics` does not have.
pub fn missing(names: BTreeSet<String>, exposed: &str) -> Vec<String> {
    let is_there = |name: &String| {
        exposed.lines().any(|line| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with([' ', '{'])))
    };
    names.into_iter().filter(|name| !OF_TROUBLE.contains(&name.as_str()) && !is_there(name)).collect()
}

/// Of a query of Prometheus: what is no function, label or keyword of it.
fn names(query: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let (mut braces, mut quoted) = (0, false);
    for c in query.chars() {
        match c {
            '"' => quoted = !quoted,
            '{' if !quoted => braces += 1,
            '}' if !quoted => braces -= 1,
            _ if !quoted && braces == 0 => plain.push(c),
            _ => {}
        }
    }
    let words = plain.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = ["controller_", "invoker_", "listener_", "openwhisk_", "bus_"];
    words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}
