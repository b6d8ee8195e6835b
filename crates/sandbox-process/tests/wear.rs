//! What a long life brings: many runs in one process, many files in the server's.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{fs::File, iter};

use common::{PATIENCE, loaded, sandbox_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use whisker_sandbox::{Container, testing::contract};

/// Functions that answer how much memory they hold, in kB, besides files; and by what
/// activation they are run, as they and their children see it.
const FUNCTIONS: [(&str, &str); 5] = [
    (
        "nodejs:20",
        "const text = () => require('fs').readFileSync('/proc/self/status', 'utf8');
         const child = () => require('child_process').execSync('printenv __OW_ACTIVATION_ID').toString();
         const main = args => !args.ask ? {} :
           [Number(/RssAnon:\\s*(\\d+)/.exec(text())[1]), process.env.__OW_ACTIVATION_ID, child().trim()];",
    ),
    (
        "python:3.11",
        "import os, subprocess
def main(args):
    if 'ask' not in args:
        return {}
    held = [line.split()[1] for line in open('/proc/self/status') if 'RssAnon' in line]
    child = subprocess.check_output(['printenv', '__OW_ACTIVATION_ID'], text=True)
    return [int(held[0]), os.environ['__OW_ACTIVATION_ID'], child.strip()]",
    ),
    (
        "ruby:2.5",
        "def main(args)
           return {} unless args['ask']
           held = File.read('/proc/self/status')[/RssAnon:\\s*(\\d+)/, 1].to_i
           [held, ENV['__OW_ACTIVATION_ID'], `printenv __OW_ACTIVATION_ID`.strip]
         end",
    ),
    (
        "php:8.1",
        "<?php function main(array $args): array {
           if (!isset($args['ask'])) return [];
           preg_match('/RssAnon:\\s*(\\d+)/', file_get_contents('/proc/self/status'), $found);
           return [(int) $found[1], getenv('__OW_ACTIVATION_ID'), trim(shell_exec('printenv __OW_ACTIVATION_ID'))];
         }",
    ),
    (
        "rust:1.34",
        "extern crate serde_json;
         use serde_json::{json, Error, Value};
         pub fn main(args: Value) -> Result<Value, Error> {
             if args.get(\"ask\").is_none() { return Ok(json!({})); }
             let text = std::fs::read_to_string(\"/proc/self/status\").unwrap();
             let line = text.lines().find(|line| line.starts_with(\"RssAnon\")).unwrap();
             let held: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
             let child = std::process::Command::new(\"printenv\").arg(\"__OW_ACTIVATION_ID\").output().unwrap();
             let child = String::from_utf8(child.stdout).unwrap();
             Ok(json!([held, std::env::var(\"__OW_ACTIVATION_ID\").unwrap(), child.trim()]))
         }",
    ),
];

/// By then a runtime has what it keeps.
const WARM: u32 = 4_000;
const MORE: u32 = 20_000;

/// 50 bytes a run, of which the variables of one are 90 in the environment.
const MOST_KB: i64 = 1_000;

#[tokio::test]
async fn a_run_leaves_nothing_in_memory() {
    let sandbox = sandbox_with(|_| {});
    for (kind, code) in FUNCTIONS {
        let container = loaded(&sandbox, kind, 256, code).await;
        runs(&*container, 1, WARM).await;
        let before = held(&*container, WARM + 1).await;
        runs(&*container, WARM + 2, WARM + MORE).await;
        let after = held(&*container, WARM + MORE + 1).await;
        assert!(before > 0 && after - before < MOST_KB, "{kind}: {before} kB, then {after} kB");
        container.destroy().await;
    }
}

async fn runs(container: &dyn Container, from: u32, to: u32) {
    for number in from..=to {
        contract::answer(container.run(contract::run(number.into(), &json!({})), PATIENCE).await);
        container.logs(contract::activation(number.into()), 1000).await;
    }
}

/// What it holds, once it is asked in a run of this number, and knows of that.
async fn held(container: &dyn Container, number: u32) -> i64 {
    let answer = contract::answer(container.run(contract::run(number.into(), &json!({ "ask": true })), PATIENCE).await);
    container.logs(contract::activation(number.into()), 1000).await;
    let id = contract::activation(number.into()).to_string();
    assert_eq!((answer[1].as_str(), answer[2].as_str()), (Some(&*id), Some(&*id)), "{answer}");
    answer[0].as_i64().unwrap()
}

/// A container may have a thousand, of which those that its server has are none.
#[tokio::test]
async fn containers_start_however_many_files_the_server_has_open() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let open: Vec<File> = iter::repeat_with(|| File::open("/dev/null").unwrap()).take(2_000).collect();
    let sandbox = sandbox_with(|_| {});
    let code = "import os, resource\ndef main(args):
    return [len(os.listdir('/proc/self/fd')), *resource.getrlimit(resource.RLIMIT_NOFILE)]";
    let container = loaded(&sandbox, "python:3.11", 128, code).await;
    drop(open);
    let answer = contract::answer(container.run(contract::run(2, &json!({})), PATIENCE).await);
    assert!(answer[0].as_u64().unwrap() < 20, "{answer}");
    assert_eq!((answer[1].as_u64(), answer[2].as_u64()), (Some(1024), Some(1024)));
    container.destroy().await;
}
