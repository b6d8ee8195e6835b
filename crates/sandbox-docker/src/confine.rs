//! The limits that the daemon is asked for, container by container.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, ResourcesUlimits};
use whisker_sandbox::Start;

use crate::{Config, catalog::Recipe, image::Image};

/// Label of every container and network of ours; its value is the instance.
pub(crate) const LABEL: &str = "whisker.instance";

/// What an image says of itself by its labels, those of our recipes above all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Manners {
    /// It needs nothing of its root to be writable but `/tmp`.
    pub read_only: bool,
    /// It writes frames to its standard output if it is asked to.
    pub frames: bool,
    /// It compiles, and nothing else, if it is asked to.
    pub compiles: bool,
    /// It takes binary code as it is.
    pub takes_bytes: bool,
}

impl Manners {
    pub(crate) fn read(labels: &HashMap<String, String>) -> Manners {
        let says = |label: &str, value: &str| labels.get(label).is_some_and(|given| given == value);
        Manners {
            read_only: says("whisker.root", "read-only"),
            frames: says("whisker.output", "frames"),
            compiles: says("whisker.compile", "stdin"),
            takes_bytes: says("whisker.init", "bytes"),
        }
    }
}

/// What OpenWhisk's invoker shares out among the containers of a full host.
const CPU_SHARES: u64 = 1024;

/// What to create.
pub(crate) fn body(
    config: &Config,
    image: &Image,
    network: &str,
    start: &Start,
    manners: Manners,
) -> ContainerCreateBody {
    let Manners { read_only, frames, .. } = manners;
    let memory = i64::from(start.memory_mb) << 20;
    let open_files = i64::from(config.open_files);
    let mut env: Vec<String> = config.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if start.concurrent {
        env.push("__OW_ALLOW_CONCURRENT=true".to_owned());
    }
    if frames {
        env.push("WHISKER_OUTPUT=frames".to_owned());
    }
    let host = HostConfig {
        memory: Some(memory),
        // The same number: no swap.
        memory_swap: Some(memory),
        cpu_shares: Some(shares(config.user_memory_mb, start.memory_mb)),
        pids_limit: Some(config.processes.into()),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("nofile".to_owned()),
            soft: Some(open_files),
            hard: Some(open_files),
        }]),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(config.capabilities.clone()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        network_mode: Some(network.to_owned()),
        dns: Some(config.dns.iter().map(ToString::to_string).collect()),
        readonly_rootfs: Some(read_only),
        storage_opt: config
            .disk_bytes
            .filter(|_| !read_only)
            .map(|bytes| HashMap::from([("size".to_owned(), bytes.to_string())])),
        // Files there count as memory of the container. Half of it, so that a
        // full disk is met before an exhausted memory.
        tmpfs: read_only.then(|| {
            HashMap::from([("/tmp".to_owned(), format!("rw,exec,nosuid,nodev,mode=1777,size={}", memory / 2))])
        }),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(image.to_string()),
        env: Some(env),
        labels: Some(HashMap::from([(LABEL.to_owned(), config.instance.clone())])),
        // A user's image may ask for volumes and health checks; neither is had.
        healthcheck: Some(bollard::models::HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..bollard::models::HealthConfig::default()
        }),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// What to create for a compiler: a container as others are, of an image of ours,
/// that reaches nothing and knows nothing but what it reads.
pub(crate) fn compiler(config: &Config, image: &str, recipe: &Recipe) -> ContainerCreateBody {
    let start = Start { kind: String::new(), memory_mb: recipe.memory_mb, concurrent: false };
    let manners = Manners { read_only: true, ..Manners::default() };
    let mut body = body(config, &Image::new(image), "none", &start, manners);
    if let Some(host) = &mut body.host_config {
        host.dns = None;
    }
    let (env, piped) = (Some(vec!["WHISKER_COMPILE=stdin".to_owned()]), Some(true));
    ContainerCreateBody { env, open_stdin: piped, stdin_once: piped, attach_stdin: piped, ..body }
}

/// A container's part of the processors is its part of the memory.
fn shares(all_mb: u64, own_mb: u32) -> i64 {
    let at_once = (all_mb / u64::from(own_mb.max(1))).max(1);
    i64::try_from((CPU_SHARES / at_once).max(2)).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_write_to_a_disk_is_limited() {
        let mut config = Config::new("1", "{}", "/artifacts");
        config.disk_bytes = Some(1 << 30);
        let start = Start { kind: "any".to_owned(), memory_mb: 128, concurrent: false };
        for read_only in [false, true] {
            let manners = Manners { read_only, ..Manners::default() };
            let body = body(&config, &Image::new("any"), "none", &start, manners);
            let size = body.host_config.and_then(|host| host.storage_opt?.get("size").cloned());
            assert_eq!(size.as_deref(), (!read_only).then_some("1073741824"));
        }
    }

    #[test]
    fn processors_are_shared_as_memory_is() {
        for (all_mb, own_mb, expected) in
            [(1024, 256, 256), (1024, 1024, 1024), (1024, 2048, 1024), (1 << 20, 128, 2), (0, 0, 1024)]
        {
            assert_eq!(shares(all_mb, own_mb), expected, "{own_mb} of {all_mb}");
        }
    }
}
