//! Lists, writes, patches and what is refused.
use crate::NAMESPACE;
use crate::report::{Report, eventually};
use anyhow::Result;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client, Error, ResourceExt};
use serde_json::{Value, from_value, json};

pub fn config_map(name: &str, data: Value) -> Result<ConfigMap> {
    Ok(from_value(json!({"metadata": {"name": name}, "data": data}))?)
}

pub async fn namespace(client: &Client) -> Result<()> {
    let body = from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &body).await?;
    Ok(())
}

/// The Status of a refusal.
fn refusal<T>(result: kube::Result<T>) -> Option<Status> {
    match result {
        Err(Error::Api(status)) => Some(*status),
        _ => None,
    }
}

fn is(status: &Option<Status>, code: u16, reason: &str) -> bool {
    status.as_ref().is_some_and(|s| s.code == code && s.reason == reason)
}

async fn list(client: &Client, report: &Report) -> Result<()> {
    let api = Api::<Namespace>::all(client.clone());
    let names: Vec<String> = api.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect();
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let mut page = ListParams::default().limit(2);
        if !token.is_empty() {
            page = page.continue_token(&token);
        }
        let got = api.list(&page).await?;
        paged.extend(got.iter().map(ResourceExt::name_any));
        match got.metadata.continue_ {
            Some(more) if !more.is_empty() => token = more,
            _ => break,
        }
    }
    report.check("list", names == paged && names.contains(&NAMESPACE.to_string()), &(names, paged));
    Ok(())
}

async fn patches(client: &Client, report: &Report) -> Result<()> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let plain = PatchParams::default();
    let merged = api.patch("one", &plain, &Patch::Merge(json!({"data": {"a": null, "c": "3"}}))).await?;
    report.check("merge patch", json!(merged.data) == json!({"b": "2", "c": "3"}), &merged);
    let operations = from_value(json!([{"op": "replace", "path": "/data/c", "value": "4"}]))?;
    let patched = api.patch("one", &plain, &Patch::Json::<()>(operations)).await?;
    report.check("JSON patch", json!(patched.data) == json!({"b": "2", "c": "4"}), &patched);
    let services = Api::<Service>::namespaced(client.clone(), NAMESPACE);
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    let body = from_value(json!({"metadata": {"name": "web"}, "spec": {"ports": ports}}))?;
    services.create(&PostParams::default(), &body).await?;
    let change = json!({"spec": {"ports": [{"port": 81, "name": "c"}, {"port": 80, "$patch": "delete"}]}});
    let service = services.patch("web", &plain, &Patch::Strategic(change)).await?;
    let names: Vec<_> = service.spec.iter().flat_map(|s| s.ports.iter().flatten()).map(|p| p.name.clone()).collect();
    report.check("strategic merge patch", names == [Some("c".to_string())], &names);
    Ok(())
}

pub async fn check(client: &Client, report: &mut Report) -> Result<()> {
    list(client, report).await?;
    let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let post = PostParams::default();
    let made = api.create(&post, &config_map("one", json!({"a": "1", "b": "2"}))?).await?;
    report.check("create", made.uid().is_some() && api.get("one").await? == made, &made);
    let twice = refusal(api.create(&post, &config_map("one", json!({}))?).await);
    report.check("create: it exists", is(&twice, 409, "AlreadyExists"), &twice);
    let bad = refusal(api.create(&post, &config_map("Not_A_Name", json!({}))?).await);
    let field =
        bad.iter().flat_map(|s| s.details.iter()).flat_map(|d| d.causes.iter()).any(|c| c.field == "metadata.name");
    report.check("create: a bad name", is(&bad, 422, "Invalid") && field, &bad);
    patches(client, report).await?;
    let old = refusal(api.replace("one", &post, &made).await);
    report.check("replace: an old revision", is(&old, 409, "Conflict"), &old);
    let other = Preconditions { uid: Some("other".to_string()), resource_version: None };
    let kept = refusal(api.delete("one", &DeleteParams { preconditions: Some(other), ..Default::default() }).await);
    report.check("delete: another uid", is(&kept, 409, "Conflict"), &kept);
    let absent = refusal(api.get("none").await);
    report.check("get: it is absent", is(&absent, 404, "NotFound"), &absent);
    Ok(())
}

pub async fn apply(client: &Client, report: &mut Report) -> Result<()> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let wish = |value: &str| {
        Patch::Apply(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"value": value}}),
        )
    };
    let value = |m: &ConfigMap| m.data.as_ref().and_then(|d| d.get("value").cloned()).unwrap_or_default();
    api.patch("applied", &PatchParams::apply("first"), &wish("1")).await?;
    let second = api.patch("applied", &PatchParams::apply("first"), &wish("2")).await?;
    let manager = second.managed_fields().first().and_then(|m| m.manager.clone());
    report.check("server-side apply", value(&second) == "2" && manager.as_deref() == Some("first"), &second);
    let conflict = refusal(api.patch("applied", &PatchParams::apply("second"), &wish("3")).await);
    let causes: Vec<_> = conflict.iter().flat_map(|s| s.details.iter()).flat_map(|d| d.causes.iter()).collect();
    let named = causes.iter().any(|c| c.reason == "FieldManagerConflict" && c.field == ".data.value");
    report.check("server-side apply: a conflict", is(&conflict, 409, "Conflict") && named, &conflict);
    let forced = api.patch("applied", &PatchParams::apply("second").force(), &wish("3")).await?;
    report.check("server-side apply: forced", value(&forced) == "3", &forced);
    Ok(())
}

pub async fn end(client: &Client, report: &mut Report) -> Result<()> {
    let api = Api::<Namespace>::all(client.clone());
    api.delete(NAMESPACE, &DeleteParams::default()).await?;
    let gone = eventually(async || matches!(api.get_opt(NAMESPACE).await, Ok(None))).await;
    report.check("delete", gone, &());
    Ok(())
}
