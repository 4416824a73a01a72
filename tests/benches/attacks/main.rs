//! Measures what one hostile client costs the other clients and the producer.
//!
//! ```text
//! cargo bench -p xmem-tests --bench attacks                       about two and a half minutes
//! cargo bench -p xmem-tests --bench attacks -- --only holes       only attacks with this word in the title
//! XMEM_ATTACK_SECONDS=60 cargo bench -p xmem-tests --bench attacks
//! ```
//!
//! One process publishes 1000 bytes 500 times a second, and three other processes receive each
//! frame in order. A fourth client, `xmem-test-hostile`, attacks. It runs as another user if this
//! process is root. Two of the honest clients connect before it and one after it. If hostile
//! clients must hold frames first, all honest clients connect after that.
//!
//! Each attack alternates with the condition that it is compared with. Each of the two is measured
//! for `XMEM_ATTACK_SECONDS` (4), in turns of one second, each turn on a new channel:
//!
//! - *idle*: the fourth client joins and does nothing;
//! - *honest*: it receives each frame and is woken for it, like the other three;
//! - *elsewhere*: it does the same to memory of its own. The processors are then as busy. A process
//!   can do this to others without xmem.
//!
//! A cell has two conditions, `beside → attacked`, and their ratio in parentheses. The first two
//! rows compare a condition with itself, with an idle client and with busy processors. They show
//! how much the figures vary on this machine. The line on standard error for each turn says how
//! long an honest client waited for a processor. After 0.2 s it misses frames, attacked or not.
//!
//! | figure | definition |
//! |---|---|
//! | frames/s | published; a frame that is late delays none after it |
//! | missed | frames that honest clients did not receive, of all three |
//! | latency | from before `publish` in the producer to after `receive` in a client, all frames of all honest clients; µs |
//! | acquire, publish | how long each call of the producer takes; µs |
//!
//! During the first frames of a turn, memory is made and mapped; these frames count only as missed.
//! The bench prints the figures and does not fail because of them. The tests `attacks_on_*` and
//! `hostile_descriptors` check the limits.

mod attack;
mod figures;
mod table;
mod turn;

use std::process::ExitCode;

use xmem_tests::nobody;
use xmem_tests::roles::Machine;

use attack::Attack;
use figures::Figures;
use table::Table;

/// Default of `XMEM_ATTACK_SECONDS`: how long each attack is measured in each condition.
const SECONDS: u64 = 4;

fn main() -> ExitCode {
    match Plan::parse() {
        Ok(plan) => {
            plan.run();
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The attacks to measure, and for how long.
struct Plan {
    turns: u64,
    only: String,
}

impl Plan {
    /// Reads the command line. Cargo adds `--bench` for a benchmark and nothing for a test. A test
    /// takes one turn.
    fn parse() -> Result<Plan, String> {
        let seconds = match std::env::var("XMEM_ATTACK_SECONDS") {
            Ok(text) => text
                .parse()
                .map_err(|_| format!("XMEM_ATTACK_SECONDS={text} is not a number"))?,
            Err(_) => SECONDS,
        };
        let mut plan = Plan {
            turns: 1,
            only: String::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => plan.turns = seconds.div_ceil(turn::SECONDS).max(1),
                "--only" => plan.only = arguments.next().ok_or("--only needs a value")?,
                other => return Err(format!("unknown option {other:?}; known: --only")),
            }
        }
        Ok(plan)
    }

    fn run(&self) {
        print!("{Machine}");
        let user = if nobody::is_possible() {
            "another user"
        } else {
            "the same user"
        };
        println!(
            "hostile     {user}; {} turns of {} s in each condition",
            self.turns,
            turn::SECONDS
        );
        let mut table = Table::default();
        let wanted = |attack: &&Attack| attack.title.contains(&self.only);
        for attack in attack::ALL.iter().filter(wanted) {
            match attack.obstacle() {
                Some(obstacle) => table.leave_out(attack, obstacle),
                None => {
                    let [beside, attacked] = self.measure(attack);
                    table.add(attack, beside, attacked);
                }
            }
        }
        print!("\n{table}");
    }

    /// Measures both conditions of an attack, in turns.
    fn measure(&self, attack: &Attack) -> [Figures; 2] {
        let mut figures = [Figures::default(), Figures::default()];
        for _ in 0..self.turns {
            for (figures, is_attacked) in figures.iter_mut().zip([false, true]) {
                turn::take(attack, is_attacked, figures);
            }
        }
        figures
    }
}
