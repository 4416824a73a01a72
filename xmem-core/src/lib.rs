//! Frames of video, audio and tensors, shared between processes without a copy.
//!
//! A **producer** writes each frame once, into shared memory. Any number of **clients** read it there.
//! The producer never waits for a client, unless it asks to; a client keeps a frame as long as it likes;
//! and a crash of one process leaves the others as they are.
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
//! // A client, usually in another process. It may start first, and waits for the producer.
//! let mut subscriber = Subscriber::builder(channel).connect()?;
//!
//! let mut frame = publisher.acquire(2 * 3 * 4)?;
//! frame.payload()?.write_elements(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
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
//! # The words
//!
//! A [`Channel`] names a stream. The producer opens it with a [`Publisher`], which owns a **pool** of
//! **slots** in shared memory. It [acquires](Publisher::acquire) a slot, writes the payload and a record
//! ([`BufferMeta`]: element type, shape, times), and [publishes](FrameMut::publish) it as a frame, whose
//! number in the stream is its **position**.
//!
//! A client [connects](SubscriberBuilder::connect) with a [`Subscriber`] and
//! [receives](Subscriber::receive) frames. Each [`Frame`] that it holds is a **lease**: the slot is not
//! written again until the frame is dropped. A client has a [`Quota`]: how many frames it can hold, and
//! how far it can fall behind before it misses some.
//!
//! Between the frames the producer says what concerns them, in order with them: a
//! [format](Publisher::set_format), other [events](Publisher::send_event), the
//! [end of the stream](Publisher::end_stream).
//!
//! # Where to go from here
//!
//! | to | see |
//! |---|---|
//! | read elements, rows, planes | [`Frame::view`], [`Payload::view`], [`View`] |
//! | receive in an event loop or a binding | [`Subscriber::poll_fd`], [`Subscriber::try_receive`], [`ErrorKind`] |
//! | end a wait from another thread, for Ctrl-C too | [`Canceller`] |
//! | wait for slow clients, in place of dropping frames | [`Overflow::Block`] |
//! | share memory of other origin, a dmabuf for example | [`ImportedMemory`], [`Publisher::import_frame`] |
//! | share memory of a GPU | [`cuda`], [`PublisherBuilder::storage`] |
//! | find channels | [`Channel::list`], [`ChannelMonitor`] |
//! | let clients begin with a sync point of a compressed stream | [`Role`], [`PublisherBuilder::keep_group`] |
//!
//! # What you can rely on
//!
//! - A client receives a frame whole or not at all, however slow, stopped or dead other processes are.
//! - No client can slow, block or corrupt the producer or another client. With [`Overflow::Block`], which
//!   asks for waiting, a client delays the producer once, by a bounded time.
//! - A crash leaves nothing behind but the socket's file, which the next producer replaces.
//! - A child that a process forks has no part in its channels: what the child drops stays with its
//!   parent, and what it tries fails with [`Error::Forked`].
//! - In the steady state a frame costs no page fault, no mapping, no passed descriptor, and at most
//!   one system call on each side: none when no client sleeps.
//!
//! # What you have to trust
//!
//! No other process. A client maps the frames read-only, and the kernel does not let it write them; it can
//! write its own lease page, of which the producer believes nothing. The producer can write its frames
//! at any time: a client checks a copy of each record before it uses it, and reads the payload through
//! copies that stay inside of the mapping. Processes of the same user can always attack each other in
//! other ways, with `ptrace` for example.
//!
//! # Systems
//!
//! Linux on 64-bit little-endian machines. `futex_waitv` (Linux 5.16) is used where the kernel has it.
//!
//! # How it is built
//!
//! From the ground: `sys` (system calls, thinly wrapped), `lease` (the lock-free protocol with all its
//! memory orderings, checked with loom), `segment` (the layout of shared memory) and `message`
//! (the bytes of the control connection), `clients`, `pool` and `writer` (slots), `frame` (what is in
//! hand), and on top [`Publisher`] and [`Subscriber`]. Imports point down.

// Under loom only the protocol is built: everything else runs on real memory.
#![cfg_attr(loom, allow(dead_code))]

mod lease;

cfg_if::cfg_if! {
    if #[cfg(not(loom))] {
        mod callback;
        mod cancel;
        mod channel;
        mod clients;
        pub mod cuda;
        mod dtype;
        mod error;
        mod event;
        mod frame;
        #[cfg(any(test, fuzzing))]
        #[doc(hidden)]
        pub mod fuzz;
        mod link;
        mod message;
        mod meta;
        mod payload;
        mod pool;
        mod publisher;
        mod quota;
        mod segment;
        mod subscriber;
        mod sys;
        mod uuid;
        mod writer;

        pub use self::{
            cancel::{Cancellation, Canceller},
            channel::{
                Channel, ChannelChange, ChannelMonitor, LiveChannel, Nearby,
                nearby as channels_nearby,
            },
            clients::ClientId,
            dtype::{DType, Element, MAX_NDIM, StorageType},
            error::{
                Disconnection, Error, PathAdvice, Refusal, Resource, Result, Setting, kind::ErrorKind,
            },
            event::{EventKind, StreamEvent},
            frame::{Frame, FrameMut, ImportedFrame, PublishedSlot, QueuedSlot, Unpublished},
            message::Delivery,
            meta::{BufferMeta, Role},
            payload::{Payload, PayloadMut, view::Elements, view::View},
            publisher::builder::PublisherBuilder,
            publisher::{ClientStats, Publisher, PublisherStats},
            quota::{Grant, Quota},
            segment::{ImportedMemory, MAX_LEASES, Storage},
            subscriber::builder::{SubscriberBuilder, UnsealedMemory},
            subscriber::{Item, Subscriber, UpstreamSender},
            sys::{clock::monotonic as monotonic_time, sched::set_time_slice},
            writer::{Overflow, PublisherEvent},
        };
    }
}
