//! Zero-copy frames between processes: one writes, others read, and none waits for another.
//!
//! A producer opens a **channel** with a [`Publisher`]. It owns a **pool** of **slots** in shared
//! memory: it [acquires](Publisher::acquire) one, writes a **frame** into it and
//! [publishes](FrameMut::publish) it. Clients [connect](SubscriberBuilder::connect) with a
//! [`Subscriber`] and [receive](Subscriber::receive) frames where they are: nothing is copied, and
//! a frame that a client holds (by a **lease**) is not written again until it is dropped.
//!
//! ```
//! use std::time::Duration;
//! use xmem_core::{BufferMeta, Channel, DType, Publisher, Subscriber};
//!
//! # fn main() -> xmem_core::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let channel = Channel::path(directory.path().join("embeddings.sock"));
//! # #[cfg(any())]
//! let channel = Channel::name("embeddings");
//! let publisher = Publisher::builder(channel.clone()).open()?;
//!
//! // A client: another process, usually. It may also start first.
//! let mut subscriber = Subscriber::builder(channel).connect()?;
//!
//! let mut frame = publisher.acquire(2 * 3 * 4)?;
//! frame.payload().write_elements(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
//! *frame.meta_mut() = BufferMeta::tensor(DType::Float32, &[2, 3])?;
//! frame.publish()?;
//!
//! let frame = subscriber.receive(Some(Duration::from_secs(1)))?;
//! assert_eq!(frame.meta().shape(), &[2, 3]);
//! let row = frame.view::<f32>()?.at(1).unwrap();
//! assert_eq!(row.iter().sum::<f32>(), 15.0);
//! # Ok(())
//! # }
//! ```
//!
//! # What you can rely on
//!
//! - A frame is received whole or not at all, however slow, stopped or dead other processes are.
//! - No client can slow, block or corrupt the producer or another client. With
//!   [`Overflow::Block`], which asks for waiting, a client delays it by a bounded time once.
//! - Nothing is left behind by a crash but the socket's file, which the next producer replaces.
//! - A child that a process forks has no part in its channels: what it drops stays with its parent,
//!   what it tries fails with [`Error::Forked`].
//! - In the steady state a frame costs no page fault, no mapping, no passed descriptor, and at most
//!   one system call on each side, none when no client sleeps.
//!
//! # What you have to trust
//!
//! No other process. A client maps the frames read-only and the kernel forbids it to write them; all that it
//! may write is its own lease page, of which the producer believes nothing. The producer may write
//! frames at any time: a client checks a copy of each record before it uses it, and sees the
//! payload only through views that stay inside of the mapping. Processes of the same user can
//! always attack each other in other ways, with `ptrace` for example.
//!
//! # How it is built
//!
//! From the ground: `sys` (the kernel's calls, thin), `lease` (the lock-free protocol and all its
//! memory orderings, checked with loom), `segment` (the layout of shared memory) and `message`
//! (the control connection's bytes), `clients`, `pool` and `writer` (slots), `frame` (what is in hand), and on
//! top [`Publisher`] and [`Subscriber`]. Imports point down.

// Under loom only the protocol is built: everything else runs on real memory.
#![cfg_attr(loom, allow(dead_code))]

#[cfg(not(loom))]
mod callback;
#[cfg(not(loom))]
mod cancel;
#[cfg(not(loom))]
mod channel;
#[cfg(not(loom))]
mod clients;
#[cfg(not(loom))]
mod dtype;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod event;
#[cfg(not(loom))]
mod frame;
#[cfg(all(not(loom), any(test, fuzzing)))]
#[doc(hidden)]
pub mod fuzz;
mod lease;
#[cfg(not(loom))]
mod link;
#[cfg(not(loom))]
mod message;
#[cfg(not(loom))]
mod meta;
#[cfg(not(loom))]
mod payload;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
mod publisher;
#[cfg(not(loom))]
mod quota;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
mod subscriber;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod writer;

#[cfg(not(loom))]
pub use self::{
    cancel::{Cancellation, Canceller},
    channel::{Channel, ChannelChange, ChannelMonitor, LiveChannel, nearby as channels_nearby},
    clients::ClientId,
    dtype::{AccessMode, DType, Element, MAX_NDIM, StorageType},
    error::{Error, Resource, Result},
    event::{EventKind, StreamEvent},
    frame::{Frame, FrameMut, ImportedFrame, PublishedSlot, Unpublished},
    message::Delivery,
    meta::{BufferMeta, NONE, Role},
    payload::{Payload, PayloadMut, View},
    publisher::{ClientStats, Publisher, PublisherBuilder, PublisherStats},
    quota::{Grant, Quota},
    segment::{ImportedMemory, MAX_LEASES},
    subscriber::builder::{SubscriberBuilder, UnsealedMemory},
    subscriber::{Item, Subscriber, UpstreamSender},
    sys::{clock::monotonic as monotonic_time, sched::set_time_slice},
    writer::{Overflow, PublisherEvent},
};
