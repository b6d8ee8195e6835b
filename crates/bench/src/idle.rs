//! Goal 5: what the server costs before anyone asks it for anything.

use std::{fs, path::Path};

use crate::{
    Settings,
    floor::bare::ms,
    report::{Figure, Report, Wanted},
    server,
};

/// Measures start, memory and size.
pub fn measure(settings: &Settings, binary: &Path, report: &mut Report) -> anyhow::Result<()> {
    let figure = |what, unit, limit| Figure { goal: 5, what, unit, wanted: Wanted::AtMost(limit) };
    for _ in settings.rounds() {
        let whisker = server::networked().start();
        report.add(figure("ready after exec, on an empty folder", "ms", 100.0), None, ms(whisker.start_time()));
        server::wait_for_stems(&whisker.guest(), 3.0)?;
        let resident = whisker.resident_bytes() as f64 / 1e6;
        report.add(figure("memory, idle, with blank containers made", "MB", 40.0), None, resident);
        let again = whisker.stop().start();
        report.add(figure("ready after exec, a second time", "ms", 100.0), None, ms(again.start_time()));
        let size = fs::metadata(binary)?.len() as f64 / 1e6;
        report.add(figure("binary", "MB", 60.0), None, size);
    }
    Ok(())
}
