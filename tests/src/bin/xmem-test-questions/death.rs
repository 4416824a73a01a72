//! What is left of a process that is killed, or of memory that is taken away.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::answer::{Answer, Problem, Question, attempt, failed, milliseconds};
use crate::gpu::{
    Gpu, MIB, NON_BLOCKING, NOT_READY, READ, READ_WRITE, call, driver, name, ok, pointer,
};
use crate::link::{Link, Message, Peer};

// --- Q5: the producer is killed ---

pub fn ask_producer(question: &Question) -> Answer<()> {
    driver()?;
    let churned = || Ok(Peer::start("churn", "")?.link().receive()?.0.text);
    let mut owner = Peer::start("holder", "")?;
    let (message, fd) = owner.link().receive_fd()?;
    let virtual_memory = Peer::start("reader", "virtual memory")?;
    let legacy = Peer::start("reader", "legacy IPC")?;
    let again = Message::default();
    let before = virtual_memory.ask(&message, Some(fd.as_fd()));
    question.line("virtual memory, before the producer is killed", before);
    question.line(
        "legacy IPC, before the producer is killed",
        legacy.ask(&message, Some(fd.as_fd())),
    );
    question.line("SIGKILL of the producer", Ok(owner.kill()));
    question.line("memory that others overwrite meanwhile", churned());
    question.line(
        "virtual memory that was mapped before",
        virtual_memory.ask(&again, None),
    );
    let fresh = |how: &str, message: &Message, fd: &std::os::fd::OwnedFd| {
        Peer::start("reader", how)?.ask(message, Some(fd.as_fd()))
    };
    question.line(
        "virtual memory that is imported after it",
        fresh("virtual memory", &message, &fd),
    );
    question.line(
        "legacy IPC that was opened before",
        legacy.ask(&again, None),
    );
    question.line(
        "legacy IPC that is opened after it",
        fresh("legacy IPC", &message, &fd),
    );
    drop((virtual_memory, legacy));
    let mut owner = Peer::start("holder", "")?;
    let (message, fd) = owner.link().receive_fd()?;
    owner.kill();
    let only = || {
        let churned = churned()?;
        let seen = fresh("virtual memory", &message, &fd)?;
        Ok(format!("{seen}, after others have overwritten {churned}"))
    };
    question.line(
        "a descriptor that was held alone, with nothing mapped",
        only(),
    );
    Ok(())
}

