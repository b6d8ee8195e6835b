//! What can be asked, as it is typed: the names are wskadmin's.

use std::{fmt, str::FromStr};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use whisker_entity::{ByteSize, NamespaceLimits};

/// A thing to administer.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum Command {
    /// Manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Manage namespace-specific limits
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// Manage what is encrypted where it is kept
    #[command(subcommand)]
    Secrets(SecretsCommand),
}

/// What can be done with what is encrypted.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum SecretsCommand {
    /// Encrypt all users' keys and all parameters with the newest key: those in clear, and those of older keys
    Renew,
}

/// What of the store a command may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It only looks.
    Nothing,
    /// Users and limits.
    Users,
    /// Actions and packages as well.
    Everything,
}

/// What can be done with users.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum UserCommand {
    /// Create a user, or a namespace of one, and show the authorization key
    Create {
        /// The subject to create
        subject: String,
        /// The uuid:key to initialize the subject authorization key with
        #[arg(short = 'u', long)]
        auth: Option<Credentials>,
        /// Create key for given namespace instead (defaults to subject id)
        #[arg(long, help = NAMESPACE_CREATE)]
        namespace: Option<String>,
        /// Revoke existing key and create a new one
        #[arg(short, long)]
        revoke: bool,
        /// Generate a uuid and key but do not store them
        #[arg(short, long)]
        genonly: bool,
        /// Do not show the new key
        #[arg(short, long)]
        silent: bool,
    },
    /// Delete a user; what its namespaces hold stays
    Delete {
        /// The subject to delete
        subject: String,
        /// Delete key for given namespace only (also -ns)
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Get authorization key for user
    Get {
        /// The subject to get key for
        subject: String,
        /// The namespace to get the key for, defaults to subject id (also -ns)
        #[arg(long)]
        namespace: Option<String>,
        /// List all namespaces and their keys
        #[arg(short, long)]
        all: bool,
    },
    /// Identify user from an authorization key
    Whois {
        /// The credentials to look up
        authkey: Credentials,
    },
    /// Block one or more users
    Block {
        /// One or more users to block
        #[arg(required = true)]
        subjects: Vec<String>,
    },
    /// Unblock one or more users
    Unblock {
        /// One or more users to unblock
        #[arg(required = true)]
        subjects: Vec<String>,
    },
    /// List authorization keys associated with a namespace
    List {
        /// The namespace to look up
        namespace: String,
        /// Show no more than N identities
        #[arg(short, long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
        pick: u32,
        /// Show all identities
        #[arg(short, long)]
        all: bool,
        /// Show only the keys
        #[arg(short, long)]
        key: bool,
    },
}

const NAMESPACE_CREATE: &str = "Create key for given namespace instead, defaults to subject id (also -ns)";

/// What can be done with the limits of namespaces.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum LimitsCommand {
    /// Set limits for a given namespace; those not named stay
    Set {
        /// The namespace to set limits for
        namespace: String,
        /// Which.
        #[command(flatten)]
        limits: Box<SetLimits>,
    },
    /// Get limits for a given namespace (if none exist, system defaults apply)
    Get {
        /// The namespace to get limits for
        namespace: String,
    },
    /// Delete limits for a given namespace (system defaults apply)
    Delete {
        /// The namespace to delete limits for
        namespace: String,
    },
}

impl Command {
    /// What it may change.
    pub fn changes(&self) -> Change {
        match self {
            Self::User(UserCommand::Create { genonly: true, .. })
            | Self::User(UserCommand::Get { .. } | UserCommand::Whois { .. } | UserCommand::List { .. })
            | Self::Limits(LimitsCommand::Get { .. }) => Change::Nothing,
            Self::User(UserCommand::Create { .. } | UserCommand::Delete { .. })
            | Self::User(UserCommand::Block { .. } | UserCommand::Unblock { .. })
            | Self::Limits(LimitsCommand::Set { .. } | LimitsCommand::Delete { .. }) => Change::Users,
            Self::Secrets(SecretsCommand::Renew) => Change::Everything,
        }
    }

    /// Whether it reads all that there is, and can be broken off.
    pub(crate) fn is_long(&self) -> bool {
        matches!(self, Self::Secrets(SecretsCommand::Renew))
    }
}

