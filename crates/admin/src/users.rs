//! Users, their namespaces and keys.

use whisker_entity::{AuthKey, EntityName, Namespace, Subject};
use whisker_store::{Error, Subjects};

use crate::{Answer, Credentials, UserCommand, fresh_key, perform::chain};

/// Shortest name of a subject, in characters.
const SUBJECT_MIN_CHARS: usize = 5;

pub(crate) async fn perform(subjects: &dyn Subjects, command: UserCommand) -> Answer {
    let done = match command {
        UserCommand::Create { subject, auth, namespace, revoke, genonly, silent } => {
            let wish = match Wish::read(&subject, auth, namespace.as_deref()) {
                Ok(wish) => wish,
                Err(refused) => return refused,
            };
            let shown = Answer { lines: if silent { vec![] } else { vec![wish.key.expose()] }, ..Answer::default() };
            if genonly {
                return Answer::line(wish.key.expose());
            }
            create(subjects, wish, revoke).await.map(|refused| refused.unwrap_or(shown))
        }
        UserCommand::Delete { subject, namespace: None } => delete(subjects, subject.trim()).await,
        UserCommand::Delete { subject, namespace: Some(name) } => {
            delete_namespace(subjects, subject.trim(), name.trim()).await
        }
        UserCommand::Get { subject, all: true, .. } => get_all(subjects, &subject).await,
        UserCommand::Get { subject, namespace, all: false } => get(subjects, &subject, namespace.as_deref()).await,
        UserCommand::Whois { authkey } => whois(subjects, &authkey).await,
        UserCommand::Block { subjects: names } => return switch(subjects, &names, true).await,
        UserCommand::Unblock { subjects: names } => return switch(subjects, &names, false).await,
        UserCommand::List { namespace, pick, all, key } => {
            let most = if all { usize::MAX } else { usize::try_from(pick).unwrap_or(usize::MAX) };
            list(subjects, &namespace, most, key).await
        }
    };
    done.unwrap_or_else(|error| match error {
        Error::Missing => Answer::failed("Failed to get subject (there is none of this name)"),
        error => Answer::failed(format!("Failed ({})", chain(&error))),
    })
}

/// What is to be created.
struct Wish {
    subject: String,
    namespace: EntityName,
    key: AuthKey,
}

impl Wish {
    fn read(subject: &str, auth: Option<Credentials>, namespace: Option<&str>) -> Result<Self, Answer> {
        let subject = subject.trim();
        if subject.chars().count() < SUBJECT_MIN_CHARS {
            return Err(Answer::senseless("Subject name must be at least 5 characters"));
        }
        let namespace = namespace.unwrap_or(subject).trim();
        if namespace.is_empty() {
            return Err(Answer::senseless("Namespace must not be empty"));
        }
        let namespace = namespace
            .parse()
            .map_err(|error| Answer::senseless(format!("\"{namespace}\" cannot be a namespace: {error}")))?;
        let key = match auth {
            None => fresh_key().map_err(|error| Answer::failed(error.to_string()))?,
            Some(Credentials(text)) => given_key(&text).map_err(Answer::senseless)?,
        };
        Ok(Self { subject: subject.into(), namespace, key })
    }
}

fn given_key(text: &str) -> Result<AuthKey, &'static str> {
    let (uuid, key) = text.split_once(':').ok_or("failed to determine authorization id and key: they are uuid:key")?;
    if !is_uuid(uuid) {
        return Err("authorization id is not a valid UUID");
    }
    match key.chars().count() {
        0..AuthKey::KEY_CHARS => Err("authorization key must be at least 64 characters long"),
        AuthKey::KEY_CHARS => AuthKey::parse(text).map_err(|_| "failed to determine authorization id and key"),
        _ => Err("authorization key must not be longer than 64 characters"),
    }
}

