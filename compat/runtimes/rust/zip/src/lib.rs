mod greet;

use serde_json::{json, Error, Value};

pub fn main(args: Value) -> Result<Value, Error> {
    let name = args["name"].as_str().unwrap_or_default();
    Ok(json!({ "greeting": greet::greet(name), "data": include_str!("../data.txt").trim() }))
}
