//! A stand-in for NVIDIA's CUDA driver, `libcuda.so.1`, on machines without a GPU.
//!
//! It proves protocols, lifetimes and the order of operations: that memory is exported, imported and
//! given back, that no frame is published before its GPU work is done, that an error of the device
//! reaches those it concerns. Its timings say nothing about a GPU, and it cannot show caches,
//! visibility between contexts, the reach of errors on hardware, or kernels and textures, which it
//! does not support.
//!
//! # How a process gets it
//!
//! The driver has several names that must be links to one file: cudarc opens `libcuda.so`, GStreamer
//! `libcuda.so.1`, and its plugin nvcodec `libnvcuvid.so.1`, without which it registers nothing. Two
//! copies would be two drivers. `xmem_tests::fakecuda` installs such a directory for a test, and
//! puts it on the `LD_LIBRARY_PATH` of child processes. It also makes copies in which functions are
//! missing.
//!
//! # What it is like
//!
//! - Device memory is a memfd. The driver maps it for itself; the address of the program is reserved
//!   and cannot be touched, so a program that reads device memory on the CPU crashes, as it does on
//!   hardware. The descriptor that `cuMemExportToShareableHandle` returns is a
//!   duplicate, so the memory outlives its creator.
//! - Handles of legacy IPC (memory and events) are opened through `/proc/PID/fd`: only while the
//!   exporter lives, and only in its PID namespace.
//! - A stream is a queue. Work of a queue runs at once, after a delay, or when the test says so.
//!   Records of events and waits for events are no work; they pass when all before them is done.
//! - An event counts its records and completions, in shared memory if it is an IPC event. If its
//!   recorder dies, it stays incomplete.
//! - A write to memory that is mapped read-only, or an access to memory that is not mapped, is error
//!   700. Such an error ends the context: its queues are dropped, and all later calls return it.
//! - In a child of `fork` all calls return error 3, as the driver does.
//! - `cuMemFree_v2` and `cuCtxDestroy_v2` wait for the work of the context, `cuMemUnmap` does not.
//!   Work that runs after its memory was unmapped fails with 700.
//! - Copies from pageable memory take the bytes at the call, copies to pageable memory wait.
//!
//! # Settings
//!
//! A process reads its environment at its first call. If a value is malformed, it says so on its
//! standard error, and all calls return error 999.
//!
//! | variable | value | default |
//! |---|---|---|
//! | `FAKECUDA_MODE` | `eager`: work runs within the call; `delay:MICROSECONDS`: each work takes that long; `hold`: work runs when the test says so | `eager` |
//! | `FAKECUDA_CONTROL` | a directory, in which each process listens on a socket named after its PID: see `control.rs` | none |
//! | `FAKECUDA_DEVICES` | the number of devices of the machine | 1 |
//! | `CUDA_VISIBLE_DEVICES` | ordinals or `GPU-UUID`, or the beginning of one; the list ends at the first entry that is neither | all |
//! | `FAKECUDA_MEMORY` | bytes of each device, counted for each process | 2 GiB |
//! | `FAKECUDA_FILL` | the byte that new device memory is filled with | 0 |
//! | `FAKECUDA_ATTR` | `ATTRIBUTE:VALUE,...`: attributes of all devices. 102:0 and 103:0 disable the functions of virtual memory, 125:0 those of IPC events | |
//! | `FAKECUDA_FAIL` | `FUNCTION@N:CODE,...`: call N of the function fails; `FUNCTION:CODE`: all calls | none |
//! | `FAKECUDA_NO_READONLY` | `1`: memory cannot be mapped read-only | |
//! | `FAKECUDA_VERSION` | what `cuDriverGetVersion` returns | 13010 |
//! | `FAKECUDA_LOG` | a file, which several processes may share: see `log.rs` | none |

#![allow(
    unsafe_code,
    reason = "a C library: it reads pointers of its callers and maps memory"
)]
#![allow(
    non_snake_case,
    reason = "the functions have the names of the driver's functions"
)]

#[macro_use]
mod entry;

mod abi;
mod alive;
mod api;
mod context;
mod control;
mod copy;
mod devices;
mod driver;
mod engine;
mod event;
mod faults;
mod log;
mod memory;
mod result;
mod settings;
mod shared;
mod space;
mod stream;
mod thread;
