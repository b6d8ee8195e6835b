"""What schemathesis cannot know of the API by its document alone.

Random names meet nothing: most of what is asked for would be 403 or 404. So the
namespace is mostly the key's own, and names are mostly of the few that exist
or come and go. And a function that fails is no failure of the platform: its
502, with its record, is what the document promises.
"""

import atexit
import json
import os
import random
from collections import defaultdict

import schemathesis

# Those of run.py, for reading and invoking.
NAMES = {
    "action": ["echo", "fails", "sequence", "a1", "a2"],
    "package": ["p", "p", "bound", "p1"],
    "trigger": ["t", "idle", "t1"],
    "rule": ["r", "r1"],
}
# Those that are written and deleted. Of other kinds' names there are some, too.
WRITTEN = {
    "action": ["a1", "a2", "t1"],
    "package": ["p1", "p2", "a1"],
    "trigger": ["t1", "t2", "r1"],
    "rule": ["r1", "r2", "a1"],
}
# How often what was generated stays, so that bad names are tried too.
KEPT = 0.2

records = []
statuses = defaultdict(set)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Clients are to bear members that they do not know; these tests are not."""

    def close(schema):
        if isinstance(schema, dict):
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
            for inner in schema.values():
                close(inner)
        elif isinstance(schema, list):
            for inner in schema:
                close(inner)

    for name, schema in raw_schema["components"]["schemas"].items():
        # What is sent may have them.
        if not name.endswith("Put") and name not in ("Parameter", "Reference"):
            close(schema)


@schemathesis.hook
def before_call(context, case, kwargs):
    executed = case.body.get("exec") if isinstance(case.body, dict) else None
    if isinstance(executed, dict) and isinstance(executed.get("code"), str) and executed.get("kind") != "blackbox":
        # A compiler that this machine lacks is the platform's failure, but no finding.
        executed["kind"] = "nodejs:default"
    names = case.path_parameters
    if not names:
        return
    chance = random.Random(repr((case.operation.label, sorted(names.items(), key=str), case.body, case.query)))
    web = case.operation.path.startswith("/web")
    # Some operations are tried a few times only: the first is to succeed.
    kept = KEPT if case.operation.label in statuses else 0
    for name in names:
        if chance.random() < kept:
            continue
        if name == "namespace":
            names[name] = "guest" if web else "_"
        elif name == "activation" and records:
            names[name] = chance.choice(records)
        elif name == "package" and web:
            names[name] = chance.choice(["default", "default", "p"])
        elif name in NAMES:
            written = case.method in ("PUT", "DELETE") and case.operation.path.endswith("{" + name + "}")
            names[name] = chance.choice((WRITTEN if written and not web else NAMES)[name])


@schemathesis.hook
def after_call(context, case, response):
    statuses[case.operation.label].add(response.status_code)
    if len(records) < 100:
        records.extend(response.headers.get("x-openwhisk-activation-id", []))


@schemathesis.check
def the_platform_did_not_fail(context, response, case):
    """No 5xx, save that of a function that failed, with its record."""
    told = response.status_code == 502 and "x-openwhisk-activation-id" in response.headers
    # Whether a server is ready is what is asked.
    asked = case.operation.path in ("/ready", "/invokers/ready")
    if response.status_code >= 500 and not told and not asked:
        raise AssertionError(f"the platform failed: {response.status_code} {response.text[:500]}")


@atexit.register
def tell():
    """Leaves what was met for run.py, which wants every operation to have been done."""
    with open(os.environ["STATUSES"], "w") as out:
        json.dump({label: sorted(met) for label, met in statuses.items()}, out)
