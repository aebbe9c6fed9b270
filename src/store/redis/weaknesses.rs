//! How a Redis, as it is configured, could lose what it answered. Of a cluster that is the primary that has the store's
//! keys, and no other.

use std::collections::HashMap;

use ::redis::{Cmd, cmd};

use super::link::Link;
use crate::store::StoreError;

/// Looks at what it says of itself.
pub(super) async fn look(link: &Link) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    match configured(link).await? {
        Some(settings) => found.extend(of_settings(&settings)),
        None => found.push(
            "its configuration cannot be read (CONFIG GET is refused): whether it keeps what it answered is not known"
                .to_owned(),
        ),
    }
    match link.query::<String>(cmd("INFO").arg("replication")).await? {
        Some(replication) => found.extend(of_replication(&replication)),
        None => found.push("whether it has replicas cannot be read (INFO is refused)".to_owned()),
    }
    Ok(found)
}

/// Its settings; nothing where it refuses to tell them.
async fn configured(link: &Link) -> Result<Option<HashMap<String, String>>, StoreError> {
    let mut settings = HashMap::new();
    for name in ["appendonly", "appendfsync", "maxmemory-policy"] {
        let get: &Cmd = &cmd("CONFIG").arg("GET").arg(name).to_owned();
        let Some(part) = link.query::<HashMap<String, String>>(get).await? else { return Ok(None) };
        settings.extend(part);
    }
    Ok(Some(settings))
}

fn of_settings(settings: &HashMap<String, String>) -> Vec<String> {
    let setting = |name: &str| settings.get(name).map_or("unknown", String::as_str);
    let mut found = Vec::new();
    match (setting("appendonly"), setting("appendfsync")) {
        ("yes", "always") => {}
        ("yes", other) => found.push(format!(
            "appendfsync is {other}, not always: a crash of its machine can lose the last mints and revocations"
        )),
        (other, _) => found.push(format!(
            "appendonly is {other}, not yes: a restart loses the mints and revocations since its last snapshot, or all"
        )),
    }
    match setting("maxmemory-policy") {
        "noeviction" => {}
        policy if policy.starts_with("allkeys") => found.push(format!(
            "maxmemory-policy is {policy}, not noeviction: sessions and revocations can be evicted when memory is short"
        )),
        policy => found.push(format!(
            "maxmemory-policy is {policy}, not noeviction: sessions can be evicted when memory is short"
        )),
    }
    found
}

fn of_replication(text: &str) -> Vec<String> {
    let fields: HashMap<&str, &str> = text.lines().filter_map(|line| line.trim().split_once(':')).collect();
    let mut found = Vec::new();
    if fields.get("role") == Some(&"slave") {
        found.push("it is a replica: what is new is refused".to_owned());
    }
    if let Some(replicas) = fields.get("connected_slaves").filter(|count| **count != "0") {
        found.push(format!(
            "it has {replicas} replica(s), written to after the answer: a failover can lose the last mints and \
             revocations"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(appendonly: &str, appendfsync: &str, policy: &str) -> Vec<String> {
        let all = [("appendonly", appendonly), ("appendfsync", appendfsync), ("maxmemory-policy", policy)];
        of_settings(&all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn a_redis_that_syncs_each_write_and_evicts_nothing_has_no_weakness() {
        assert_eq!(settings("yes", "always", "noeviction"), [""; 0]);
        assert_eq!(of_replication("# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"), [""; 0]);
    }

    #[test]
    fn each_weakness_is_named() {
        assert!(settings("no", "everysec", "noeviction")[0].contains("appendonly is no"));
        assert!(settings("yes", "everysec", "noeviction")[0].contains("appendfsync is everysec"));
        assert!(settings("yes", "always", "allkeys-lru")[0].contains("revocations can be evicted"));
        assert!(settings("yes", "always", "volatile-ttl")[0].contains("sessions can be evicted"));
        assert!(of_settings(&HashMap::new())[0].contains("appendonly is unknown"));
        let replicated = of_replication("role:master\r\nconnected_slaves:2\r\n");
        assert!(replicated[0].contains("2 replica(s)"), "{replicated:?}");
        assert!(of_replication("role:slave\r\n")[0].contains("it is a replica"));
    }
}
