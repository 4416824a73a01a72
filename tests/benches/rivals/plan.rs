//! What to do: the command line, and the experiments in their order.

use xmem_tests::roles::Result;

use crate::attacker::Way;
use crate::sheet::Sheet;
use crate::stage::Stage;
use crate::strangers::{self, Manner};
use crate::transport::Transport;
use crate::{clients, producers, starts, writes};

/// The whole bench.
pub struct Plan {
    /// What is compared, where it is installed.
    pub transports: Vec<Transport>,
    /// How many clients are killed.
    kills: usize,
    /// A part of the titles of those experiments that are wanted.
    only: String,
}

impl Plan {
    /// Reads `--quick`, `--transports xmem,shm,unixfd`, `--only TITLE`.
    ///
    /// Cargo adds `--bench` when it benches and nothing when it tests: a test is quick.
    pub fn parse(arguments: &[&str]) -> Result<Plan> {
        let mut plan = Plan {
            transports: Transport::ALL.to_vec(),
            kills: match arguments.contains(&"--bench") {
                true => 100,
                false => 20,
            },
            only: String::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().copied();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument {
                "--bench" => {}
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

    /// Those that are wanted.
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

/// Something that is done to each transport, on a stage of its own.
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
    /// What is done, in words.
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

    /// Does it.
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
