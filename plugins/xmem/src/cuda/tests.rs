//! Tests on the stand-in for the driver. Each runs again in a process of its own that finds it, so
//! that no other test loads it.
#![allow(unsafe_code)]

use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use glib::types::StaticType;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

use super::functions::library;
use super::memory::{Access, alloc, map_writable, wrap};
use super::*;

/// Set in the processes that find the stand-in.
const INSIDE: &str = "XMEM_TEST_ON_FAKECUDA";

/// Runs a test of this file in a process that finds the stand-in.
fn on_the_stand_in(name: &str, test: fn(&gst::Element)) {
    on_the_stand_in_with(module_path!(), name, &[], test);
}

/// Runs a test of a module in a process that finds the stand-in with these settings.
pub(crate) fn on_the_stand_in_with(
    module: &str,
    name: &str,
    settings: &[(&str, &str)],
    test: fn(&gst::Element),
) {
    if std::env::var_os(INSIDE).is_some() {
        gst::init().unwrap();
        match library() {
            Err(error) if error.to_string().contains("libgstreamer-plugins-bad") => {
                eprintln!("skipped: {error}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => test(&gst::Bin::new().upcast()),
        }
        return;
    }
    let program = std::env::current_exe().unwrap();
    let stand_in = program.ancestors().nth(2).unwrap().join("libfakecuda.so");
    assert!(
        stand_in.exists(),
        "{}: build it with \"cargo build --release -p fakecuda\"",
        stand_in.display()
    );
    let directory = tempfile::tempdir().unwrap();
    // Both are one file, because two files would be two drivers.
    for name in ["libcuda.so", "libcuda.so.1"] {
        symlink(&stand_in, directory.path().join(name)).unwrap();
    }
    let mut search = directory.path().as_os_str().to_owned();
    if let Some(inherited) = std::env::var_os("LD_LIBRARY_PATH") {
        search.push(":");
        search.push(inherited);
    }
    let name = format!("{}::{name}", module.split_once("::").unwrap().1);
    let output = Command::new(program)
        .args(["--exact", &name, "--nocapture"])
        .env("LD_LIBRARY_PATH", search)
        .env("FAKECUDA_DEVICES", "2")
        .env("G_DEBUG", "fatal-warnings")
        .env(INSIDE, "1")
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// Waits until something is so.
///
/// # Panics
/// If it is not in time.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "this did not happen: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn nv12() -> VideoInfo {
    let info = VideoInfo::builder(VideoFormat::Nv12, 320, 240);
    info.build().unwrap()
}

/// Whether a map for the CPU shows this byte in the first plane. It downloads the picture, and not
/// what lies between its rows.
fn shows(memory: &gst::Memory, byte: u8) -> bool {
    let info = CudaMemory::of(memory).unwrap().info();
    let bytes = memory.map_readable().unwrap();
    let rows = bytes.chunks(info.stride()[0] as usize);
    rows.take(240)
        .all(|row| row[..320].iter().all(|found| *found == byte))
}

/// A context of the first device.
fn context(element: &gst::Element) -> Context {
    ElementContext::default().ensure(element, Some(0)).unwrap()
}

#[test]
fn without_a_driver_the_error_names_what_is_missing() {
    gst::init().unwrap();
    match library() {
        Ok(_) => eprintln!("skipped: there is a driver"),
        Err(error) => {
            let text = error.to_string();
            let driver = text.contains("libcuda.so.1");
            assert!(
                driver || text.contains("libgstreamer-plugins-bad1.0-0"),
                "{text}"
            );
        }
    }
}

#[test]
fn other_memory_and_contexts_are_not_of_cuda() {
    gst::init().unwrap();
    let memory = gst::Memory::from_slice([0; 4]);
    assert!(CudaMemory::of(&memory).is_none());
    let element: gst::Element = gst::Bin::new().upcast();
    let context = ElementContext::default();
    context.set(&element, &gst::Context::new("other", true), None);
    let mut query = gst::query::Context::new("gst.cuda.context");
    assert!(!context.answer(&element, query.query_mut()));
    assert!(context.get().is_none());
}

#[test]
fn elements_share_the_context_of_a_device() {
    on_the_stand_in(
        "elements_share_the_context_of_a_device",
        |element: &gst::Element| {
            let first = ElementContext::default();
            let made = first.ensure(element, Some(1)).unwrap();
            assert_eq!(made.ordinal(), 1);
            assert_eq!(first.ensure(element, None).unwrap(), made);
            let name = made.object().type_().name();
            assert_eq!(name, "GstCudaContext");
            let device = made.device().unwrap();
            assert_eq!(device.ordinal(), 1);
            assert!(!made.handle().is_null());
            // It crosses as the context of a query.
            let mut query = gst::query::Context::new("gst.cuda.context");
            assert!(first.answer(element, query.query_mut()));
            let shared = query.context_owned().unwrap();
            let second = ElementContext::default();
            second.set(element, &shared, Some(0));
            assert!(second.get().is_none());
            second.set(element, &shared, None);
            assert_eq!(second.get().as_ref(), Some(&made));
            // Another device needs another context.
            let other = second.ensure(element, Some(0)).unwrap();
            assert_eq!(other.ordinal(), 0);
            assert_eq!(second.get(), Some(other));
            second.clear();
            assert!(second.get().is_none());
            let pushed = made.push().unwrap();
            drop(pushed);
            made.work_on(None).unwrap();
            made.all_work().unwrap();
        },
    );
}

#[test]
fn memory_is_allocated_mapped_and_copied() {
    on_the_stand_in(
        "memory_is_allocated_mapped_and_copied",
        |element: &gst::Element| {
            let context = context(element);
            let stream = context.new_stream().ok();
            assert_eq!(stream.is_some(), context.library().has_streams());
            let stream = stream.as_ref();
            let mut source = alloc(&context, stream, &nv12()).unwrap();
            let source = source.make_mut();
            let info = CudaMemory::of(source).unwrap().info();
            assert!(info.stride()[0] >= 320 && info.offset()[1] >= 320 * 240);
            assert_eq!(info.size(), source.size());
            source.map_writable().unwrap().fill(7);
            let from = CudaMemory::of(source).unwrap();
            assert!(from.needs_upload() && from.is_of(&context));
            assert_eq!(from.context(), context);
            assert_eq!(from.stream().as_ref(), stream);
            let from = from.map().unwrap();
            assert_eq!(from.size(), info.size());
            let mut copy = alloc(&context, stream, &nv12()).unwrap();
            {
                let to = map_writable(copy.make_mut()).unwrap();
                let pitch = info.stride()[0] as usize;
                let rows = |address| Rows { address, pitch };
                let (from, to) = (rows(from.address()), rows(to.address()));
                // SAFETY: both memories are of this size, and are mapped.
                unsafe { copy_rows(&context, stream, from, to, pitch, info.size() / pitch) }
                    .unwrap();
            }
            let view = CudaMemory::of(&copy).unwrap();
            assert_eq!(view.needs_sync(), stream.is_some());
            assert!(view.needs_download());
            assert!(shows(&copy, 7));
            // There is no memory at 0. The context is of no use after that.
            let nowhere = Rows {
                address: 0,
                pitch: 512,
            };
            // SAFETY: the stand-in looks at addresses.
            let failed = unsafe { copy_rows(&context, None, nowhere, nowhere, 1, 1) };
            let text = failed.unwrap_err().to_string();
            assert!(text.starts_with("cuMemcpy2DAsync: CUDA_ERROR_"), "{text}");
        },
    );
}

#[test]
fn pictures_that_cuda_memory_does_not_have_are_refused() {
    on_the_stand_in(
        "pictures_that_cuda_memory_does_not_have_are_refused",
        |element: &gst::Element| {
            let context = context(element);
            let info = VideoInfo::builder(VideoFormat::V210, 64, 64).build();
            // The library complains of it, except where that ends the process.
            gst::log::set_default_threshold(gst::DebugLevel::None);
            let error = alloc(&context, None, &info.unwrap()).unwrap_err();
            assert!(!error.to_string().is_empty());
        },
    );
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Owner;

impl Drop for Owner {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
        panic!("on purpose");
    }
}

#[test]
fn wrapped_memory_drops_its_owner() {
    on_the_stand_in(
        "wrapped_memory_drops_its_owner",
        |element: &gst::Element| {
            let context = context(element);
            let mut memory = alloc(&context, None, &nv12()).unwrap();
            let info = CudaMemory::of(&memory).unwrap().info();
            memory.make_mut().map_writable().unwrap().fill(9);
            let mapped = CudaMemory::of(&memory).unwrap().map().unwrap();
            let wrap = |stream: Option<&Stream>, address, access| {
                // SAFETY: the memory lives longer than what wraps it.
                unsafe { wrap(&context, stream, &info, address, access, Owner) }
            };
            if !context.library().has_streams() {
                let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    wrap(None, mapped.address(), Access::Read)
                }));
                assert!(refused.is_err() && DROPPED.load(Ordering::Relaxed) == 1);
                return;
            }
            let stream = context.new_stream().unwrap();
            let wrapped = wrap(Some(&stream), mapped.address(), Access::Read).unwrap();
            let view = CudaMemory::of(&wrapped).unwrap();
            assert_eq!(view.info(), info);
            assert_eq!(view.stream(), Some(stream.clone()));
            assert!(!view.needs_sync());
            assert_eq!(view.map().unwrap().address(), mapped.address());
            assert!(shows(&wrapped, 9));
            // A buffer with memory that may not be written copies it for a writer.
            let mut buffer = gst::Buffer::new();
            buffer.get_mut().unwrap().append_memory(wrapped);
            buffer.get_mut().unwrap().map_writable().unwrap().fill(1);
            assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
            let wrapped = wrap(None, mapped.address(), Access::Write).unwrap();
            assert!(CudaMemory::of(&wrapped).unwrap().stream().is_none());
            drop(wrapped);
            assert_eq!(DROPPED.load(Ordering::Relaxed), 2);
        },
    );
}

#[test]
fn pools_are_configured_with_streams() {
    on_the_stand_in(
        "pools_are_configured_with_streams",
        |element: &gst::Element| {
            let context = context(element);
            let library = context.library();
            assert!(library.pool_type().is_a(gst::BufferPool::static_type()));
            let mut config = gst::BufferPool::new().config();
            assert!(Stream::of_config(library, &config).is_none());
            let Ok(stream) = context.new_stream() else {
                assert!(!library.has_streams());
                return;
            };
            assert!(!stream.handle().is_null());
            context.work_on(Some(&stream)).unwrap();
            stream.set_in_config(&mut config);
            assert_eq!(Stream::of_config(library, &config), Some(stream.clone()));
            let other = ElementContext::default().ensure(element, Some(1)).unwrap();
            assert!(other.work_on(Some(&stream)).is_err());
            assert!(alloc(&other, Some(&stream), &nv12()).is_err());
        },
    );
}
