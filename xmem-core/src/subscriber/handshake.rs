//! How a client connects: what it says to the producer, and what it checks of the answers.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::SealFlags;
use rustix::io::Errno;

use super::control::{Control, Observers, decode, or_socket};
use super::preparing::Preparing;
use crate::cancel::Cancellation;
use crate::channel::{self, Channel};
use crate::error::{Disconnection, Error, Refusal, Result};
use crate::link::Link;
use crate::message::{ByeReason, Hello, MAX_PRODUCER_MESSAGE, Message};
use crate::segment::{MetadataSegment, SegmentMemory, UnsealedPage};
use crate::sys::clock::{self, Deadline};
use crate::sys::memfd::Maker;
use crate::sys::poll::{PollFd, PollFlags, poll};
use crate::sys::seals::{self, Sealing};
use crate::sys::socket::{self, Connection};
use crate::sys::{futex, pidfd};

/// Connects and shakes hands. Returns the link, the position of the first frame, and what reads
/// the connection from then on. `hello` says what is wanted of a producer of this user.
pub(super) fn connect(
    channel: &Channel,
    hello: impl FnOnce(u32) -> Hello,
    deadline: Deadline,
    cancel: &Cancellation<'_>,
    observers: Observers,
) -> Result<(Link, u64, Control)> {
    let socket = channel::connect(channel, deadline, cancel)?;
    let uid = pidfd::peer_credentials(&socket).uid;
    let hello = hello(uid);
    let (leases, takes) = (hello.leases, hello.takes);
    let mut handshake = Handshake {
        channel,
        pidfd: pidfd::peer_pidfd(&socket)?,
        socket,
        deadline,
        cancel,
        buffer: vec![0; MAX_PRODUCER_MESSAGE],
    };
    let said = clock::monotonic();
    handshake.say(&Message::Hello(hello))?;
    let (message, fds) = handshake.hear()?;
    let Message::Welcome(welcome) = message else {
        return Err(refusal(message, "a welcome"));
    };
    let clock_offset = clock_offset(said, welcome.clock, clock::monotonic());
    if welcome.leases != leases {
        return Err(Error::Protocol(format!(
            "{} leases were granted, {leases} wanted",
            welcome.leases
        )));
    }
    let [metadata, page] = <[OwnedFd; 2]>::try_from(fds)
        .map_err(|_| Error::Protocol("a welcome without its descriptors".into()))?;
    let maker = if pidfd::is_own_user(uid) {
        Maker::OwnUser
    } else {
        Maker::Other
    };
    let metadata = MetadataSegment::open(metadata, welcome.slots, maker)?;
    let page = UnsealedPage::open(page)?;
    handshake.seal(page.fd(), pidfd::is_own_user(uid))?;
    let page = page.sealed()?;
    handshake.say(&Message::Ready)?;
    let position = match handshake.hear()?.0 {
        Message::Joined { position } => position,
        other => return Err(refusal(other, "a place in the stream")),
    };
    let Handshake {
        socket,
        pidfd,
        buffer,
        ..
    } = handshake;
    let link = Link::new(metadata, (page, leases), socket, clock_offset, uid)?;
    let control = Control {
        pidfd,
        buffer,
        maker,
        takes,
        observers,
        preparing: Preparing::default(),
    };
    Ok((link, position, control))
}

/// A connection that is being made.
struct Handshake<'a> {
    channel: &'a Channel,
    socket: Connection,
    /// Readable when the producer has exited.
    pidfd: Option<OwnedFd>,
    deadline: Deadline,
    cancel: &'a Cancellation<'a>,
    buffer: Vec<u8>,
}

