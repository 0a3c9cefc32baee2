//! The crate kube (client, websockets, watcher, reflector) against a cluster that KUBECONFIG names.
mod objects;
mod pods;
mod report;
mod watches;

use anyhow::Result;
use kube::Client;
use report::Report;

pub const NAMESPACE: &str = "rust";

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::try_default().await?;
    let mut report = Report::new();
    objects::namespace(&client).await?;
    let parts = [
        ("objects", objects::check(&client, &mut report).await),
        ("apply", objects::apply(&client, &mut report).await),
        ("watches", watches::check(&client, &mut report).await),
        ("reflector", watches::reflector(&client, &mut report).await),
        ("pods", pods::check(&client, &mut report).await),
    ];
    for (name, result) in parts {
        if let Err(e) = result {
            report.check(name, false, &e);
        }
    }
    objects::end(&client, &mut report).await
}
