//! A function that calls the API which runs it.

use serde_json::{Value, json};
use whisker_testkit::Client;

/// What `openwhisk` and every other client inside of a function does.
const CALLS_BACK: &str = "
import base64, os, urllib.request
def main(args):
    url = os.environ['__OW_API_HOST'] + '/api/v1/namespaces/_/actions'
    key = base64.b64encode(os.environ['__OW_API_KEY'].encode()).decode()
    request = urllib.request.Request(url, headers={'Authorization': 'Basic ' + key})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return {'status': answer.status, 'actions': answer.read().decode().count('calls-back')}
";

/// Has a function list the actions of its own namespace.
pub fn back(guest: &Client) -> Value {
    let annotations = json!([{"key": "provide-api-key", "value": true}]);
    guest.action(
        "calls-back",
        &json!({"exec": {"kind": "python:3.11", "code": CALLS_BACK}, "annotations": annotations}),
    );
    guest.result("calls-back", &json!({}))
}