/// Owns memory of both kinds until it is killed.
pub fn hold(link: &Link, _: &str) -> Answer<()> {
    let gpu = Gpu::new()?;
    let size = gpu.round(8 * MIB);
    let (segment, legacy) = (gpu.segment(size)?, gpu.allocate(size)?);
    for address in [segment.address, legacy] {
        gpu.set(address, size, 0x77)?;
    }
    // Without legacy IPC the lines about it say so.
    let handle = gpu.handle(legacy).unwrap_or_default();
    link.send(&Message::memory(size, handle), Some(segment.fd.as_fd()))?;
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

pub fn read(link: &Link, how: &str) -> Answer<()> {
    let (message, fd) = link.receive_fd()?;
    let size = message.number()?;
    let gpu = Gpu::new()?;
    let address = match how {
        "legacy IPC" => gpu.open_memory(&message.handle)?,
        _ => gpu.map(gpu.import(&fd)?, size, READ)?,
    };
    loop {
        let all = attempt(gpu.is_all(address, size, 0x77));
        link.say(format!("{all}; {}", attempt(gpu.reads(address, size))))?;
        link.receive_within(Duration::from_secs(60))?;
    }
}

/// Takes and overwrites most of the free memory, so that freed pages of others change.
pub fn churn(link: &Link, _: &str) -> Answer<()> {
    let gpu = Gpu::new()?;
    let (mut free, mut total) = (0u64, 0u64);
    ok(
        "cuMemGetInfo_v2",
        &[pointer(&mut free), pointer(&mut total)],
    )?;
    let piece = (1024 * MIB).min(free / 4);
    let mut taken = 0;
    while taken + piece < free / 5 * 4 {
        let address = gpu.allocate(piece)?;
        ok("cuMemsetD8_v2", &[address, 0x11, piece])?;
        taken += piece;
    }
    link.say(format!("{} MiB, {}", taken / MIB, name(gpu.synchronize()?)))
}

// --- Q6: the process that records an event is killed ---

pub fn ask_event(question: &Question) -> Answer<()> {
    driver()?;
    for (what, how, killed) in [
        ("a stream waits, the producer lives", "stream", ""),
        (
            "a stream waits, the producer is killed meanwhile",
            "stream",
            "meanwhile",
        ),
        (
            "the CPU waits, the producer is killed meanwhile",
            "CPU",
            "meanwhile",
        ),
        (
            "a stream waits, the producer was killed before",
            "stream",
            "before",
        ),
    ] {
        let part = format!("IPC event after 2 s of work ({what})");
        question.line(&part, waited(how, killed));
    }
    Ok(())
}

fn waited(how: &str, killed: &str) -> Answer {
    let pause = || std::thread::sleep(Duration::from_millis(300));
    let mut producer = Peer::start("records", "")?;
    let (handle, _) = producer.link().receive()?;
    let client = Peer::start("waits", how)?;
    client.ask(&handle, None)?;
    producer.ask(&Message::default(), None)?;
    let mut death = "lives".to_owned();
    if killed == "before" {
        pause();
        death = producer.kill();
    }
    client.ask(&Message::default(), None)?;
    if killed == "meanwhile" {
        pause();
        death = producer.kill();
    }
    let answer = client.link().receive_within(Duration::from_secs(7));
    let answer = answer.map(|(message, _)| message.text);
    let answer = answer.or_else(|problem| match problem {
        Problem::Failed(why) => Ok(format!("NO RETURN: {why}")),
        other => Err(other),
    })?;
    Ok(format!("{answer}; the producer {death}"))
}

pub fn record_event(link: &Link, _: &str) -> Answer<()> {
    let gpu = Gpu::new()?;
    let (event, handle) = gpu.ipc_event()?;
    let stream = gpu.stream(NON_BLOCKING)?;
    // Loads the kernels.
    gpu.spin(stream, Duration::ZERO, 0)?;
    link.send(&Message::memory(0, handle), None)?;
    link.receive()?;
    gpu.spin(stream, Duration::from_secs(2), 0)?;
    ok("cuEventRecord", &[event, stream])?;
    link.say("recorded")?;
    std::thread::sleep(Duration::from_secs(30));
    Ok(())
}

pub fn wait_for_event(link: &Link, how: &str) -> Answer<()> {
    let gpu = Gpu::new()?;
    let stream = gpu.stream(NON_BLOCKING)?;
    gpu.spin(stream, Duration::ZERO, 0)?;
    let (message, _) = link.receive()?;
    let event = gpu.open("cuIpcOpenEventHandle", &message.handle)?;
    link.say("opened")?;
    link.receive()?;
    let begun = Instant::now();
    let mut code;
    if how == "CPU" {
        link.say("waiting")?;
        code = call("cuEventSynchronize", &[event])?;
    } else {
        ok("cuStreamWaitEvent", &[stream, event, 0])?;
        link.say("waiting")?;
        code = NOT_READY;
        while code == NOT_READY && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
            code = call("cuStreamQuery", &[stream])?;
        }
    }
    let took = milliseconds(begun.elapsed().as_nanos() as u64);
    if code == NOT_READY {
        return link.say("STILL WAITING after 5 s");
    }
    link.say(format!("the wait ends after {took}: {}", name(code)))
}

// --- Q11: memory is taken away under a kernel ---

pub fn ask_unmap(question: &Question) -> Answer<()> {
    let gpu = Gpu::new()?;
    let size = gpu.round(16 * MIB);
    for (how, is_owner) in [
        ("cuMemRelease", false),
        ("cuMemUnmap", false),
        ("cuIpcCloseMemHandle", false),
        ("the owner unmaps and releases virtual memory", true),
        ("the owner frees legacy memory", true),
    ] {
        let ask = || {
            let (segment, legacy) = (gpu.segment(size)?, gpu.allocate(size)?);
            let peer = Peer::start("unmaps", how)?;
            let message = Message::memory(size, gpu.handle(legacy)?);
            let mut answer = peer.ask(&message, Some(segment.fd.as_fd()))?;
            if is_owner {
                let begun = Instant::now();
                let code = if how.contains("legacy") {
                    call("cuMemFree_v2", &[legacy])?
                } else {
                    call("cuMemUnmap", &[segment.address, size])?
                        .max(call("cuMemRelease", &[segment.handle])?)
                };
                let took = milliseconds(begun.elapsed().as_nanos() as u64);
                let other = peer.link().receive()?.0.text;
                answer = format!(
                    "the owner's calls took {took}: {}; the client: {other}",
                    name(code)
                );
            }
            let context = name(gpu.synchronize()?);
            Ok(format!("{answer}; the owner's context: {context}"))
        };
        question.line(&format!("while a kernel of a client reads ({how})"), ask());
    }
    Ok(())
}