impl Handshake<'_> {
    fn gone(what: &str) -> Error {
        Error::Disconnected(Disconnection::Gone(format!("{what} during the handshake")))
    }

    fn say(&self, message: &Message) -> Result<()> {
        let sent = socket::send(&self.socket, &message.encode(), &[]);
        sent.map_err(Self::failed("sending to the producer (sendmsg)"))
    }

    /// The error of a call on the connection, which the producer may have ended.
    fn failed(what: &'static str) -> impl FnOnce(Errno) -> Error {
        move |errno| match errno {
            Errno::PIPE | Errno::CONNRESET | Errno::AGAIN => Self::gone("it hung up"),
            other => Error::socket(what)(other),
        }
    }

    /// Seals the lease page, so that no process can punch a hole into it. A producer of another user
    /// might keep that from ending.
    fn seal(&self, page: &OwnedFd, is_own_user: bool) -> Result<()> {
        let seals = seals::producer_seals();
        let answer = if is_own_user {
            seals::seal(page, seals)
        } else {
            self.seal_aside(page, seals)
        };
        let Err(error) = answer else { return Ok(()) };
        match seals::seals_of(page)? {
            Some(found) if found.contains(SealFlags::SEAL) => Err(Error::Protocol(
                "the lease page can't be sealed: its producer has sealed it against that".into(),
            )),
            _ => Err(error),
        }
    }

    /// The same, in a thread that nothing waits for.
    fn seal_aside(&self, page: &OwnedFd, seals: SealFlags) -> Result<()> {
        let page = page
            .try_clone()
            .map_err(Error::memory("copying a descriptor"))?;
        let sealing = Sealing::start(page, seals)?;
        loop {
            let sealed = sealing.wait();
            if let Some(answer) = sealing.answer() {
                return answer.map_err(seals::not_sealed());
            }
            match futex::wait_any(&[sealed, self.cancel.wait()?], self.deadline) {
                Err(Error::TimedOut) => return Err(self.no_answer()?),
                other => other?,
            }
        }
    }

    fn no_answer(&self) -> Result<Error> {
        Ok(Error::NoAnswer {
            path: self.channel.socket_path()?,
            waited: Duration::MAX,
        })
    }

    /// Waits for the producer's next message, and its descriptors.
    fn hear(&mut self) -> Result<(Message, Vec<OwnedFd>)> {
        let event_fd = self.cancel.event_fd()?;
        let received = loop {
            let mut fds = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::new(&*event_fd, PollFlags::IN),
                PollFd::from_borrowed_fd(or_socket(&self.pidfd, &self.socket), PollFlags::IN),
            ];
            poll(&mut fds, self.deadline)?;
            self.cancel.check()?;
            if fds[0].revents().is_empty() && fds[2].revents().is_empty() {
                return Err(self.no_answer()?);
            }
            match socket::receive(&self.socket, &mut self.buffer) {
                Ok(received) => break received,
                Err(Errno::AGAIN | Errno::INTR) if fds[2].revents().is_empty() => {}
                Err(Errno::AGAIN) => return Err(Self::gone("its process exited")),
                Err(errno) => {
                    return Err(Self::failed("receiving from the producer (recvmsg)")(errno));
                }
            }
        };
        if received.len == 0 {
            return Err(Self::gone("it hung up"));
        }
        let message = decode(&self.buffer, &received)?;
        Ok((message, received.fds.into_memory(SegmentMemory::is_memory)?))
    }
}

/// What a goodbye in place of another message comes to.
fn refusal(message: Message, wanted: &str) -> Error {
    match message {
        Message::Bye { reason, .. } => match reason {
            ByeReason::Stopped => Error::Stopped,
            ByeReason::Refused(refusal) => Error::Refused(refusal),
            ByeReason::Failed(text) => Error::Refused(Refusal::Other {
                text,
                retryable: true,
            }),
        },
        other => Error::Protocol(format!("{other:?} instead of {wanted}")),
    }
}

/// How far this process's clock is ahead of another's, which was read at some time between two
/// readings of this one. Where it may be the same clock, it is; else the middle of what is possible,
/// which is off by half the time between the readings at most.
fn clock_offset(before: Duration, theirs: u64, after: Duration) -> i64 {
    let (before, after) = (before.as_nanos() as i128, after.as_nanos() as i128);
    let theirs = i128::from(theirs);
    if (before..=after).contains(&theirs) {
        return 0;
    }
    let offset = before.midpoint(after) - theirs;
    offset.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
