//! What is typed, and what it says and does, on a store in memory.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use clap::{FromArgMatches, Subcommand};
use whisker_admin::{Answer, Command, Parts, perform};
use whisker_secrets::{Algorithm, Key, Secrets};
use whisker_store::{Document, Entities, Memory, Subjects, testing::samples};

const KEY: &str =
    "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

fn parse(line: &str) -> Result<Command, clap::Error> {
    let words = std::iter::once("admin").chain(line.split_whitespace());
    let matches = Command::augment_subcommands(clap::Command::new("admin")).try_get_matches_from(words)?;
    Command::from_arg_matches(&matches)
}

struct Admin(Arc<Memory>, Arc<Secrets>);

impl Admin {
    fn new() -> Admin {
        Admin(Arc::new(Memory::new()), Arc::default())
    }

    async fn ask(&self, line: &str) -> Answer {
        // As it travels to a server.
        let command = serde_json::to_string(&parse(line).unwrap()).unwrap();
        let parts = Parts { subjects: self.0.clone(), entities: self.0.clone(), secrets: self.1.clone() };
        perform(&parts, serde_json::from_str(&command).unwrap()).await
    }

    /// Does what is typed, and compares what it says: lines, or complaints
    /// after their exit code.
    async fn says(&self, line: &str, said: &str) {
        let Answer { lines, complaints, code } = self.ask(line).await;
        let all: Vec<String> = match code {
            0 => lines.into_iter().chain(complaints).collect(),
            code => std::iter::once(code.to_string()).chain(lines).chain(complaints).collect(),
        };
        assert_eq!(all.join("\n"), said, "{line}");
    }
}

#[tokio::test]
async fn a_users_life() {
    let admin = Admin::new();
    let key = admin.ask("user create anna-b").await.lines[0].clone();
    admin.says("user get anna-b", &key).await;
    admin.says("user create anna-b", "1\nNamespace already exists").await;
    admin.says(&format!("user create anna-b --namespace space -u {KEY}"), KEY).await;
    admin.says("user get anna-b --namespace space", KEY).await;
    admin.says("user get anna-b --all", &format!("anna-b\t{key}\nspace\t{KEY}")).await;
    admin.says("user get anna-b --namespace none", "1\nnamespace \"none\" not found for \"anna-b\"").await;
    admin.says(&format!("user whois {KEY}"), "subject: anna-b\nnamespace: space").await;
    admin.says(&format!("user whois {key}x"), "Subject id is not recognized").await;
    admin.says("user whois nonsense", "Subject id is not recognized").await;
    admin.says("user list space", &format!("{KEY}\tanna-b")).await;
    admin.says("user list space -k -a", KEY).await;
    admin.says("user list none", "no identities found for namespace \"none\"").await;
    let new = admin.ask("user create anna-b --revoke").await.lines[0].clone();
    assert_ne!(new, key);
    admin.says(&format!("user whois {key}"), "Subject id is not recognized").await;
    admin.says(&format!("user whois {new}"), "subject: anna-b\nnamespace: anna-b").await;
    admin.says("user create anna-b --revoke --silent", "").await;
    admin.says("user delete anna-b --namespace space", "Namespace deleted").await;
    let complaint = "1\nNamespace \"space\" does not exist for \"anna-b\"";
    admin.says("user delete anna-b --namespace space", complaint).await;
    admin.says("user delete anna-b", "Subject deleted").await;
    admin.says("user delete anna-b", "1\nFailed to delete subject (there is none of this name)").await;
    admin.says("user get anna-b", "1\nFailed to get subject (there is none of this name)").await;
}

