//! The parent's handle of a client.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xmem_tests::roles::{Child, Installation, PATIENCE, Result};

use crate::figures::Figures;
use crate::judge::BROKEN;
use crate::row::{Look, Row};

/// The interval at which a client is asked for its figures.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long a client that starts before its producer may take to start.
const START: Duration = Duration::from_secs(3);

/// How long the end of a process may take to be reported after its output has ended.
const DEATH: Duration = Duration::from_secs(5);

/// A client that runs, or the reason for its end.
pub struct Client {
    child: Option<Child>,
    /// The file with its standard error.
    log: PathBuf,
    /// Its figures since the last mark.
    figures: Figures,
    /// Why it can report no more: it has died, it hangs, or an element has failed.
    end: Option<String>,
}

impl Client {
    /// Starts a client of a row. It finds channels in `directory`.
    pub fn start(
        installation: &Installation,
        row: &Row,
        description: &str,
        directory: &Path,
        name: &str,
    ) -> Result<Client> {
        let look = match row.look {
            Look::Arrival => "arrival",
            Look::Pictures => "pictures",
            Look::Sound => "sound",
        };
        let log = directory.join(format!("{name}.log"));
        let mut command = installation.role(&["client", look, &row.sources(), description]);
        command
            .env("XMEM_RUNTIME_DIR", directory)
            // Some muxers of libav write files to the working directory.
            .current_dir(directory)
            .stderr(File::create(&log)?);
        Ok(Client {
            child: Some(Child::spawn(name, command)?),
            log,
            figures: Figures::default(),
            end: None,
        })
    }

    /// Sends an order, and waits for the report that answers it; `None` if the client can report no
    /// more.
    pub fn order(&mut self, order: &str, answer: &str) -> Option<String> {
        let child = self.child.as_mut()?;
        let ordered = child.order(order);
        let answered = ordered.and_then(|()| child.report(answer, PATIENCE));
        match answered {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.end = Some(self.why(&error.to_string()));
                // The client is killed here. Otherwise a client that hangs would be waited for.
                if let Some(mut child) = self.child.take() {
                    child.kill();
                }
                None
            }
        }
    }

    /// Orders the client to play, without waiting for it: there may be no producer yet.
    pub fn play(&mut self) {
        self.figures = Figures::default();
        if let Some(child) = &mut self.child
            && let Err(error) = child.order("play")
        {
            self.end = Some(error.to_string());
        }
    }

    /// As [`play`](Client::play), but waits until the pipeline has left NULL, if that needs no
    /// producer.
    pub fn play_first(&mut self) {
        self.play();
        if let Some(child) = &self.child {
            // If it needs a producer, the client was still started before the producer.
            let _ = child.report("playing", START);
        }
    }

    /// Starts the figures of a new phase.
    pub fn mark(&mut self, order: &str, answer: &str) {
        if self.order(order, answer).is_some() {
            self.figures = Figures::default();
        }
    }

    /// Asks for the figures since the last mark.
    pub fn look(&mut self) -> &Figures {
        let Some(answer) = self.order("report", "figures") else {
            return &self.figures;
        };
        match Figures::parse(&answer) {
            Ok(mut new) => {
                let mut problems = std::mem::take(&mut self.figures.problems);
                problems.append(&mut new.problems);
                problems.dedup();
                self.figures = Figures { problems, ..new };
            }
            Err(error) => self.end = Some(format!("its report cannot be read: {error}")),
        }
        let failed = self.figures.problems.iter();
        let mut failed = failed.filter(|problem| problem.starts_with("error of"));
        if let (None, Some(error)) = (&self.end, failed.next()) {
            self.end = Some(error.clone());
        }
        &self.figures
    }

    /// Asks for figures until `seen` accepts them, the client can report no more, or the time is
    /// over. Returns whether `seen` accepted them.
    pub fn until(&mut self, within: Duration, mut seen: impl FnMut(&Figures) -> bool) -> bool {
        let deadline = Instant::now() + within;
        loop {
            if seen(self.look()) {
                return true;
            }
            if self.end.is_some() || Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// Ends the client: no more is needed from it.
    pub fn give_up(&mut self) {
        self.child = None;
        self.end.get_or_insert_with(|| "it was given up".into());
    }

    /// The figures since the last mark, at the last report.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Why the client can report no more.
    pub fn end(&self) -> Option<&str> {
        self.end.as_deref()
    }

    /// How the client has ended, and its last output.
    fn why(&mut self, error: &str) -> String {
        let Some(child) = &mut self.child else {
            return error.into();
        };
        let deadline = Instant::now() + DEATH;
        let mut status = child.status();
        while status.is_none() && error.contains("ended") && Instant::now() < deadline {
            std::thread::sleep(INTERVAL);
            status = child.status();
        }
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let said = said.lines().rev().find(|line| !line.trim().is_empty());
        let said = said.unwrap_or("nothing");
        match status.map(|status| (status.signal(), status.code())) {
            None if error.contains(BROKEN) => error.into(),
            None => format!("the client hangs: {error}"),
            Some((Some(signal), _)) => format!("the client dies of signal {signal}: {said}"),
            Some((_, code)) => format!("the client ends with {code:?}: {error}: {said}"),
        }
    }
}
