use serde_json::{json, Error, Value};

pub fn main(args: Value) -> Result<Value, Error> {
    let greeting = format!("Grüße, 世界 and {}!", args["name"].as_str().unwrap_or_default());
    println!("{}", greeting);
    Ok(json!({ "greeting": greeting }))
}
