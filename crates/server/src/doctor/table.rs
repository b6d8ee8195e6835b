//! What a doctor found, as people read it.

use std::fmt::Write;

use super::report::{Program, Report};

/// Width of the first column.
const NAME: usize = 18;

/// The report as text, with a line break at its end.
pub fn of(report: &Report) -> String {
    let mut table = Table(String::new());
    let verdict = if report.works { "works here" } else { "does NOT work here" };
    table.0.push_str(&format!("The backend `{}` {verdict}.\n", report.default));
    table.host(report);
    table.title("Kinds of actions, as processes of this host");
    for kind in &report.runtimes {
        match (&kind.program, &kind.reason) {
            (Some(program), _) => table.row(&kind.kind, &shown(program)),
            (None, reason) => table.row(&kind.kind, &format!("no: {}", reason.as_deref().unwrap_or("unknown"))),
        }
    }
    for (name, backend) in &report.backends {
        let verdict = backend.reason.as_deref().map_or("works".to_owned(), |reason| format!("does not work: {reason}"));
        table.title(&format!("Backend `{name}`: {verdict}"));
        backend.enforces.iter().for_each(|enforced| table.row(enforced.what, &enforced.how));
        for image in &backend.images {
            match &image.reason {
                None => table.row(&image.kind, &image.image),
                Some(reason) => table.row(&image.kind, &format!("no {}: {reason}", image.image)),
            }
        }
    }
    if !report.missing.is_empty() {
        table.title("Missing, and how to get it");
        for missing in &report.missing {
            table.row(&missing.what, &format!("{}; {}", missing.why, missing.get));
        }
    }
    table.0
}

fn shown(program: &Program) -> String {
    format!("{}  {}", program.path.display(), program.version).trim_end().to_owned()
}

struct Table(String);

impl Table {
    fn title(&mut self, text: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "\n{text}");
    }

    fn row(&mut self, name: &str, text: &str) {
        let _ = writeln!(self.0, "  {name:NAME$} {text}");
    }

    fn host(&mut self, report: &Report) {
        let host = &report.host;
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        self.title("Host");
        self.row("runs as", host.user);
        self.row("kernel", &format!("Linux {}, {} processors", host.kernel, host.processors));
        let lacking: Vec<&str> = host.namespaces.iter().filter(|(_, has)| !**has).map(|(name, _)| *name).collect();
        let namespaces = host.namespaces.iter().filter(|(_, has)| **has).map(|(name, _)| *name);
        let mut text = namespaces.collect::<Vec<_>>().join(" ");
        if !lacking.is_empty() {
            text = format!("{text}; NOT {}", lacking.join(" "));
        }
        self.row("namespaces", &text);
        self.row("user namespaces", &format!("for ordinary users: {}", yes(host.user_namespaces)));
        for tree in &host.cgroups {
            let controllers = if tree.controllers.is_empty() { "none".to_owned() } else { tree.controllers.join(" ") };
            self.row(&format!("cgroups v{}", tree.version), &format!("{}: {controllers}", tree.mount.display()));
        }
        self.row("seccomp", yes(host.seccomp));
        for (name, program) in &host.programs {
            self.row(name, &program.as_ref().map_or("no".to_owned(), shown));
        }
        let docker = host.docker.as_ref();
        let docker = docker.map(|found| format!("{}  {} (API {})", found.socket.display(), found.version, found.api));
        self.row("docker", docker.as_deref().unwrap_or("no daemon answers"));
        self.row("kvm", yes(host.kvm));
    }
}
