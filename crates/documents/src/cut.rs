//! Making a record shorter.

use whisker_entity::{Activation, Response};

/// What takes the place of the log lines that are left out.
const CUT: &str = "Logs were truncated because the database takes no document of this size.";
/// What takes the place of the result.
const NO_RESULT: &str = "The result was not kept because the database takes no document of this size.";

/// Leaves out the second half of the logs, or else the result. `false` if
/// there is nothing left to leave out.
pub fn cut(record: &mut Activation) -> bool {
    let cut = record.logs.last().is_some_and(|line| line == CUT);
    let lines = record.logs.len() - usize::from(cut);
    if lines > 0 {
        // By bytes: one line may be all of it.
        let bytes: usize = record.logs[..lines].iter().map(String::len).sum();
        let mut room = bytes / 2;
        let kept = record.logs[..lines].iter().take_while(|line| {
            let fits = line.len() <= room;
            room = room.saturating_sub(line.len());
            fits
        });
        let kept = kept.count().min(lines - 1);
        record.logs.truncate(kept);
        record.logs.push(CUT.to_owned());
        return true;
    }
    let result = record.response.result.as_deref().map_or(0, |result| result.get().len());
    if result > NO_RESULT.len() + 100 {
        record.response = Response { size: record.response.size, ..Response::error(record.response.status, NO_RESULT) };
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use whisker_store::testing::samples::{id, record};

    use super::*;

    #[test]
    fn logs_go_first_and_then_the_result() {
        let mut long = record("ns", "ns/a", id(1), 1);
        long.logs = vec!["x".repeat(100); 8];
        long.response.result = serde_json::value::to_raw_value(&"y".repeat(1000)).ok();
        let mut lines = Vec::new();
        while cut(&mut long) {
            lines.push(long.logs.len());
        }
        assert_eq!(lines, [5, 3, 2, 1, 1], "the notice is one of them");
        assert_eq!(long.logs, [CUT]);
        assert!(long.response.result.as_deref().unwrap().get().contains(NO_RESULT));
        let small = Arc::new(long);
        assert!(!cut(&mut Activation::clone(&small)));
    }
}