/// A kernel reads imported memory for 0.6 s. After 0.1 s it is taken away.
pub fn unmap(link: &Link, how: &str) -> Answer<()> {
    let (message, fd) = link.receive_fd()?;
    let size = message.number()?;
    let gpu = Gpu::new()?;
    let handle = gpu.import(&fd)?;
    let address = if how.contains("legacy") || how.contains("Ipc") {
        gpu.open_memory(&message.handle)?
    } else {
        gpu.map(handle, size, READ_WRITE)?
    };
    let (stream, result) = (gpu.stream(NON_BLOCKING)?, gpu.allocate(4096)?);
    let read = |ns| gpu.launch("read", stream, &[address, size / 4, ns, result]);
    read(1_000_000)?;
    ok("cuStreamSynchronize", &[stream])?;
    read(600_000_000)?;
    std::thread::sleep(Duration::from_millis(100));
    let mut answer = String::new();
    let begun = Instant::now();
    let code = match how {
        "cuMemRelease" => call("cuMemRelease", &[handle])?,
        "cuMemUnmap" => call("cuMemUnmap", &[address, size])?,
        "cuIpcCloseMemHandle" => call("cuIpcCloseMemHandle", &[address])?,
        _ => {
            link.say("reading")?;
            0
        }
    };
    if how.starts_with("cu") {
        let took = milliseconds(begun.elapsed().as_nanos() as u64);
        answer = format!("the call took {took}: {}; ", name(code));
    }
    let code = call("cuStreamSynchronize", &[stream])?;
    link.say(format!("{answer}the kernel ends with {}", name(code)))
}

// --- Q12: a client is killed while its kernel runs ---

pub fn ask_client(question: &Question) -> Answer<()> {
    driver()?;
    for (what, seconds) in [("no kernel runs", "0"), ("a kernel of 3 s runs", "3")] {
        let part = format!("a client is killed while {what}");
        question.line(&part, seen_to_end(seconds));
    }
    Ok(())
}

fn seen_to_end(seconds: &str) -> Answer {
    let mut peer = Peer::start("spins", seconds)?;
    peer.link().receive()?;
    let pid = Pid::from_raw(peer.pid() as i32);
    let pid = pid.ok_or_else(|| Problem::Failed("no process".into()))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    let limit = Timespec {
        tv_sec: 8,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    if poll(&mut fds, Some(&limit))? == 0 {
        return failed("the pidfd says nothing within 8 s");
    }
    let by_pidfd = milliseconds(begun.elapsed().as_nanos() as u64);
    // The connection says so too, and not earlier than the process has closed its descriptors.
    let hung_up = peer.link().receive_within(Duration::from_secs(8)).is_err();
    let hang_up = milliseconds(begun.elapsed().as_nanos() as u64);
    let reaped = peer.kill();
    Ok(format!(
        "pidfd after {by_pidfd}, hang-up by {hang_up} ({hung_up}), {reaped}"
    ))
}

pub fn spin(link: &Link, seconds: &str) -> Answer<()> {
    let gpu = Gpu::new()?;
    let stream = gpu.stream(NON_BLOCKING)?;
    gpu.spin(stream, Duration::ZERO, 0)?;
    ok("cuCtxSynchronize", &[])?;
    let seconds: u64 = seconds.parse().unwrap_or(0);
    if seconds > 0 {
        gpu.spin(stream, Duration::from_secs(seconds), 0)?;
    }
    link.say("running")?;
    std::thread::sleep(Duration::from_secs(30));
    Ok(())
}
