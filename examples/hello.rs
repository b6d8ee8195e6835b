extern crate serde_json;

use serde_json::{json, Error, Value};

pub fn main(args: Value) -> Result<Value, Error> {
    let name = args["name"].as_str().unwrap_or("world");
    println!("greeting {}", name);
    Ok(json!({ "greeting": format!("Hello, {}!", name) }))
}