pub(crate) fn is_uuid(text: &str) -> bool {
    let mut groups = text.split('-');
    let of = |length: usize, group: Option<&str>| {
        group.is_some_and(|group| group.len() == length && group.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    [8, 4, 4, 4, 12].into_iter().all(|length| of(length, groups.next())) && groups.next().is_none()
}

/// Creates a user, or gives one a further namespace, or a namespace a new key.
/// What was refused is told.
async fn create(subjects: &dyn Subjects, wish: Wish, revoke: bool) -> Result<Option<Answer>, Error> {
    let Wish { subject: name, namespace, key } = wish;
    let mut subject = match subjects.get(&name).await {
        Ok(subject) if subject.blocked => {
            return Ok(Some(Answer::failed("The subject you want to edit is blocked")));
        }
        Ok(subject) => subject,
        Err(Error::Missing) => Subject { subject: name, namespaces: vec![], blocked: false },
        Err(error) => return Err(error),
    };
    match subject.namespaces.iter_mut().find(|there| there.name == namespace) {
        None => subject.namespaces.push(Namespace { name: namespace.clone(), key }),
        Some(there) if revoke => there.key = key,
        Some(_) => return Ok(Some(Answer::failed("Namespace already exists"))),
    }
    match subjects.put(&subject).await {
        Ok(()) => {}
        Err(Error::Stale) => {
            let complaint = "Failed to create subject (the namespace, or the id of the key, is another's)";
            return Ok(Some(Answer::failed(complaint)));
        }
        Err(error) => return Err(error),
    }
    tracing::info!(subject.name = %subject.subject, namespace.name = %namespace, "a key was created");
    Ok(None)
}

async fn delete(subjects: &dyn Subjects, name: &str) -> Result<Answer, Error> {
    match subjects.delete(name).await {
        Ok(()) => {
            tracing::info!(subject.name = name, "a user was deleted");
            Ok(Answer::line("Subject deleted"))
        }
        Err(Error::Missing) => Ok(Answer::failed("Failed to delete subject (there is none of this name)")),
        Err(error) => Err(error),
    }
}

async fn delete_namespace(subjects: &dyn Subjects, name: &str, namespace: &str) -> Result<Answer, Error> {
    if namespace.is_empty() {
        return Ok(Answer::senseless("Namespace must not be empty"));
    }
    let mut subject = match subjects.get(name).await {
        Err(Error::Missing) => return Ok(Answer::failed("Failed to delete subject (there is none of this name)")),
        found => found?,
    };
    let before = subject.namespaces.len();
    subject.namespaces.retain(|there| there.name.as_str() != namespace);
    if subject.namespaces.len() == before {
        return Ok(Answer::failed(format!("Namespace \"{namespace}\" does not exist for \"{name}\"")));
    }
    subjects.put(&subject).await?;
    tracing::info!(subject.name = name, namespace.name = namespace, "a key was deleted");
    Ok(Answer::line("Namespace deleted"))
}

async fn get_all(subjects: &dyn Subjects, name: &str) -> Result<Answer, Error> {
    let namespaces = subjects.get(name).await?.namespaces;
    Ok(Answer::lines(namespaces.iter().map(|there| format!("{}\t{}", there.name, there.key.expose())).collect()))
}

async fn get(subjects: &dyn Subjects, name: &str, namespace: Option<&str>) -> Result<Answer, Error> {
    let wanted = namespace.unwrap_or(name);
    let subject = subjects.get(name).await?;
    let found = subject.namespaces.iter().find(|there| there.name.as_str() == wanted);
    Ok(match found {
        Some(there) => Answer::line(there.key.expose()),
        None => Answer::failed(format!("namespace \"{wanted}\" not found for \"{name}\"")),
    })
}

/// Whom a key lets in. A blocked user's lets nobody in.
async fn whois(subjects: &dyn Subjects, Credentials(text): &Credentials) -> Result<Answer, Error> {
    let unknown = || Answer::line("Subject id is not recognized");
    let Ok(key) = AuthKey::parse(text) else { return Ok(unknown()) };
    match subjects.by_uuid(key.uuid()).await {
        Ok(who) if who.key.matches(&key) => {
            Ok(Answer::lines(vec![format!("subject: {}", who.subject), format!("namespace: {}", who.namespace)]))
        }
        Ok(_) | Err(Error::Missing) => Ok(unknown()),
        Err(error) => Err(error),
    }
}

async fn switch(subjects: &dyn Subjects, names: &[String], blocked: bool) -> Answer {
    let verb = if blocked { "block" } else { "unblock" };
    let mut answer = Answer::default();
    for name in names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        let done = async {
            let subject = Subject { blocked, ..subjects.get(name).await? };
            subjects.put(&subject).await
        };
        match done.await {
            Ok(()) => {
                tracing::info!(subject.name = name, blocked, "a user was blocked or unblocked");
                answer.lines.push(format!("\"{name}\" {verb}ed successfully"));
            }
            Err(error) => {
                let why = match &error {
                    Error::Missing => "there is none of this name".to_owned(),
                    error => chain(error),
                };
                answer.complaints.push(format!("Failed to {verb} \"{name}\" ({why})"));
                answer.code = answer.code.saturating_add(1);
            }
        }
    }
    answer
}

async fn list(subjects: &dyn Subjects, namespace: &str, most: usize, only_keys: bool) -> Result<Answer, Error> {
    let all = subjects.list().await?;
    let open = all.iter().filter(|subject| !subject.blocked);
    let found = open.flat_map(|subject| subject.namespaces.iter().map(move |there| (subject, there)));
    let found = found.filter(|(_, there)| there.name.as_str() == namespace).take(most);
    let lines: Vec<_> = found
        .map(|(subject, there)| match only_keys {
            true => there.key.expose(),
            false => format!("{}\t{}", there.key.expose(), subject.subject),
        })
        .collect();
    Ok(match lines.is_empty() {
        true => Answer::line(format!("no identities found for namespace \"{namespace}\"")),
        false => Answer::lines(lines),
    })
}