/// `uuid:key`, as it was typed: right or wrong, it is not shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credentials(pub(crate) String);

impl FromStr for Credentials {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The members of a limits document that can be set.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[command(rename_all = "camelCase")]
#[serde(rename_all = "camelCase", default)]
pub struct SetLimits {
    /// Invocations per minute allowed
    #[arg(long, value_name = "N")]
    pub(crate) invocations_per_minute: Option<u32>,
    /// Trigger fires per minute allowed
    #[arg(long, value_name = "N")]
    pub(crate) fires_per_minute: Option<u32>,
    /// Concurrent invocations allowed for this namespace
    #[arg(long, value_name = "N")]
    pub(crate) concurrent_invocations: Option<u32>,
    /// List of runtime kinds allowed in this namespace
    #[arg(long, value_name = "KIND", num_args = 1.., value_delimiter = ',')]
    pub(crate) allowed_kinds: Option<Vec<String>>,
    /// Enable or disable storing of activations for this namespace
    #[arg(long, value_name = "yes|no", value_parser = boolean)]
    pub(crate) store_activations: Option<bool>,
    /// Minimum action memory size for this namespace
    #[arg(long, value_name = "MB")]
    pub(crate) min_action_memory: Option<u32>,
    /// Maximum action memory size for this namespace
    #[arg(long, value_name = "MB")]
    pub(crate) max_action_memory: Option<u32>,
    /// Minimum activation log size for this namespace
    #[arg(long, value_name = "MB")]
    pub(crate) min_action_logs: Option<u32>,
    /// Maximum activation log size for this namespace
    #[arg(long, value_name = "MB")]
    pub(crate) max_action_logs: Option<u32>,
    /// Minimum action time limit for this namespace
    #[arg(long, value_name = "MS")]
    pub(crate) min_action_timeout: Option<u64>,
    /// Maximum action time limit for this namespace
    #[arg(long, value_name = "MS")]
    pub(crate) max_action_timeout: Option<u64>,
    /// Minimum action concurrency limit for this namespace
    #[arg(long, value_name = "N")]
    pub(crate) min_action_concurrency: Option<u32>,
    /// Maximum action concurrency limit for this namespace
    #[arg(long, value_name = "N")]
    pub(crate) max_action_concurrency: Option<u32>,
    /// Maximum parameter size for this namespace
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_parameter_size: Option<ByteSize>,
    /// Maximum payload size for this namespace
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_payload_size: Option<ByteSize>,
    /// Activation truncation size for this namespace
    #[arg(long, value_name = "SIZE")]
    pub(crate) truncation_size: Option<ByteSize>,
}

impl SetLimits {
    /// These over the limits there are.
    pub(crate) fn over(self, there: NamespaceLimits) -> NamespaceLimits {
        NamespaceLimits {
            invocations_per_minute: self.invocations_per_minute.or(there.invocations_per_minute),
            concurrent_invocations: self.concurrent_invocations.or(there.concurrent_invocations),
            fires_per_minute: self.fires_per_minute.or(there.fires_per_minute),
            allowed_kinds: self.allowed_kinds.or(there.allowed_kinds),
            store_activations: self.store_activations.or(there.store_activations),
            min_action_memory: self.min_action_memory.or(there.min_action_memory),
            max_action_memory: self.max_action_memory.or(there.max_action_memory),
            min_action_logs: self.min_action_logs.or(there.min_action_logs),
            max_action_logs: self.max_action_logs.or(there.max_action_logs),
            min_action_timeout: self.min_action_timeout.or(there.min_action_timeout),
            max_action_timeout: self.max_action_timeout.or(there.max_action_timeout),
            min_action_concurrency: self.min_action_concurrency.or(there.min_action_concurrency),
            max_action_concurrency: self.max_action_concurrency.or(there.max_action_concurrency),
            max_parameter_size: self.max_parameter_size.or(there.max_parameter_size),
            max_payload_size: self.max_payload_size.or(there.max_payload_size),
            truncation_size: self.truncation_size.or(there.truncation_size),
            ..there
        }
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("{text} is not a valid boolean")),
    }
}
