use serde_json::{json, Error, Value};

pub fn main(_args: Value) -> Result<Value, Error> {
    Ok(json!([1, "two", { "three": 3 }]))
}
