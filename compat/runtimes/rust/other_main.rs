use serde_json::{json, Error, Value};

pub fn niam(args: Value) -> Result<Value, Error> {
    Ok(json!({ "niam": args }))
}
