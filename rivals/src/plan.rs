//! The plan of the bench: the command line, and the order of the experiments.

use xmem_tests::roles::Result;

use crate::attacker::Way;
use crate::sheet::Sheet;
use crate::stage::Stage;
use crate::strangers::{self, Manner};
use crate::transport::Transport;
use crate::{clients, producers, starts, writes};

/// The whole bench.
pub struct Plan {
    /// The transports to compare, if they are installed.
    pub transports: Vec<Transport>,
    /// Number of clients to kill.
    kills: usize,
    /// Only experiments whose title contains this text are run.
    only: String,
}

impl Plan {
    /// Reads `--quick`, `--transports xmem,shm,unixfd`, `--only TITLE`.
    pub fn parse(arguments: &[&str]) -> Result<Plan> {
        let mut plan = Plan {
            transports: Transport::ALL.to_vec(),
            kills: 100,
            only: String::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().copied();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument {
                "--quick" => plan.kills = 20,
                "--transports" => {
                    let names = value()?.split(',');
                    plan.transports = names.map(Transport::parse).collect::<Result<_>>()?;
                }
                "--only" => plan.only = value()?.into(),
                other => {
                    return Err(format!(
                        "unknown option {other:?}; known: --quick, --transports, --only"
                    )
                    .into());
                }
            }
        }
        Ok(plan)
    }

    /// The experiments to run.
    pub fn experiments(&self) -> impl Iterator<Item = Experiment> {
        let mut all = vec![
            Experiment::LeftAlone,
            Experiment::Stopped,
            Experiment::Killed(self.kills),
            Experiment::ProducerKilled,
            Experiment::Restarted,
            Experiment::ClientFirst,
            Experiment::ProducerFirst,
        ];
        all.extend(Way::ALL.map(Experiment::Write));
        all.extend(Manner::ALL.map(Experiment::Strangers));
        let wanted = |experiment: &Experiment| experiment.title().contains(&self.only);
        all.into_iter().filter(wanted)
    }
}

/// An experiment with each transport, on a stage of its own.
#[derive(Clone, Copy, Debug)]
pub enum Experiment {
    LeftAlone,
    Stopped,
    Killed(usize),
    ProducerKilled,
    Restarted,
    ClientFirst,
    ProducerFirst,
    Write(Way),
    Strangers(Manner),
}

impl Experiment {
    /// The title of the experiment.
    pub fn title(self) -> String {
        match self {
            Experiment::LeftAlone => "nothing, 2 clients".into(),
            Experiment::Stopped => "a client is stopped (SIGSTOP)".into(),
            Experiment::Killed(kills) => format!("{kills} clients are killed (SIGKILL)"),
            Experiment::ProducerKilled => "the producer is killed (SIGKILL)".into(),
            Experiment::Restarted => "the producer is killed and started again".into(),
            Experiment::ClientFirst => "a client is started first".into(),
            Experiment::ProducerFirst => "a producer is started first".into(),
            Experiment::Write(way) => format!("a client writes: {way}"),
            Experiment::Strangers(manner) => manner.to_string(),
        }
    }

    /// Runs the experiment.
    pub fn run(self, stage: &mut Stage<'_>, sheet: &mut Sheet) -> Result<()> {
        match self {
            Experiment::LeftAlone => clients::left_alone(stage, sheet),
            Experiment::Stopped => clients::stopped(stage, sheet),
            Experiment::Killed(kills) => clients::killed(stage, sheet, kills),
            Experiment::ProducerKilled => producers::killed(stage, sheet),
            Experiment::Restarted => producers::restarted(stage, sheet),
            Experiment::ClientFirst => starts::client_first(stage, sheet),
            Experiment::ProducerFirst => starts::producer_first(stage, sheet),
            Experiment::Write(way) => writes::attempted(stage, sheet, way),
            Experiment::Strangers(manner) => strangers::come(stage, sheet, manner),
        }
    }
}
