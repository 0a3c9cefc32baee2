//! The streams of a running pod.
use crate::report::Report;
use anyhow::{Context, Result};
use futures::AsyncBufReadExt;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, LogParams};
use kube::{Api, Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Debug)]
struct Ended {
    out: String,
    err: String,
    status: Option<Status>,
}

impl Ended {
    fn code(&self) -> Option<&str> {
        let causes = self.status.as_ref()?.details.as_ref()?.causes.as_ref()?;
        causes.iter().find(|c| c.reason.as_deref() == Some("ExitCode"))?.message.as_deref()
    }
}

async fn execute(api: &Api<Pod>, pod: &str, command: &str, input: Option<&str>) -> Result<Ended> {
    let how = AttachParams::default().stdin(input.is_some()).stderr(true);
    let mut process = api.exec(pod, ["sh", "-c", command], &how).await?;
    let status = process.take_status().context("no status")?;
    let mut out = process.stdout().context("no output")?;
    let mut err = process.stderr().context("no errors")?;
    let (mut seen_out, mut seen_err) = (String::new(), String::new());
    if let Some(text) = input {
        let mut stdin = process.stdin().context("no input")?;
        stdin.write_all(text.as_bytes()).await?;
        stdin.shutdown().await?;
    }
    tokio::try_join!(out.read_to_string(&mut seen_out), err.read_to_string(&mut seen_err))?;
    let status = status.await;
    process.join().await?;
    Ok(Ended { out: seen_out, err: seen_err, status })
}

pub async fn check(client: &Client, report: &mut Report) -> Result<()> {
    let pod = std::env::var("NEAP_POD")?;
    let api = Api::<Pod>::default_namespaced(client.clone());
    let both = execute(&api, &pod, "echo out; echo wrong >&2", None).await?;
    let success = both.status.as_ref().is_some_and(|s| s.status.as_deref() == Some("Success"));
    report.check("exec", both.out == "out\n" && both.err == "wrong\n" && success, &both);
    let bad = execute(&api, &pod, "exit 7", None).await?;
    report.check("exec: the exit code", bad.code() == Some("7"), &bad);
    let input = execute(&api, &pod, "cat; echo end", Some("hello\n")).await?;
    report.check("exec: the end of its input", input.out == "hello\nend\n", &input);
    let text = api.logs(&pod, &LogParams::default()).await?;
    report.check("logs", text == "line 1\nline 2\nline 3\n", &text);
    let follow = LogParams { follow: true, tail_lines: Some(2), ..Default::default() };
    let mut lines = api.log_stream(&pod, &follow).await?.lines();
    let seen = (lines.try_next().await?, lines.try_next().await?);
    report.check("logs: followed", seen == (Some("line 2".to_string()), Some("line 3".to_string())), &seen);
    Ok(())
}
