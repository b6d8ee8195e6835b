//! `whisker admin`: asks the server that has the data folder, or else opens
//! the store itself.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use whisker_admin::{Answer, Command, ask, perform};
use whisker_store_embedded::{Config, Embedded, OpenError};

use crate::settings::Admin;

/// How long a server may have the folder without answering, as one does that
/// starts or ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at it.
const BETWEEN: Duration = Duration::from_millis(50);

/// Does what is asked and tells it; the exit code.
pub fn run(settings: Admin) -> anyhow::Result<u8> {
    let data_dir = settings.data_dir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(done(&data_dir, settings.command))?;
    Ok(tell(&answer))
}

async fn done(data_dir: &Path, command: Command) -> anyhow::Result<Answer> {
    // A typing error in the folder's name should not make a new server's.
    if !data_dir.join("store.db").exists() {
        bail!("{} holds no server's data; `whisker serve` makes some", data_dir.display());
    }
    let began = Instant::now();
    loop {
        if let Some(answer) = ask(data_dir, &command)? {
            return Ok(answer);
        }
        match Embedded::open(&Config::new(data_dir)) {
            Ok(store) => return Ok(perform(&store, command).await),
            Err(OpenError::InUse { .. }) if began.elapsed() < PATIENCE => sleep(BETWEEN).await,
            Err(error) => return Err(error).context("cannot open the store"),
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is what the command answers")]
fn tell(answer: &Answer) -> u8 {
    answer.lines.iter().for_each(|line| println!("{line}"));
    answer.complaints.iter().for_each(|line| eprintln!("{line}"));
    answer.code
}
