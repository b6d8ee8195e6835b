pub fn main(args: Value -> Result {
