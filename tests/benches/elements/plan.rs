//! The plan of the bench: the command line, and the order of the runs.

use std::fmt;

use crate::environment::Environment;
use crate::figures::{Column, Figures};
use crate::floor::{self, Load};
use crate::run::{self, Setting};
use crate::{Result, trace};

/// A pair of elements to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `shmsink` and `shmsrc`, of gst-plugins-bad.
    Shm,
    /// `xmemsink` and `xmemsrc`.
    Xmem,
}

impl Kind {
    /// The element names: sink, source.
    pub fn elements(self) -> [&'static str; 2] {
        match self {
            Kind::Shm => ["shmsink", "shmsrc"],
            Kind::Xmem => ["xmemsink", "xmemsrc"],
        }
    }

    fn parse(name: &str) -> Result<Kind> {
        match name {
            "shm" => Ok(Kind::Shm),
            "xmem" => Ok(Kind::Xmem),
            other => Err(format!("unknown kind {other:?}; known: shm, xmem").into()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Shm => "shm",
            Kind::Xmem => "xmem",
        })
    }
}

/// The plan: which kinds, how many clients, how many rounds and frames.
#[derive(Debug)]
pub struct Plan {
    pub kinds: Vec<Kind>,
    pub clients: Vec<usize>,
    /// Number of runs of each setting. A figure is their median.
    pub rounds: usize,
    /// Number of frames that pass before the window opens, with all clients connected.
    pub warmup: u64,
    /// Number of frames in the window of a run.
    pub frames: u64,
    /// Number of frames in the window of a run under strace.
    pub traced: u64,
    /// Number of wakes in the window of a run of the futex floor.
    pub wakes: u64,
    /// Measures joining clients and their effect on others, and nothing else.
    pub joins: bool,
}

impl Plan {
    fn full(kinds: Vec<Kind>, clients: Vec<usize>) -> Plan {
        Plan {
            kinds,
            clients,
            rounds: 3,
            warmup: 60,
            frames: 240,
            traced: 120,
            wakes: 120,
            joins: false,
        }
    }

    fn quick(kinds: Vec<Kind>, clients: Vec<usize>) -> Plan {
        Plan {
            rounds: 1,
            frames: 120,
            traced: 60,
            wakes: 60,
            ..Plan::full(kinds, clients)
        }
    }

    /// Reads `--quick`, `--kinds shm,xmem`, `--clients 1,4`, `--joins`.
    ///
    /// Cargo adds `--bench` for a benchmark and nothing for a test. A test is quick.
    pub fn parse(arguments: &[&str]) -> Result<Plan> {
        let (mut kinds, mut clients) = (vec![Kind::Shm, Kind::Xmem], vec![1, 4]);
        let mut joins = false;
        let mut quick = !arguments.contains(&"--bench");
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            let mut list = || {
                let value = arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))?;
                Ok::<_, crate::Error>(value.split(','))
            };
            match argument {
                "--bench" => {}
                "--quick" => quick = true,
                "--joins" => joins = true,
                "--kinds" => kinds = list()?.map(Kind::parse).collect::<Result<_>>()?,
                "--clients" => clients = list()?.map(client_count).collect::<Result<_>>()?,
                other => {
                    return Err(format!(
                        "unknown option {other:?}; known: --quick, --kinds, --clients, --joins"
                    )
                    .into());
                }
            }
        }
        let plan = if quick { Plan::quick } else { Plan::full };
        Ok(Plan {
            joins,
            ..plan(kinds, clients)
        })
    }

    /// The runs in their order. Rounds are the outer loop. Every other round runs backwards, so
    /// that neither kind is always first.
    pub fn steps(&self, environment: &Environment) -> Vec<Step> {
        let kinds: Vec<Kind> = environment.kinds().collect();
        let mut steps = Vec::new();
        for round in 0..self.rounds {
            let mut what: Vec<What> = vec![What::Pipelines(Setting::source_alone())];
            for &clients in &self.clients {
                what.extend(
                    kinds
                        .iter()
                        .map(|&kind| What::Pipelines(Setting::of(kind, clients))),
                );
                what.extend(Load::ALL.map(|load| What::Futex(load, clients)));
            }
            if round % 2 == 1 {
                what.reverse();
            }
            steps.extend(what.into_iter().map(|what| Step {
                round: round + 1,
                what,
            }));
        }
        if environment.strace {
            let settings = self
                .clients
                .iter()
                .flat_map(|&n| kinds.iter().map(move |&kind| Setting::of(kind, n)));
            let settings = std::iter::once(Setting::source_alone()).chain(settings);
            steps.extend(settings.map(|setting| Step {
                round: 0,
                what: What::Traced(setting),
            }));
        }
        steps
    }
}

fn client_count(number: &str) -> Result<usize> {
    match number.parse() {
        Ok(0) | Err(_) => Err(format!("{number:?} is not a number of clients").into()),
        Ok(count) => Ok(count),
    }
}

/// One short run.
pub struct Step {
    round: usize,
    what: What,
}

enum What {
    Pipelines(Setting),
    Traced(Setting),
    Futex(Load, usize),
}

impl Step {
    /// Runs the step, adds the result to the figures and returns a summary.
    pub fn measure(
        &self,
        plan: &Plan,
        environment: &Environment,
        figures: &mut Figures,
    ) -> Result<String> {
        match &self.what {
            What::Pipelines(setting) => {
                let outcome = run::run(setting, plan.warmup, plan.frames, environment)?;
                Ok(outcome.record(setting, figures))
            }
            What::Traced(setting) => {
                trace::run(setting, plan.warmup, plan.traced, environment, figures)
            }
            What::Futex(load, clients) => {
                let outcome = floor::run(*load, *clients, plan.wakes, environment)?;
                Ok(outcome.record(*load, *clients, figures))
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Pipelines(setting) => write!(f, "round {}: {setting}", self.round),
            What::Traced(setting) => write!(f, "strace: {setting}"),
            What::Futex(load, clients) => write!(
                f,
                "round {}: {load}, {}",
                self.round,
                clients_in_words(*clients)
            ),
        }
    }
}

/// `1 client`, `4 clients`.
pub fn clients_in_words(clients: usize) -> String {
    format!("{clients} client{}", if clients == 1 { "" } else { "s" })
}

impl Setting {
    /// The column of its figures.
    pub fn column(&self) -> Column {
        self.kind.map_or(Column::Floor, Column::Kind)
    }
}
