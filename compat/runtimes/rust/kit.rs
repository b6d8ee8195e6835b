//! Does what `do` says; ../README.md lists the deeds.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{json, Map, Value};

static COUNT: AtomicU64 = AtomicU64::new(0);

pub fn main(args: Value) -> Result<Value, std::io::Error> {
    let text = |name: &str| args[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| args[name].as_u64().unwrap_or_default() as usize;
    Ok(match args["do"].as_str() {
        Some("count") => json!({ "count": COUNT.fetch_add(1, Ordering::Relaxed) + 1 }),
        Some("log") => {
            for line in args["lines"].as_array().into_iter().flatten() {
                let text = line[1].as_str().unwrap_or_default();
                match line[0].as_str() {
                    Some("stdout") => println!("{}", text),
                    _ => eprintln!("{}", text),
                }
            }
            json!({})
        }
        Some("tail") => {
            print!("{}", text("text"));
            json!({})
        }
        Some("flood") => {
            let line = "x".repeat(number("width"));
            for _ in 0..number("lines") {
                println!("{}", line);
            }
            json!({ "lines": number("lines") })
        }
        Some("env") => {
            let names = args["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
            names.map(|name| (name.to_owned(), json!(std::env::var(name).ok()))).collect::<Map<_, _>>().into()
        }
        Some("make") => json!({ "text": "x".repeat(number("bytes")) }),
        Some("throw") => return Err(std::io::Error::new(std::io::ErrorKind::Other, "boom")),
        Some("exit") => {
            println!("before the exit");
            std::process::exit(3)
        }
        Some("hang") => {
            println!("before the wait");
            loop {
                std::thread::park()
            }
        }
        Some("hog") => {
            let mut kept = Vec::new();
            loop {
                kept.push("1".repeat(1 << 20))
            }
        }
        Some("number") => json!(5),
        Some("text") => json!("five"),
        Some("nothing") => Value::Null,
        Some("list") => json!([1, "two", { "three": 3 }]),
        Some("error") => json!({ "error": args["error"] }),
        Some("read") => json!({ "text": std::fs::read_to_string(text("path"))? }),
        Some("write") => json!({ "wrote": std::fs::write(text("path"), text("text")).is_ok() }),
        Some("stdin") => {
            let mut input = String::new();
            std::io::stdin().read_to_string(&mut input)?;
            json!({ "stdin": input })
        }
        _ => panic!("what?"),
    })
}
