//! One run: a producer, its clients, and the order of their steps.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use xmem_tests::roles::{Bill, Child, PATIENCE};
use xmem_tests::samples::{numbers, percentile_us};

use crate::Result;
use crate::environment::Environment;
use crate::figures::{Figures, Row, mean};
use crate::frame::{self, INTERVAL_NS};
use crate::plan::{Kind, clients_in_words};

/// The setting of a run: a pair of elements or the test source alone, and the number of clients.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The elements; `None` for the source into a `fakesink`.
    pub kind: Option<Kind>,
    /// Number of client processes.
    pub clients: usize,
}

impl Setting {
    /// A pair of elements with `clients` clients.
    pub fn of(kind: Kind, clients: usize) -> Setting {
        Setting {
            kind: Some(kind),
            clients,
        }
    }

    /// No transport and no clients: the cost of the producer alone.
    pub fn source_alone() -> Setting {
        Setting {
            kind: None,
            clients: 0,
        }
    }

    /// The sink of the producer, as part of a pipeline description.
    pub fn sink(self, socket: &Path) -> String {
        let socket = socket.display();
        match self.kind {
            None => "fakesink name=sink sync=false".into(),
            // Memory for some twenty frames, which is always enough.
            Some(Kind::Shm) => format!(
                "shmsink name=sink socket-path=\"{socket}\" wait-for-connection=true sync=false shm-size={}",
                128 << 20
            ),
            Some(Kind::Xmem) => {
                format!(
                    "xmemsink name=sink socket-path=\"{socket}\" wait-for-connection=true sync=false"
                )
            }
        }
    }

    /// The source of the clients, as part of a pipeline description.
    pub fn source(self, socket: &Path) -> String {
        let socket = socket.display();
        match self.kind {
            None => "fakesrc name=source".into(),
            Some(Kind::Shm) => format!(
                "shmsrc name=source socket-path=\"{socket}\" is-live=true ! {}",
                frame::CAPS
            ),
            Some(Kind::Xmem) => format!("xmemsrc name=source socket-path=\"{socket}\""),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            None => f.write_str("videotestsrc alone"),
            Some(kind) => write!(f, "{kind}, {}", clients_in_words(self.clients)),
        }
    }
}

/// The result of a run.
pub struct Outcome {
    /// The bill of the producer.
    pub producer: Bill,
    /// The bills of the clients, in their order.
    pub clients: Vec<Bill>,
    /// Latencies of the frames of all clients in ns, ascending.
    latencies: Vec<u64>,
}

/// Runs the setting.
pub fn run(
    setting: &Setting,
    warmup: u64,
    frames: u64,
    environment: &Environment,
) -> Result<Outcome> {
    run_as(setting, warmup, frames, environment, |_, command| command)
}

/// Runs the setting. `wrap` makes the command that starts each process from the name and the
/// command of the process.
pub fn run_as(
    setting: &Setting,
    warmup: u64,
    frames: u64,
    environment: &Environment,
    wrap: impl Fn(&str, Command) -> Command,
) -> Result<Outcome> {
    let socket = Socket::new(environment);
    let spawn = |name: String, role: &[&str]| {
        let command = wrap(&name, environment.role(role));
        Child::spawn(name, command)
    };
    let (warmup_text, frames_text) = (warmup.to_string(), frames.to_string());

    // Clients are declared after the producer, so they always stop before it.
    let mut producer = spawn(
        "the producer".into(),
        &[
            "producer",
            &setting.sink(&socket.0),
            &warmup_text,
            &frames_text,
        ],
    )?;
    producer.report("ready", PATIENCE)?;
    let clients = (1..=setting.clients)
        .map(|number| {
            spawn(
                client_name(number),
                &["client", &setting.source(&socket.0), &frames_text],
            )
        })
        .collect::<Result<Vec<Child>>>()?;
    for client in &clients {
        client.report("receiving", PATIENCE)?;
    }

    producer.order("measure")?;
    let within = PATIENCE + Duration::from_nanos(INTERVAL_NS) * (warmup + frames) as u32;
    let mut outcome = Outcome {
        producer: producer.report("bill", within)?.parse()?,
        clients: Vec::new(),
        latencies: Vec::new(),
    };
    for client in &clients {
        outcome
            .latencies
            .extend(numbers(&client.report("latencies", PATIENCE)?)?);
        outcome
            .clients
            .push(client.report("bill", PATIENCE)?.parse()?);
    }
    outcome.latencies.sort_unstable();
    clients.into_iter().try_for_each(Child::end)?;
    producer.end()?;
    Ok(outcome)
}

/// The name of a client in messages and files.
pub fn client_name(number: usize) -> String {
    format!("client {number}")
}

impl Outcome {
    /// Adds the result to the figures and returns a summary.
    pub fn record(&self, setting: &Setting, figures: &mut Figures) -> String {
        let mut add = |row, value| figures.add(setting.column(), setting.clients, row, value);
        add(Row::ProducerCpu, self.producer.cpu_a_frame());
        add(Row::ProducerFaults, self.producer.faults_a_frame());
        let producer = format!(
            "producer {:.0} µs CPU per frame",
            self.producer.cpu_a_frame()
        );
        if self.clients.is_empty() {
            return producer;
        }
        let [p50, p99] = [0.50, 0.99].map(|share| percentile_us(&self.latencies, share));
        let client_cpu = mean(self.clients.iter().map(Bill::cpu_a_frame));
        add(Row::LatencyP50, p50);
        add(Row::LatencyP99, p99);
        add(Row::ClientCpu, client_cpu);
        add(
            Row::ClientFaults,
            mean(self.clients.iter().map(Bill::faults_a_frame)),
        );
        add(
            Row::Sent,
            (self.producer.frames * self.clients.len() as u64) as f64,
        );
        add(
            Row::Received,
            self.clients.iter().map(|client| client.frames).sum::<u64>() as f64,
        );
        format!("latency p50 {p50:.0}, p99 {p99:.0} µs; {producer}, client {client_cpu:.0}")
    }
}

/// A free socket path. The socket is removed at the end.
pub struct Socket(PathBuf);

impl Socket {
    /// A path in the directory of the run.
    pub fn new(environment: &Environment) -> Socket {
        let path = environment.directory().join("socket");
        // A run that failed may have left its socket.
        let _ = std::fs::remove_file(&path);
        Socket(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The socket is gone already if its owner stopped as intended.
        let _ = std::fs::remove_file(&self.0);
    }
}
