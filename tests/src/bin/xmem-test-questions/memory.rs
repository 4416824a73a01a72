//! Read-only mappings, and mappings in several contexts.

use std::os::fd::AsFd;

use crate::answer::{Answer, Question, attempt};
use crate::gpu::{Gpu, MIB, READ, READ_WRITE, Segment, call, name, ok, out};
use crate::link::{Link, Message, Peer};

const READS: &str = "it reads";
const MEMSET: &str = "memset writes";
const KERNEL: &str = "a kernel writes";
const COPY: &str = "a copy writes";
const ASKS: &str = "it asks for writing, and memset writes";
const ANEW: &str = "it imports again for writing, and memset writes";

/// What is done with a read-only mapping of another process, and what that process sees of it.
pub fn ask_read_only(question: &Question) -> Answer<()> {
    let gpu = Gpu::new()?;
    let size = gpu.round(4 * MIB);
    let segment = gpu.segment(size)?;
    gpu.set(segment.address, size, 0x5a)?;
    let own = gpu.map(segment.handle, size, READ);
    let own = own.and_then(|own| gpu.is_all(own, size, 0x5a));
    question.line("read-only, a second mapping of its owner", own);
    for how in [READS, MEMSET, KERNEL, COPY, ASKS, ANEW] {
        let part = format!("read-only, imported by another process ({how})");
        question.line(&part, intruded(&gpu, &segment, size, how));
    }
    Ok(())
}

fn intruded(gpu: &Gpu, segment: &Segment, size: u64, how: &str) -> Answer {
    gpu.set(segment.address, size, 0x5a)?;
    let peer = Peer::start("intruder", how)?;
    let answer = peer.ask(&Message::memory(size, Vec::new()), Some(segment.fd.as_fd()))?;
    let memory = attempt(gpu.is_all(segment.address, size, 0x5a));
    let context = name(gpu.synchronize()?);
    Ok(format!(
        "{answer}; the owner's memory {memory}, its context {context}"
    ))
}

pub fn intrude(link: &Link, how: &str) -> Answer<()> {
    let (message, fd) = link.receive_fd()?;
    let size = message.number()?;
    let gpu = Gpu::new()?;
    let mut address = gpu.map(gpu.import(&fd)?, size, READ)?;
    let mut answer = "mapped".to_owned();
    if how == READS {
        let all = gpu.is_all(address, size, 0x5a)?;
        let kernel = attempt(gpu.reads(address, size));
        return link.say(format!("{answer}; the copy engine reads {all}; {kernel}"));
    }
    if how == ANEW {
        address = gpu.map(gpu.import(&fd)?, size, READ_WRITE)?;
        answer += "; mapped for writing";
    }
    if how == ASKS {
        answer += "; cuMemSetAccess: ";
        answer += &name(gpu.allow(address, size, READ_WRITE)?);
    }
    let written = match how {
        KERNEL => gpu
            .launch_many("fill", 0, (8, 256), &[address, size / 4, 1])
            .map(|()| 0),
        COPY => {
            let other = gpu.allocate(size)?;
            call("cuMemcpyDtoDAsync_v2", &[address, other, size, 0])
        }
        _ => call("cuMemsetD8_v2", &[address, 1, size]),
    };
    let synchronized = name(gpu.synchronize()?);
    let other = gpu.allocate(4096);
    let well = other.and_then(|other| gpu.set(other, 4096, 1));
    link.say(format!(
        "{answer}; the write: {}, synchronize: {synchronized}, the writer's context afterwards: {}",
        attempt(written.map(name)),
        attempt(well.map(|()| "well"))
    ))
}

pub fn ask_contexts(question: &Question) -> Answer<()> {
    let gpu = Gpu::new()?;
    let size = gpu.round(4 * MIB);
    ok("cuCtxSetCurrent", &[0])?;
    let without = gpu.segment(size).map(|_| "works");
    question.line("virtual memory with no context current", without);
    ok("cuCtxSetCurrent", &[gpu.context])?;
    let segment = gpu.segment(size)?;
    let own = across_contexts(&gpu, segment.address, size);
    question.line("one own mapping in three contexts", own);
    let peer = Peer::start("contexts", "")?;
    let imported = peer.ask(&Message::memory(size, Vec::new()), Some(segment.fd.as_fd()));
    question.line("one imported mapping in three contexts", imported);
    Ok(())
}

pub fn use_contexts(link: &Link, _: &str) -> Answer<()> {
    let (message, fd) = link.receive_fd()?;
    let size = message.number()?;
    let gpu = Gpu::new()?;
    let address = gpu.map(gpu.import(&fd)?, size, READ_WRITE)?;
    link.say(across_contexts(&gpu, address, size)?)
}

/// Writes memory in one context and reads it in all.
fn across_contexts(gpu: &Gpu, address: u64, size: u64) -> Answer {
    let create = || out("cuCtxCreate_v2", &[0, gpu.device]);
    let contexts = [
        ("primary", gpu.context),
        ("second", create()?),
        ("third", create()?),
    ];
    let mut answers = Vec::new();
    for (value, (writer, writing)) in (1u8..).zip(contexts) {
        ok("cuCtxSetCurrent", &[writing])?;
        gpu.set(address, size, value)?;
        for (reader, reading) in contexts {
            ok("cuCtxSetCurrent", &[reading])?;
            let seen = attempt(gpu.is_all(address, size, value));
            answers.push(format!("{writer} to {reader} {seen}"));
        }
        let by_kernels = || {
            ok("cuCtxSetCurrent", &[writing])?;
            let words = size / 4;
            let fill = [address, words, value.into()];
            gpu.launch_many("fill", 0, (264, 256), &fill)?;
            ok("cuCtxSynchronize", &[])?;
            let mut wrong = 0;
            for (_, reading) in contexts {
                ok("cuCtxSetCurrent", &[reading])?;
                let count = gpu.allocate(512)?;
                gpu.set(count, 512, 0)?;
                let check = [address, words, value.into(), count];
                gpu.launch_many("check", 0, (264, 256), &check)?;
                ok("cuCtxSynchronize", &[])?;
                wrong += gpu.words(count, 1)?[0];
            }
            Ok(format!("{wrong} wrong words"))
        };
        answers.push(format!(
            "kernels of {writer} to all: {}",
            attempt(by_kernels())
        ));
    }
    Ok(answers.join(", "))
}
