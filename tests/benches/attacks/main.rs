//! What one hostile client costs the others.
//!
//! ```text
//! cargo bench -p xmem-tests --bench attacks                       about two and a half minutes
//! cargo bench -p xmem-tests --bench attacks -- --only holes       those whose titles have this in them
//! XMEM_ATTACK_SECONDS=60 cargo bench -p xmem-tests --bench attacks
//! ```
//!
//! One process publishes 1000 bytes 500 times a second, three others receive each frame in order. A fourth client,
//! `xmem-test-hostile`, attacks; it is another user's where this process is root. Two of the honest clients connect
//! before it, one after it; all of them after clients that have to hold frames first.
//!
//! Each attack takes turns with what it is compared with, `XMEM_ATTACK_SECONDS` (4) of each, one second a turn, each
//! turn on a channel of its own:
//!
//! - *idle*: that client joins, and does nothing;
//! - *honest*: it receives each frame, and is woken for it, as the three others;
//! - *elsewhere*: it does the same to memory of its own. The processors are as busy then, which is what a process can
//!   do to others without xmem.
//!
//! A cell has two conditions, `beside → attacked`, and in parentheses their ratio. The first two rows
//! compare a condition with itself: so much do the figures differ on this machine, with an idle client and with busy
//! processors. What stands on the standard error output for each turn tells how long an honest client had to wait for a
//! processor: after 0.2 s it misses frames, attacked or not.
//!
//! | figure | definition |
//! |---|---|
//! | frames/s | published; a frame that is late delays none after it |
//! | missed | frames that honest clients did not receive, of all three |
//! | latency | from before `publish` in the producer to after `receive` in a client, all frames of all honest clients; µs |
//! | acquire, publish | how long each call of the producer takes; µs |
//!
//! The first frames of a turn, for which memory is made and mapped, count as missed only. Figures are printed, and
//! none of them makes the bench fail: what has to hold is in the tests `attacks_on_*` and `hostile_descriptors`.

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

/// How long each attack is measured in each condition, where the environment does not say.
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

/// The rows to measure, and for how long.
struct Plan {
    turns: u64,
    only: String,
}

impl Plan {
    /// Cargo adds `--bench` when it benches and nothing when it tests: a test is one turn.
    fn parse() -> Result<Plan, String> {
        let seconds = match std::env::var("XMEM_ATTACK_SECONDS") {
            Ok(text) => text
                .parse()
                .map_err(|_| format!("XMEM_ATTACK_SECONDS={text} is no number"))?,
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
        let user = match nobody::is_possible() {
            true => "another user",
            false => "the same user",
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

    /// In turns.
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
