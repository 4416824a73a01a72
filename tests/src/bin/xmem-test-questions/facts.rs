//! Facts of the machine, the driver and the device.

use std::fs;
use std::time::{Duration, Instant};

use crate::answer::{Answer, Problem, Question, failed, is_stand_in, milliseconds};
use crate::clock::Clock;
use crate::gpu::{Gpu, MIB, call, driver, name, ok, out, pointer};

/// Attributes of a device that decide what works.
const ATTRIBUTES: &[(u64, &str)] = &[
    (75, "compute capability, major"),
    (76, "compute capability, minor"),
    (16, "multiprocessors"),
    (18, "integrated"),
    (40, "copy engines"),
    (41, "unified addressing"),
    (14, "texture alignment"),
    (51, "texture pitch alignment"),
    (102, "virtual memory management"),
    (103, "export of descriptors"),
    (113, "read-only registration of host memory"),
    (122, "64-bit operations of streams on memory"),
    (125, "legacy IPC"),
];

pub fn ask(question: &Question) -> Answer<()> {
    let content = |path: &str| -> Answer {
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| Problem::NotHere(format!("{path}: {error}")))?;
        Ok(text.trim().to_owned())
    };
    question.line("kernel", content("/proc/version"));
    question.line(
        "clock source",
        content("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    );
    let cpus = std::thread::available_parallelism().map_err(Into::into);
    question.line("CPUs", cpus.map(|cpus| cpus.to_string()));
    driver()?;
    let begun = Instant::now();
    let gpu = Gpu::new()?;
    let took = begun.elapsed().as_nanos() as u64;
    question.line("cuInit and primary context", Ok(milliseconds(took)));
    question.line("library", library());
    question.line("driver's version of CUDA", version());
    question.line(
        "module of the kernel",
        content("/proc/driver/nvidia/version"),
    );
    question.line("device", device(&gpu));
    let total = out("cuDeviceTotalMem_v2", &[gpu.device]);
    question.line("memory", total.map(|total| format!("{} MiB", total / MIB)));
    for (attribute, what) in ATTRIBUTES {
        let value = out("cuDeviceGetAttribute", &[*attribute, gpu.device]);
        question.line(&format!("attribute {attribute}, {what}"), value);
    }
    let granularities = [0, 1].map(|which| gpu.granularity(which));
    let [least, recommended] = granularities;
    question.line(
        "granularity",
        least.and_then(|least| Ok(format!("{least}, recommended {}", recommended?))),
    );
    question.line("kernels from PTX", kernels(&gpu));
    question.line("clock of the GPU", clock(&gpu));
    Ok(())
}

fn library() -> Answer {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let row = maps.lines().find(|row| row.contains("libcuda.so"));
    let Some((_, path)) = row.and_then(|row| row.split_once('/')) else {
        return failed("it is not mapped");
    };
    Ok(if is_stand_in() {
        "the stand-in".into()
    } else {
        format!("/{path}")
    })
}

fn version() -> Answer {
    let version = out("cuDriverGetVersion", &[])?;
    Ok(format!("{}.{}", version / 1000, version % 1000 / 10))
}

fn device(gpu: &Gpu) -> Answer {
    let mut text = [0u8; 100];
    ok("cuDeviceGetName", &[pointer(&mut text), 99, gpu.device])?;
    let mut uuid = [0u8; 16];
    ok("cuDeviceGetUuid_v2", &[pointer(&mut uuid), gpu.device])?;
    let uuid: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = String::from_utf8_lossy(&text);
    let count = out("cuDeviceGetCount", &[])?;
    Ok(format!(
        "{}, UUID {uuid}, {count} visible",
        text.trim_end_matches('\0')
    ))
}

fn kernels(gpu: &Gpu) -> Answer {
    let begun = Instant::now();
    gpu.spin(0, Duration::ZERO, 0)?;
    let took = begun.elapsed().as_nanos() as u64;
    let code = call("cuCtxSynchronize", &[])?;
    Ok(format!(
        "loaded in {}, run: {}",
        milliseconds(took),
        name(code)
    ))
}

fn clock(gpu: &Gpu) -> Answer {
    let clock = Clock::new(gpu)?;
    let (first, trip) = clock.offset()?;
    std::thread::sleep(Duration::from_millis(500));
    let (second, _) = clock.offset()?;
    Ok(format!(
        "round trip by pinned memory {:.2} us, drift {:.1} us a second",
        trip as f64 / 1e3,
        (second - first) as f64 * 2.0 / 1e3
    ))
}
