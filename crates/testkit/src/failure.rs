//! A test that fails, told from its end: what its servers said is long, and of
//! a long report only the end is kept in many places.

use std::{cell::RefCell, panic, sync::Once, thread};

thread_local! {
    /// Why this thread panicked last.
    static WHY: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has the reason of a panic remembered, from now on.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            WHY.with_borrow_mut(|why| *why = info.to_string());
            before(info);
        }));
    });
}

/// If the test fails: what one that took part in it said, and then, again, why.
pub(crate) fn tell(who: &str, said: impl FnOnce() -> String) {
    if thread::panicking() {
        WHY.with_borrow(|why| eprintln!("{who}:\n{}\nthe test failed:\n{why}\n", said()));
    }
}
