//! How a program talks to its test: see harness.py.
use anyhow::{Result, bail};
use std::fmt::Debug;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin, stdin};
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

pub struct Report {
    input: Lines<BufReader<Stdin>>,
}

impl Report {
    pub fn new() -> Self {
        Report { input: BufReader::new(stdin()).lines() }
    }

    pub fn check(&self, name: &str, good: bool, why: &dyn Debug) {
        match good {
            true => println!("ok {name}"),
            false => println!("not ok {name}: {}", format!("{why:?}").replace('\n', " ")),
        }
    }

    /// Has the server killed; another answers when this returns.
    pub async fn restart(&mut self) -> Result<()> {
        println!("restart");
        match self.input.next_line().await? {
            Some(_) => Ok(()),
            None => bail!("the test is gone"),
        }
    }
}

/// True as soon as <look> is; false after the deadline.
pub async fn eventually(mut look: impl AsyncFnMut() -> bool) -> bool {
    let end = Instant::now() + DEADLINE;
    while !look().await {
        if Instant::now() > end {
            return false;
        }
        sleep(POLL).await;
    }
    true
}
