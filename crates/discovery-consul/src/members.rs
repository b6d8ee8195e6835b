//! What Consul says of the invokers, and which pings that amounts to. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use whisker_bus::{InvokerId, InvokerPing};

use crate::register::PING;

/// An invoker as Consul knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it says of itself.
    pub ping: InvokerPing,
    /// Whether all its checks pass.
    pub passes: bool,
}

/// All that were heard of.
#[derive(Debug, Default)]
pub struct Members {
    known: BTreeMap<InvokerId, Member>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    service: Service,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    status: String,
}

impl Members {
    /// Takes in an answer to `/v1/health/service/…`. Entries of others, that
    /// have the service's name and not its metadata, are passed over.
    ///
    /// Answers pings of those that pass no more, or are gone: each is told of
    /// once.
    pub fn heard(&mut self, answer: &[u8]) -> Result<Vec<InvokerPing>, serde_json::Error> {
        let entries: Vec<Entry> = serde_json::from_slice(answer)?;
        let mut now: BTreeMap<InvokerId, Member> = BTreeMap::new();
        for entry in entries {
            let ping = entry.service.meta.as_ref().and_then(|meta| meta.get(PING));
            let Some(ping) = ping.and_then(|text| serde_json::from_str::<InvokerPing>(text).ok()) else { continue };
            let passes = entry.checks.iter().all(|check| check.status == "passing");
            let member = Member { ping, passes };
            // Of two under one number, as after a move, the one that lives.
            let id = member.ping.instance.id;
            if member.passes || !now.contains_key(&id) {
                now.insert(id, member);
            }
        }
        let is_lost = |id: &InvokerId| now.get(id).is_none_or(|member| !member.passes);
        let lost = self.known.iter().filter(|(id, member)| member.passes && is_lost(id));
        let lost = lost.map(|(_, member)| InvokerPing { enabled: false, ..member.ping.clone() }).collect();
        self.known = now;
        Ok(lost)
    }

    /// Pings of all that pass: they say so with each second.
    pub fn pings(&self) -> impl Iterator<Item = &InvokerPing> {
        self.known.values().filter(|member| member.passes).map(|member| &member.ping)
    }

    /// All that Consul knows.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.known.values()
    }
}
