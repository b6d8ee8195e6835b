//! `whisker admin`: asks the server that has the data folder, or else opens
//! the store itself.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::bail;
use tokio::time::{Instant, sleep};
use whisker_admin::{Answer, Command, ask, perform};
use whisker_secrets::Secrets;

use crate::{
    configure, secrets,
    settings::{Admin, Durability},
    stores::{Place, is_in_use},
};

/// How long a server may have the folder without answering, as one does that
/// starts or ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at it.
const BETWEEN: Duration = Duration::from_millis(50);

/// Does what is asked and tells it; the exit code.
pub fn run(settings: Admin) -> anyhow::Result<u8> {
    let data_dir = settings.data_dir()?;
    let secrets = Arc::new(secrets::read(&settings.keys)?);
    let place = configure::store(&settings.store, &secrets.seals()?, &data_dir, Durability::Process)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(done(&data_dir, &place, &secrets, settings.command))?;
    Ok(tell(&answer))
}

async fn done(data_dir: &Path, place: &Place, secrets: &Arc<Secrets>, command: Command) -> anyhow::Result<Answer> {
    // A typing error in the folder's name should not make a new server's.
    if let Some(folder) = place.folder()
        && !folder.join("store.db").exists()
    {
        bail!("{} holds no server's data; `whisker serve` makes some", folder.display());
    }
    let began = Instant::now();
    loop {
        // Of several servers on one database any will do, and none is needed.
        if data_dir.exists()
            && let Some(answer) = ask(data_dir, &command)?
        {
            return Ok(answer);
        }
        match place.open().await {
            Ok(store) => return Ok(perform(&store.administered(secrets), command).await),
            Err(error) if is_in_use(&error) && began.elapsed() < PATIENCE => sleep(BETWEEN).await,
            Err(error) => return Err(error),
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is what the command answers")]
fn tell(answer: &Answer) -> u8 {
    answer.lines.iter().for_each(|line| println!("{line}"));
    answer.complaints.iter().for_each(|line| eprintln!("{line}"));
    answer.code
}
