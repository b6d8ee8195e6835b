//! Which trace something belongs to, as W3C's Trace Context writes it.

use std::{collections::BTreeMap, fmt};

/// The header, and the member of a message's context, that names the parent.
pub const TRACEPARENT: &str = "traceparent";
/// The one in which those before us keep what is theirs.
pub const TRACESTATE: &str = "tracestate";

/// Longest `tracestate` that is passed on (W3C asks for 512 at least).
const STATE_MAX_BYTES: usize = 512;

/// A place in a trace: what comes next is its child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: u128,
    /// The span.
    pub span: u64,
    /// Whether the trace is kept. What is not is passed on all the same.
    pub sampled: bool,
    /// What those before us keep.
    pub state: Option<String>,
}

impl Context {
    /// Reads the two headers. What is not understood begins a trace of its
    /// own, as W3C has it.
    pub fn read(parent: &str, state: Option<&str>) -> Option<Context> {
        let mut parts = parent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hex(version, 2)?;
        // Later versions may say more behind these; ff is none.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
        if trace == 0 || span == 0 {
            return None;
        }
        let state = state.filter(|state| !state.is_empty() && state.len() <= STATE_MAX_BYTES);
        Some(Context {
            trace,
            span: u64::try_from(span).ok()?,
            sampled: flags & 1 == 1,
            state: state.map(str::to_owned),
        })
    }

    /// Of a message.
    pub fn of(context: &BTreeMap<String, String>) -> Option<Context> {
        Context::read(context.get(TRACEPARENT)?, context.get(TRACESTATE).map(String::as_str))
    }

    /// For a message.
    pub fn carried(&self) -> BTreeMap<String, String> {
        let mut context = BTreeMap::from([(TRACEPARENT.to_owned(), self.to_string())]);
        if let Some(state) = &self.state {
            context.insert(TRACESTATE.to_owned(), state.clone());
        }
        context
    }
}

/// As `traceparent`.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// A number of exactly so many digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == digits && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_reads_back() {
        let context = Context::read(GOOD, Some("vendor=1")).expect("readable");
        assert!(context.sampled);
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(Context::of(&context.carried()), Some(context));
    }

    #[test]
    fn what_w3c_calls_invalid_begins_a_trace_of_its_own() {
        for text in [
            "",
            "00",
            &GOOD[1..],
            &GOOD.to_uppercase(),
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01",
        ] {
            assert_eq!(Context::read(text, None), None, "{text}");
        }
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more";
        assert!(Context::read(later, Some(&"x".repeat(513))).is_some_and(|c| !c.sampled && c.state.is_none()));
    }
}
