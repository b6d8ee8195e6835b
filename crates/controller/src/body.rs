//! Reading request bodies, within bounds of length, time and total memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use whisker_api::messages;
use whisker_entity::NamespaceLimits;

use crate::{config::Limits, rejection::Rejection};

/// Memory for bodies, shared by all requests. Small ones are not counted:
/// their number is bounded by that of connections.
pub struct Bodies {
    share: Semaphore,
    limits: Limits,
}

/// Counted in units, since a semaphore counts to 2^29 at most everywhere.
const UNIT_BYTES: u64 = 64 * 1024;

/// How long a refused request may go on sending.
const DISCARDING: Duration = Duration::from_secs(5);

/// A body, and its share of the memory for all of them.
pub struct Read<'a> {
    /// The bytes.
    pub bytes: Bytes,
    _share: Option<SemaphorePermit<'a>>,
}

/// What a body may be.
#[derive(Clone, Copy)]
pub enum Kind {
    /// An entity.
    Entity,
    /// The arguments of an invocation.
    Payload,
    /// The same, of any type.
    Web,
}

impl Bodies {
    /// With all memory free.
    pub fn new(limits: &Limits) -> Self {
        // There is room for any body that is allowed, or it would wait for ever.
        let largest_bytes = limits.body_max_bytes.max(limits.payload_max_bytes);
        let units = usize::try_from(limits.bodies_total_bytes.max(largest_bytes) / UNIT_BYTES + 1);
        Self { share: Semaphore::new(units.unwrap_or(Semaphore::MAX_PERMITS)), limits: limits.clone() }
    }

    /// Reads a body whole. One that must be JSON has to say so, unless it is
    /// empty. Payloads are bounded by the limits of whoever they are for.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: &mut Incoming,
        kind: Kind,
        own: &NamespaceLimits,
    ) -> Result<Read<'_>, Rejection> {
        let reading = async {
            let max = match kind {
                Kind::Entity => self.limits.body_max_bytes,
                Kind::Payload | Kind::Web => self.limits.allowance(own).payload_bytes,
            };
            let too_large = |is: u64| match kind {
                Kind::Payload | Kind::Web => Rejection::PartTooLarge(messages::larger_than_allowed("Request", is, max)),
                Kind::Entity => Rejection::TooLarge,
            };
            let expected = body.size_hint().upper().unwrap_or(max);
            if expected > max {
                return Err(too_large(expected));
            }
            let typed = matches!(kind, Kind::Entity | Kind::Payload);
            if typed && (expected > 0 || body.size_hint().upper().is_none()) {
                check_type(headers)?;
            }
            let share = if expected > UNIT_BYTES {
                let units = u32::try_from(expected / UNIT_BYTES + 1).unwrap_or(u32::MAX);
                Some(self.share.acquire_many(units).await.map_err(|_| Rejection::Unavailable)?)
            } else {
                None
            };
            let bytes = collect(body, max).await?.ok_or_else(|| too_large(max + 1))?;
            Ok(Read { bytes, _share: share })
        };
        tokio::time::timeout(self.limits.body_timeout, reading).await.unwrap_or(Err(Rejection::Slow))
    }

    /// Refuses a web request that says how large its body is and says too much.
    pub fn check_declared(&self, body: &Incoming, own: &NamespaceLimits) -> Result<(), Rejection> {
        let max = self.limits.allowance(own).payload_bytes;
        match body.size_hint().upper().filter(|&is| is > max) {
            Some(is) => Err(Rejection::PartTooLarge(messages::larger_than_allowed("Request", is, max))),
            None => Ok(()),
        }
    }

    /// Reads and forgets what a refused request left of its body. A client that
    /// is still sending when the connection ends never sees the answer. One
    /// that asked first whether to send it has its answer instead.
    pub async fn discard(&self, headers: &HeaderMap, body: &mut Incoming) {
        if body.is_end_stream() || headers.contains_key(header::EXPECT) {
            return;
        }
        let reading = async {
            let mut left = self.limits.body_max_bytes;
            while let Some(Ok(frame)) = body.frame().await {
                let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64)) else { return };
                left = rest;
            }
        };
        // Whether all came or not, the answer goes out now.
        let _ = tokio::time::timeout(DISCARDING, reading).await;
    }
}

/// The whole body, or `None` if it is longer than `max`.
async fn collect(body: &mut Incoming, max: u64) -> Result<Option<Bytes>, Rejection> {
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    while let Some(frame) = body.frame().await {
        // The client broke off, or framed its body wrongly.
        let frame = frame.map_err(|_| Rejection::Bad(messages::BAD_REQUEST.into()))?;
        let Ok(data) = frame.into_data() else { continue };
        let held = first.as_ref().map_or(0, Bytes::len) + whole.len();
        if held as u64 + data.len() as u64 > max {
            return Ok(None);
        }
        match first.take() {
            // A body in one piece, as most are, is not copied.
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(piece) => {
                whole.extend_from_slice(&piece);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(Some(first.unwrap_or_else(|| whole.freeze())))
}

/// Bodies are `application/json`, with or without a charset.
fn check_type(headers: &HeaderMap) -> Result<(), Rejection> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let essence = declared.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence == "application/json" {
        return Ok(());
    }
    // What is no media type counts as none, and none as mere bytes.
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b))
    };
    let valid = essence.split_once('/').is_some_and(|(main, sub)| token(main) && token(sub));
    Err(Rejection::ContentType(if valid { essence } else { "application/octet-stream".into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_largest_body_of_either_kind() {
        for (body, payload) in [(1 << 30, 1), (1, 1 << 30)] {
            let limits = Limits {
                body_max_bytes: body,
                payload_max_bytes: payload,
                bodies_total_bytes: 1 << 20,
                ..Limits::default()
            };
            let room = Bodies::new(&limits).share.available_permits() as u64 * UNIT_BYTES;
            assert!(room > 1 << 30, "{room}");
        }
    }
}
