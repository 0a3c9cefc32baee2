//! Watches by hand and the runtime's, each across a kill -9 of the server.
use crate::NAMESPACE;
use crate::objects::config_map;
use crate::report::{Report, eventually};
use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt, reflector as mirror, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{from_value, json};

const SECRETS: usize = 10;

/// The next <count> events from <revision>, and the revision after them.
async fn events(api: &Api<ConfigMap>, revision: &str, count: usize) -> Result<(Vec<String>, String)> {
    let (mut seen, mut after) = (Vec::new(), String::new());
    let mut stream = api.watch(&WatchParams::default(), revision).await?.boxed();
    while seen.len() < count {
        let (word, object) = match stream.try_next().await? {
            Some(WatchEvent::Added(o)) => ("ADDED", o),
            Some(WatchEvent::Modified(o)) => ("MODIFIED", o),
            Some(WatchEvent::Deleted(o)) => ("DELETED", o),
            Some(WatchEvent::Bookmark(_)) => continue,
            Some(WatchEvent::Error(e)) => bail!("{e:?}"),
            None => bail!("the watch ends after {seen:?}"),
        };
        seen.push(format!("{word} {}", object.name_any()));
        after = object.resource_version().unwrap_or_default();
    }
    Ok((seen, after))
}

pub async fn check(client: &Client, report: &mut Report) -> Result<()> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let post = PostParams::default();
    let start = api.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    api.create(&post, &config_map("w1", json!({}))?).await?;
    api.create(&post, &config_map("w2", json!({}))?).await?;
    api.delete("w1", &DeleteParams::default()).await?;
    let (seen, first) = events(&api, &start, 1).await?;
    report.check("watch", seen == ["ADDED w1"], &seen);
    let (seen, _) = events(&api, &first, 2).await?;
    report.check("resume from a resourceVersion", seen == ["ADDED w2", "DELETED w1"], &seen);
    report.restart().await?;
    api.create(&post, &config_map("w3", json!({}))?).await?;
    let (seen, _) = events(&api, &first, 3).await?;
    report.check("resume after the server was killed", seen == ["ADDED w2", "DELETED w1", "ADDED w3"], &seen);
    Ok(())
}

fn secret(i: usize, value: &str) -> Result<Secret> {
    Ok(from_value(json!({"metadata": {"name": format!("s{i}")}, "data": {"n": value}}))?)
}

fn holds(object: &Secret, value: &[u8]) -> bool {
    object.data.as_ref().and_then(|d| d.get("n")).is_some_and(|b| b.0 == value)
}

/// What a reflector mirrors, by the runtime's way of listing, before and after a kill -9.
async fn mirrored(client: &Client, report: &mut Report, name: &str, config: watcher::Config) -> Result<()> {
    let api = Api::<Secret>::namespaced(client.clone(), NAMESPACE);
    let post = PostParams::default();
    let (store, writer) = mirror::store();
    let stream = mirror::reflector(writer, watcher(api.clone(), config)).default_backoff().touched_objects();
    let task = tokio::spawn(stream.for_each(|_| async {}));
    for i in 0..SECRETS {
        api.create(&post, &secret(i, "YQ==")?).await?;
    }
    let all = eventually(async || store.len() == SECRETS).await;
    report.restart().await?;
    for i in 1..SECRETS {
        api.replace(&format!("s{i}"), &post, &secret(i, "Yg==")?).await?;
    }
    api.delete("s0", &DeleteParams::default()).await?;
    let same = eventually(async || store.len() == SECRETS - 1 && store.state().iter().all(|s| holds(s, b"b"))).await;
    report.check(name, all && same, &store.state());
    task.abort();
    for i in 1..SECRETS {
        api.delete(&format!("s{i}"), &DeleteParams::default()).await?;
    }
    Ok(())
}

pub async fn reflector(client: &Client, report: &mut Report) -> Result<()> {
    let listed = watcher::Config::default();
    mirrored(client, report, "a reflector sees everything after the server was killed", listed).await?;
    let streamed = watcher::Config::default().streaming_lists();
    mirrored(client, report, "a reflector by streaming lists", streamed).await
}
