//! A program that calls the CUDA driver as a test tells it: see `xmem_tests::fakecuda`.

// Descriptors and functions of a C library.
#![allow(unsafe_code)]

mod descriptor;
mod perilous;

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use xmem_tests::Line;
use xmem_tests::driver::Library;
use xmem_tests::fakecuda::{Argument, CudaOrder};
use xmem_tests::order::{self, Order};

fn main() {
    let library = Library::load().expect("there is a driver");
    let mut listener = None;
    println!("{}", CudaOrder::GREETING);
    for order in order::received::<CudaOrder>() {
        let line = obey(&library, &mut listener, &order);
        let mut answer = line.unwrap_or_else(|problem| Line::new("failed").with("text", problem));
        if answer.word.is_empty() {
            answer.word = order.answer().into();
        }
        println!("{answer}");
    }
}

fn obey(
    library: &Library,
    listener: &mut Option<UnixListener>,
    order: &CudaOrder,
) -> Result<Line, String> {
    let failed = |error: std::io::Error| error.to_string();
    let line = Line::default();
    Ok(match order {
        CudaOrder::Has(function) => line.with("found", u8::from(library.has(function))),
        CudaOrder::Call(function, arguments) => {
            // The call may wait.
            println!("begun");
            call(library, function, arguments)?
        }
        CudaOrder::Open(function, handle) => {
            let handle = handle.as_slice().try_into();
            let handle = handle.map_err(|_| "a handle has 64 bytes")?;
            let (code, output) = library.open(function, handle)?;
            line.with("code", code).with("out0", output)
        }
        CudaOrder::Look { address, bytes } => {
            let mut content = vec![0; *bytes as usize];
            let code = library.download(&mut content, *address)?;
            let line = line.with("code", code);
            match content.first() {
                Some(first) if content.iter().all(|byte| byte == first) => line.with("all", first),
                _ => line,
            }
        }
        CudaOrder::Upload {
            address,
            bytes,
            value,
            stream,
        } => {
            let mut content = vec![*value; *bytes as usize];
            let code = library.upload(*address, &content, *stream)?;
            content.fill(!value);
            // What the copy would read now must not be freed yet.
            std::mem::forget(content);
            line.with("code", code)
        }
        CudaOrder::Touch(address) => line.with("value", perilous::touch(*address)),
        CudaOrder::Listen(socket) => {
            // An earlier test of this process may have used the name.
            let _ = std::fs::remove_file(socket);
            *listener = Some(UnixListener::bind(socket).map_err(failed)?);
            line
        }
        CudaOrder::Send(fd, socket) => {
            // SAFETY: the driver made the descriptor for the test, which uses it once.
            let fd = unsafe { OwnedFd::from_raw_fd(*fd as i32) };
            descriptor::send(fd, socket).map_err(failed)?;
            line
        }
        CudaOrder::Receive => {
            let listener = listener.as_ref().ok_or("nothing was listened on")?;
            let fd = descriptor::receive(listener).map_err(failed)?;
            line.with("fd", std::os::fd::IntoRawFd::into_raw_fd(fd))
        }
        CudaOrder::Fork(function) => line.with("code", perilous::call_in_child(library, function)?),
        CudaOrder::Threads(threads, rounds) => {
            line.with("mistakes", in_threads(library, *threads, *rounds)?)
        }
    })
}

fn call(library: &Library, function: &str, arguments: &[Argument]) -> Result<Line, String> {
    let mut buffers: Vec<Vec<u64>> = arguments
        .iter()
        .map(|argument| match argument {
            Argument::Value(_) => Vec::new(),
            Argument::Out(size) => vec![0; size.div_ceil(8)],
            Argument::In(bytes) => {
                let words = bytes.chunks(8).map(|chunk| {
                    let mut word = [0; 8];
                    word[..chunk.len()].copy_from_slice(chunk);
                    u64::from_ne_bytes(word)
                });
                words.collect()
            }
        })
        .collect();
    let both = arguments.iter().zip(&mut buffers);
    let values = both.map(|(argument, buffer)| match argument {
        Argument::Value(value) => *value,
        _ => buffer.as_mut_ptr().expose_provenance() as u64,
    });
    let values: Vec<u64> = values.collect();
    let code = library.call(function, &values)?;
    let outputs = arguments.iter().zip(&buffers);
    let outputs = outputs.filter(|(argument, _)| matches!(argument, Argument::Out(_)));
    let words = outputs.flat_map(|(_, words)| words);
    let line = Line::default().with("code", code);
    Ok(words.enumerate().fold(line, |line, (number, word)| {
        line.with(&format!("out{number}"), word)
    }))
}

/// Uses memory and streams in several threads. Returns the number of calls that failed and of wrong
/// contents.
fn in_threads(library: &Library, threads: u64, rounds: u64) -> Result<u64, String> {
    let mut context = 0_u64;
    let at = |value: &mut u64| std::ptr::from_mut(value).expose_provenance() as u64;
    library.call("cuCtxGetCurrent", &[at(&mut context)])?;
    let work = |thread: u64| -> Result<u64, String> {
        const BYTES: u64 = 10_000;
        let mut mistakes = 0;
        let mut call = |function: &str, arguments: &[u64]| {
            mistakes += u64::from(library.call(function, arguments)? != 0);
            Ok::<_, String>(())
        };
        call("cuCtxSetCurrent", &[context])?;
        let (mut stream, mut address) = (0, 0);
        let mut wrong = 0;
        for round in 0..rounds {
            let value = (thread * rounds + round) as u8;
            call("cuStreamCreate", &[at(&mut stream), round % 2])?;
            call("cuMemAlloc_v2", &[at(&mut address), BYTES])?;
            call("cuMemsetD8Async", &[address, value.into(), BYTES, stream])?;
            call("cuStreamSynchronize", &[stream])?;
            let mut content = vec![0; BYTES as usize];
            wrong += u64::from(library.download(&mut content, address)? != 0);
            wrong += u64::from(content != vec![value; BYTES as usize]);
            call("cuStreamDestroy_v2", &[stream])?;
            call("cuMemFree_v2", &[address])?;
            if round % 10 == 0 {
                std::thread::sleep(Duration::from_micros(1));
            }
        }
        Ok(mistakes + wrong)
    };
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?);
        results.sum()
    })
}
