//! xmem at work, in about 20 seconds: one producer, three clients, each a process of its own.
//!
//!     make demo
//!
//! The demo first encodes a short H.264 clip. Then a producer decodes the clip straight into
//! shared memory (`avdec_h264 ! xmemsink`), and three clients look at every frame where it lies:
//! one that was there before the producer (`xmemsrc`), one without any GStreamer (`xmem-core`),
//! and one that is killed half way with `SIGKILL` and comes back. In the end each claim that the
//! demo makes is checked, and the exit code is 0 only if all of them hold.
//!
//! This program is all of these processes: it starts itself once more for the [`show`] and for each
//! [`role`]. The roles say what they see on their standard output ([`report`]); the show directs
//! them, keeps the [`ledger`] and gives the [`verdict`].

use std::path::Path;
use std::process::ExitCode;

mod child;
mod clip;
mod elements;
mod fingerprint;
mod guard;
mod inspector;
mod layout;
mod ledger;
mod leftovers;
mod mapping;
mod meter;
mod pace;
mod parent;
mod pipeline;
mod place;
mod producer;
mod report;
mod role;
mod screen;
mod show;
mod stage;
mod table;
mod verdict;
mod viewer;

use report::Report;
use role::Role;

/// Whatever goes wrong is a sentence for the person at the terminal.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

const USAGE: &str = "usage: demo\n\nShows xmem at work, in about 20 seconds. Takes no arguments.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => guard::main(),
        [guard::SHOW] => show::main(),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        [name, clip] => match Role::from_name(name) {
            Some(role) => play(role, Path::new(clip)),
            None => refuse(),
        },
        _ => refuse(),
    }
}

fn refuse() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::FAILURE
}

/// Plays one role, in a child of the demo.
fn play(role: Role, clip: &Path) -> ExitCode {
    let orders = parent::orders();
    let result = match role {
        Role::Encoder => clip::encode(clip),
        Role::Producer => producer::main(clip, orders),
        Role::Viewer | Role::Phoenix => viewer::main(role, orders),
        Role::Meter => meter::main(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            parent::tell(&Report::Failed(error.to_string()));
            ExitCode::FAILURE
        }
    }
}
