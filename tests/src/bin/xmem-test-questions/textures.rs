//! Textures on memory of each kind: what converters of GStreamer need.

use std::os::fd::AsFd;

use crate::answer::{Answer, Problem, Question, attempt};
use crate::gpu::{Gpu, NOT_SUPPORTED, READ, READ_WRITE, call, name, pointer};
use crate::link::{Link, Message, Peer};

const WIDTH: u64 = 1920;
const HEIGHT: u64 = 1080;
const PITCH: u64 = 2048;

/// `CUDA_RESOURCE_DESC` of pitched memory with unsigned bytes.
#[repr(C)]
struct Resource {
    kind: u32,
    address: u64,
    format: u32,
    channels: u32,
    width: u64,
    height: u64,
    pitch: u64,
    reserved: [u32; 22],
    flags: u32,
}

/// `CUDA_TEXTURE_DESC`.
#[repr(C)]
struct Texture {
    address_modes: [u32; 3],
    filter: u32,
    flags: u32,
    reserved: [u32; 21],
}

const _: () = {
    assert!(size_of::<Resource>() == 144);
    assert!(size_of::<Texture>() == 104);
};

pub fn ask(question: &Question) -> Answer<()> {
    let gpu = Gpu::new()?;
    let size = gpu.round(PITCH * HEIGHT * 3 / 2);
    let segment = gpu.segment(size)?;
    let legacy = gpu.allocate(size)?;
    for address in [segment.address, legacy] {
        gpu.set(address, size, 7)?;
    }
    question.line("textures on memory of cuMemAlloc", textures(&gpu, legacy));
    question.line(
        "textures on own virtual memory",
        textures(&gpu, segment.address),
    );
    for how in ["virtual memory", "virtual memory, read-only", "legacy IPC"] {
        let ask = || {
            let message = Message::memory(size, gpu.handle(legacy)?);
            Peer::start("textures", how)?.ask(&message, Some(segment.fd.as_fd()))
        };
        question.line(&format!("textures on imported memory ({how})"), ask());
    }
    Ok(())
}

pub fn use_textures(link: &Link, how: &str) -> Answer<()> {
    let (message, fd) = link.receive_fd()?;
    let size = message.number()?;
    let gpu = Gpu::new()?;
    let address = match how {
        "legacy IPC" => gpu.open_memory(&message.handle)?,
        "virtual memory, read-only" => gpu.map(gpu.import(&fd)?, size, READ)?,
        _ => gpu.map(gpu.import(&fd)?, size, READ_WRITE)?,
    };
    link.say(textures(&gpu, address)?)
}

/// Makes textures as converters do, and compares what they fetch with the memory.
fn textures(gpu: &Gpu, address: u64) -> Answer {
    const INTEGERS: u32 = 1;
    const NORMALIZED: u32 = 2;
    let mut answers = Vec::new();
    for (what, channels, filter, flags) in [
        ("1 channel, point", 1, 0, INTEGERS),
        ("1 channel, linear", 1, 1, NORMALIZED),
        ("2 channels, linear", 2, 1, NORMALIZED),
    ] {
        let mut resource = Resource {
            kind: 3,
            address,
            format: 1,
            channels,
            width: WIDTH / u64::from(channels),
            height: HEIGHT,
            pitch: PITCH,
            reserved: [0; 22],
            flags: 0,
        };
        let mut description = Texture {
            address_modes: [1; 3],
            filter,
            flags,
            reserved: [0; 21],
        };
        let mut texture = 0u64;
        let arguments = [
            pointer(&mut texture),
            pointer(&mut resource),
            pointer(&mut description),
            0,
        ];
        let code = call("cuTexObjectCreate", &arguments)?;
        if code == NOT_SUPPORTED {
            return Err(Problem::NotHere("cuTexObjectCreate: NOT_SUPPORTED".into()));
        }
        let mut answer = format!("{what}: {}", name(code));
        if code == 0 && flags == INTEGERS {
            answer += ", ";
            answer += &attempt(fetch(gpu, texture, address));
        }
        answers.push(answer);
    }
    Ok(answers.join("; "))
}

fn fetch(gpu: &Gpu, texture: u64, address: u64) -> Answer {
    let count = gpu.allocate(512)?;
    gpu.set(count, 512, 0)?;
    let arguments = [texture, address, PITCH, WIDTH, count];
    gpu.launch_many("texture", 0, (HEIGHT, 256), &arguments)?;
    let code = gpu.synchronize()?;
    let wrong = gpu.words(count, 1)?[0];
    let all = WIDTH * HEIGHT;
    Ok(format!(
        "fetches {}, {wrong} of {all} texels differ",
        name(code)
    ))
}
