//! Asks a GPU the questions that only hardware answers.
//!
//! ```text
//! xmem-test-questions             all questions, one line an answer: "Q1 part: answer"
//! xmem-test-questions Q5 Q9       these
//! ```
//!
//! Every question runs in a process of its own with a time limit, as does every part of it that may
//! damage a context. Nothing waits for the GPU without a limit: kernels end by themselves. After each
//! question a process with a context of its own says whether that is well.
//!
//! Times are those of `CLOCK_MONOTONIC`, unless a line says that they are the GPU's. With
//! `XMEM_STAND_IN=1` no times are printed, because the stand-in's say nothing.

// Pinned memory, texts and descriptors of a C library.
#![allow(unsafe_code)]

mod answer;
mod clock;
mod costs;
mod death;
mod descriptors;
mod facts;
mod gpu;
mod link;
mod memory;
mod namespaces;
mod textures;
mod waiting;

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use answer::{Answer, Problem, Question, attempt, failed};
use gpu::{Gpu, MIB};
use link::{Link, Message, Peer};

type Ask = fn(&Question) -> Answer<()>;
type Role = fn(&Link, &str) -> Answer<()>;

/// The questions: the number in docs/cuda.md, seconds, and what asks it.
const QUESTIONS: &[(&str, u64, Ask)] = &[
    ("F", 40, facts::ask),
    ("Q1", 40, memory::ask_read_only),
    ("Q2", 30, descriptors::ask),
    ("Q3", 30, textures::ask),
    ("Q4", 30, memory::ask_contexts),
    ("Q5", 45, death::ask_producer),
    ("Q10", 60, costs::ask),
    ("Q7", 60, waiting::ask_completion),
    ("Q9", 40, namespaces::ask),
    ("Q8", 30, waiting::ask_records),
    ("Q12", 40, death::ask_client),
    ("Q6", 60, death::ask_event),
    ("Q11", 50, death::ask_unmap),
];

/// The roles of other processes.
const ROLES: &[(&str, Role)] = &[
    ("intruder", memory::intrude),
    ("contexts", memory::use_contexts),
    ("importer", descriptors::import),
    ("textures", textures::use_textures),
    ("holder", death::hold),
    ("reader", death::read),
    ("churn", death::churn),
    ("records", death::record_event),
    ("waits", death::wait_for_event),
    ("unmaps", death::unmap),
    ("spins", death::spin),
    ("costs", costs::import),
    ("stranger", namespaces::import),
    ("bystander", stand_by),
];

/// How long all questions may take.
const LIMIT: Duration = Duration::from_secs(225);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["peer", role, argument, spaces] => play(role, argument, spaces),
        ["ask", question] => ask(question),
        names => ask_all(names),
    }
}

/// Asks one question in this process.
fn ask(name: &str) {
    let Some((name, _, ask)) = QUESTIONS.iter().find(|(known, ..)| *known == name) else {
        return eprintln!("no such question: {name}");
    };
    let question = Question(name);
    if let Err(problem) = ask(&question) {
        question.line("in general", Err::<String, _>(problem));
    }
    // Without the driver's clean-up, which could wait.
    // SAFETY: it takes no pointer; the output has been written.
    unsafe { libc::_exit(0) }
}

/// Plays a role for another process.
fn play(role: &str, argument: &str, spaces: &str) {
    let play = || {
        let link = Link::inherited()?;
        let role = ROLES.iter().find(|(known, _)| *known == role);
        let Some((_, role)) = role else {
            return failed("no such role");
        };
        if let Err(problem) = namespaces::enter(spaces).and_then(|()| role(&link, argument)) {
            // The question may be over.
            let _ = link.send(&Message::problem(problem), None);
        }
        Ok(())
    };
    if let Err(problem) = play() {
        eprintln!("{role}: {problem}");
    }
    // SAFETY: as above.
    unsafe { libc::_exit(0) }
}

fn ask_all(names: &[&str]) {
    let begun = Instant::now();
    let witness = Peer::start("bystander", "");
    for (name, seconds, _) in QUESTIONS {
        if !names.is_empty() && !names.contains(name) {
            continue;
        }
        let question = Question(name);
        let left = LIMIT.saturating_sub(begun.elapsed());
        let limit = left.min(Duration::from_secs(*seconds));
        if limit < Duration::from_secs(5) {
            question.line(
                "all",
                Err::<String, _>(Problem::NotHere("the time is up".into())),
            );
            continue;
        }
        if let Err(problem) = run(name, limit) {
            question.line("all of it", Err::<String, _>(problem));
        }
        let well = witness.as_ref().map_err(Clone::clone);
        let well = well.and_then(|witness| witness.ask(&Message::default(), None));
        question.line("context of another process afterwards", well);
    }
}

/// Runs a question in a process group of its own, which ends with it.
fn run(name: &str, limit: Duration) -> Answer<()> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut process = command.args(["ask", name]).process_group(0).spawn()?;
    let status = wait(&mut process, limit);
    if let Some(group) = Pid::from_raw(process.id() as i32) {
        // Its members may have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => failed(format!("its process ended with {status}")),
        None if wait(&mut process, Duration::from_secs(3)).is_none() => {
            failed("its process can not be killed")
        }
        None => failed(format!("no answer within {limit:?}, after the lines above")),
    }
}

fn wait(process: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Ok(Some(status)) = process.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// A process that has nothing to do with the questions, and says whether its context is well.
fn stand_by(link: &Link, _: &str) -> Answer<()> {
    let gpu = Gpu::new()?;
    let address = gpu.allocate(MIB)?;
    loop {
        link.receive_within(Duration::from_secs(3600))?;
        let set = gpu.set(address, MIB, 0x42);
        link.say(attempt(set.and_then(|()| gpu.is_all(address, MIB, 0x42))))?;
    }
}
