//! Runs a Rust action: compiled into one program with it, by compile.sh.
//!
//! Orders come on standard input, answers go out on file descriptor 3, as
//! runtimes/README.md says; logs are what the program prints. A panic ends the
//! process, and the platform starts another one.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::raw::{c_char, c_int};
use std::os::unix::io::{AsRawFd, FromRawFd, RawFd};

use serde_json::{json, Map, Value};

const NOT_A_RESULT: &str = "The action did not return a dictionary or array.";

extern "C" {
    fn dup3(from: RawFd, to: RawFd, flags: i32) -> i32;
    fn putenv(variable: *mut c_char) -> c_int;
}

/// `O_CLOEXEC`: the action's children have no business with the pipes.
const CLOEXEC: i32 = 0o2_000_000;

/// Where the pipes are moved to: past what a program opens by itself so early.
const ORDERS: RawFd = 100;
const FRAMES: RawFd = 101;

fn main() {
    let (orders, mut frames) = pipes();
    send(&mut frames, "", &json!({ "ok": true }));
    let mut orders = BufReader::with_capacity(1 << 16, orders);
    let mut line = Vec::new();
    let mut environment = Environment::default();
    loop {
        line.clear();
        if orders.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
            std::process::exit(0);
        }
        let mut order: Map<String, Value> = match serde_json::from_slice(&line) {
            Ok(order) => order,
            Err(_) => {
                eprintln!("an order is no JSON");
                std::process::exit(70);
            }
        };
        let value = order.remove("value").unwrap_or_default();
        for (name, value) in &order {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            environment.set(&format!("__OW_{}", name.to_ascii_uppercase()), &text);
        }
        let id = order.get("activation_id").and_then(Value::as_str).unwrap_or_default();
        let (head, answer) = answer(run(actions::main, value));
        let _ = std::io::stdout().flush();
        send(&mut frames, &format!("{} {} ", head, id), &answer);
    }
}

/// Variables that are set again and again. The C library keeps whatever `setenv` was
/// given until the process ends, which is 200 bytes a run; so they have places of
/// their own, by name and length of the value, which are written over.
#[derive(Default)]
struct Environment(HashMap<(String, usize), Box<[u8]>>);

impl Environment {
    fn set(&mut self, name: &str, value: &str) {
        if value.contains('\0') {
            return;
        }
        let place = self.0.entry((name.to_owned(), value.len()));
        let place = place.or_insert_with(|| format!("{name}={value}\0").into_bytes().into());
        place[name.len() + 1..][..value.len()].copy_from_slice(value.as_bytes());
        // SAFETY: the text has an end, and lives as long as the process.
        unsafe { putenv(place.as_mut_ptr().cast()) };
    }
}

/// Takes the pipes away from the descriptors at which the action and its
/// children would find them.
fn pipes() -> (File, File) {
    let null = File::open("/dev/null").expect("there is a /dev/null");
    // SAFETY: nothing but this has the numbers, before or after.
    unsafe {
        let moved = dup3(0, ORDERS, CLOEXEC) >= 0 && dup3(3, FRAMES, CLOEXEC) >= 0;
        assert!(moved && dup3(null.as_raw_fd(), 0, 0) >= 0, "the pipes cannot be moved");
        // The null device may have got a low number, and goes by itself.
        if null.as_raw_fd() != 3 {
            drop(File::from_raw_fd(3));
        }
        (File::from_raw_fd(ORDERS), File::from_raw_fd(FRAMES))
    }
}

fn run<E: Display>(action: impl Fn(Value) -> Result<Value, E>, value: Value) -> Result<Value, String> {
    action(value).map_err(|error| error.to_string())
}

/// The letter of the frame, and its content.
fn answer(result: Result<Value, String>) -> (char, Value) {
    match result {
        Ok(result) if result.is_object() || result.is_array() => ('R', result),
        Ok(_) => ('F', json!({ "error": NOT_A_RESULT })),
        Err(error) => ('R', json!({ "error": error })),
    }
}

fn send(frames: &mut File, head: &str, content: &Value) {
    if frames.write_all(format!("{}{}\n", head, content).as_bytes()).is_err() {
        std::process::exit(70);
    }
}
