//! Rows of faults.md that are played on every backend, with the same calls.

use serde_json::json;
use whisker_testkit::{Builder, Request, Server};

/// Row 36: shell metacharacters in names, parameters, environment and headers.
pub fn metacharacters_are_text(server: &Server) {
    let guest = server.guest();
    let mark = server.data_dir().join("pwned");
    let nasty =
        format!("$(touch {0}) `touch {0}` ; touch {0} | touch {0} && touch {0} # '\" \\ %00 ${{IFS}}", mark.display());
    let code = "function main(p) { return { body: { given: p.given, header: p.__ow_headers && p.__ow_headers['x-nasty'], env: process.env.NASTY } } }";
    for name in ["a;b", "a|b", "$(a)", "`a`"] {
        let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        guest.put(&format!("actions/{escaped}"), &json!({"exec": {"kind": "nodejs:20", "code": code}})).refusal(400);
    }
    guest.action(
        "nasty",
        &json!({
            "exec": {"kind": "nodejs:20", "code": code},
            "parameters": [{"key": "given", "value": nasty}, {"key": "NASTY", "value": nasty, "init": true}],
            "annotations": [{"key": "web-export", "value": true}],
        }),
    );
    let request = Request::new("GET", "/api/v1/web/guest/default/nasty.json").header("x-nasty", nasty.clone());
    let answer = server.anyone().send(&request).expect(200);
    let seen = &answer["body"];
    assert_eq!(
        (&seen["given"], &seen["header"], &seen["env"]),
        (&json!(nasty), &json!(nasty), &json!(nasty)),
        "{answer}"
    );
    assert!(!mark.exists(), "something took it for a command");
    eprintln!("row 36: inert in names, parameters, environment and headers");
}

/// Row 38: what one action leaves, another does not find.
pub fn nothing_is_left_for_others(settings: Builder) {
    let server = settings.flag("--container-memory", "512 MB").switch("--no-prewarm").start();
    let code = "import os\ndef main(args):\n    found = []\n    for top in ('/tmp', '/var/tmp', '/dev/shm', '/action'):\n        for folder, _, files in os.walk(top):\n            found += [os.path.join(folder, f) for f in files]\n    for folder in ('/tmp', '/dev/shm'):\n        open(folder + '/secret-of-' + args['who'], 'w').write('x' * 1000)\n    return {'found': [f for f in found if 'secret' in f]}";
    let mut looks = 0;
    // Two places for four actions: each is made anew many times.
    for client in [server.guest(), server.system()] {
        client.python("one", code);
        client.python("two", code);
    }
    for _ in 0..3 {
        for (who, client) in [("guest", server.guest()), ("system", server.system())] {
            for name in ["one", "two"] {
                let me = format!("{who}-{name}");
                let found = client.result(name, &json!({"who": me}))["found"].clone();
                let files = found.as_array().expect("a list of files");
                let strange =
                    files.iter().filter(|file| !file.as_str().is_some_and(|file| file.ends_with(&me))).count();
                assert_eq!(strange, 0, "{me} sees {found}");
                looks += 1;
            }
        }
    }
    eprintln!("row 38: 0 files of others in {looks} looks");
}