#[tokio::test]
async fn blocked_users_stay_as_they_are_until_they_are_unblocked() {
    let admin = Admin::new();
    admin.says(&format!("user create anna-b -u {KEY}"), KEY).await;
    admin
        .says(
            "user block anna-b nobody other",
            "2\n\"anna-b\" blocked successfully\nFailed to block \"nobody\" (there is none of this name)\n\
             Failed to block \"other\" (there is none of this name)",
        )
        .await;
    admin.says(&format!("user whois {KEY}"), "Subject id is not recognized").await;
    admin.says("user list anna-b", "no identities found for namespace \"anna-b\"").await;
    admin.says("user create anna-b --revoke", "1\nThe subject you want to edit is blocked").await;
    admin.says("user get anna-b", KEY).await;
    admin.says("user unblock anna-b", "\"anna-b\" unblocked successfully").await;
    admin.says(&format!("user whois {KEY}"), "subject: anna-b\nnamespace: anna-b").await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let admin = Admin::new();
    let (uuid, key) = KEY.split_once(':').unwrap();
    for (line, complaint) in [
        ("user create anna".to_owned(), "Subject name must be at least 5 characters"),
        (format!("user create anna-b -u {uuid}"), "failed to determine authorization id and key: they are uuid:key"),
        (format!("user create anna-b -u {}:{key}", &uuid[1..]), "authorization id is not a valid UUID"),
        (
            format!("user create anna-b -u {uuid}:{}", &key[1..]),
            "authorization key must be at least 64 characters long",
        ),
        (format!("user create anna-b -u {KEY}x"), "authorization key must not be longer than 64 characters"),
        (
            "limits set anna-b --minActionLogs 2 --maxActionLogs 1".to_owned(),
            "minActionLogs is more than maxActionLogs",
        ),
    ] {
        admin.says(&line, &format!("2\n{complaint}")).await;
    }
    assert_eq!(admin.ask("user create anna-b --namespace a/b").await.code, 2);
    assert_eq!(admin.ask("limits set a/b --firesPerMinute 1").await.code, 2);
    assert!(Subjects::list(&*admin.0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_namespace_and_a_uuid_are_one_users() {
    let admin = Admin::new();
    admin.ask(&format!("user create anna-b --namespace space -u {KEY}")).await;
    let complaint = "1\nFailed to create subject (the namespace, or the id of the key, is another's)";
    admin.says("user create berta --namespace space", complaint).await;
    admin.says(&format!("user create berta -u {KEY}"), complaint).await;
}

#[tokio::test]
async fn genonly_stores_nothing() {
    let admin = Admin::new();
    assert_eq!(admin.ask("user create anna-b --genonly").await.lines.len(), 1);
    admin.says(&format!("user create anna-b -g -u {KEY}"), KEY).await;
    assert!(Subjects::list(&*admin.0).await.unwrap().is_empty());
}

#[tokio::test]
async fn limits_are_set_one_by_one_and_shown_as_wskadmin_does() {
    let admin = Admin::new();
    admin.says("limits get space", "No limits found, default system limits apply").await;
    admin.says("limits delete space", "1\nFailed to delete limits (there are none)").await;
    let set = "limits set space --invocationsPerMinute 1 --allowedKinds nodejs:20 python:3.11 --storeActivations no";
    admin.says(set, "Limits successfully set for \"space\"").await;
    let all = "limits set space --firesPerMinute 2 --concurrentInvocations 3 --minActionMemory 4 --maxActionMemory 5 \
               --minActionLogs 6 --maxActionLogs 7 --minActionTimeout 8 --maxActionTimeout 9 --minActionConcurrency 10 \
               --maxActionConcurrency 11 --maxParameterSize 1MB --maxPayloadSize 2KB --truncationSize 3B";
    admin.ask(all).await;
    admin
        .says(
            "limits get space",
            "invocationsPerMinute = 1\nfiresPerMinute = 2\nconcurrentInvocations = 3\n\
             allowedKinds = ['nodejs:20', 'python:3.11']\nstoreActivations = False\nminActionMemory = 4\n\
             maxActionMemory = 5\nminActionLogs = 6\nmaxActionLogs = 7\nminActionTimeout = 8\nmaxActionTimeout = 9\n\
             minActionConcurrency = 10\nmaxActionConcurrency = 11\nmaxParameterSize = 1 MB\nmaxPayloadSize = 2 KB\n\
             truncationSize = 3 B",
        )
        .await;
    admin.says("limits delete space", "Limits deleted").await;
    admin.says("limits get space", "No limits found, default system limits apply").await;
}

#[test]
fn credentials_stay_out_of_debug_output() {
    let command = parse(&format!("user create anna-b -u {KEY}")).unwrap();
    assert!(!format!("{command:?}").contains("23bc46b1"));
}

#[test]
fn wrong_usage_is_told_before_a_store_is_opened() {
    for line in ["", "user", "user block", "user list space -p 0", "limits set", "limits set s --maxPayloadSize 1"] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[tokio::test]
async fn parameters_get_the_newest_key() {
    let key = |byte: char| Key::parse(Algorithm::Aes256, &format!("{}=", byte.to_string().repeat(43))).unwrap();
    let with = |keys: &[char]| {
        let secrets = Secrets::new(keys.iter().copied().map(key));
        Arc::new(secrets.encrypting_with(Algorithm::Aes256).unwrap())
    };
    let mut admin = Admin::new();
    admin.says("secrets renew", "1\nthere is no key to encrypt with: see --parameter-encryption").await;

    let store = admin.0.clone();
    let mut action = samples::action("ns/pkg/act", "code", 1);
    action.parameters.set_value("a", "clear");
    let Document::Package(mut package) = samples::package("ns/pkg", None, false, 2) else { panic!("another kind") };
    package.parameters.set_value("b", 7);
    let locked = with(&['E']).lock(package.parameters.clone()).unwrap();
    let mut lost = package.clone();
    lost.name = samples::parse("lost");
    lost.parameters = with(&['I']).lock(package.parameters.clone()).unwrap();
    package.parameters = locked;
    for document in [
        Document::Action(action),
        Document::Action(samples::action("ns/plain", "code", 3)),
        Document::Package(package),
        Document::Package(lost.clone()),
        samples::trigger("ns/t", 4),
    ] {
        Entities::put(&*store, &document, None).await.unwrap();
    }
    admin.1 = with(&['A', 'E']);
    let left = "left as they are, since no key fits: 1\nns/lost";
    admin.says("secrets renew", &format!("1\nwritten: 0 users, 2 actions and packages\n{left}")).await;
    admin.says("secrets renew", &format!("1\nwritten: 0 users, 0 actions and packages\n{left}")).await;

    let only = with(&['A']);
    for (name, key, value) in [("ns/pkg/act", "a", "\"clear\""), ("ns/pkg", "b", "7")] {
        let stored = Entities::get(&*store, &samples::parse(name)).await.unwrap();
        let parameters = match stored.document {
            Document::Action(action) => action.parameters,
            Document::Package(package) => package.parameters,
            other => panic!("{other:?}"),
        };
        let text = serde_json::value::to_raw_value(parameters.get(key).unwrap()).unwrap();
        assert_eq!(only.unlock("aes-256", &text).unwrap().unwrap().get(), value);
    }
    let stored = Entities::get(&*store, &samples::parse("ns/lost")).await.unwrap();
    assert_eq!(stored.document, Document::Package(lost));
}
