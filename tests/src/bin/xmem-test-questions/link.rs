//! Other processes of this program, and messages with descriptors between them.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Problem, failed, milliseconds};

/// How long the other process may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the processes of a question tell each other.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    /// A word or an answer.
    pub text: String,
    /// Sizes, addresses or times.
    pub numbers: Vec<u64>,
    /// A handle of legacy IPC.
    pub handle: Vec<u8>,
    /// The process has no answer: whether there is nothing to ask here, and why.
    problem: Option<(bool, String)>,
}

impl Message {
    /// A word.
    pub fn text(text: impl ToString) -> Message {
        let text = text.to_string();
        Message {
            text,
            ..Message::default()
        }
    }

    /// A size, with a handle.
    pub fn memory(size: u64, handle: Vec<u8>) -> Message {
        Message {
            numbers: vec![size],
            handle,
            ..Message::default()
        }
    }

    /// A problem instead of an answer.
    pub fn problem(problem: Problem) -> Message {
        let problem = Some(match problem {
            Problem::NotHere(why) => (true, why),
            Problem::Failed(why) => (false, why),
        });
        Message {
            problem,
            ..Message::default()
        }
    }

    /// The first number.
    pub fn number(&self) -> Answer<u64> {
        let first = self.numbers.first().copied();
        first.ok_or_else(|| Problem::Failed("a message without a number".into()))
    }
}

/// One end of a connection.
pub struct Link(OwnedFd);

impl Link {
    /// The end that a process was started with: its standard input.
    pub fn inherited() -> Answer<Link> {
        Ok(Link(std::io::stdin().as_fd().try_clone_to_owned()?))
    }

    /// Sends a message, and a descriptor with it.
    pub fn send(&self, message: &Message, fd: Option<BorrowedFd<'_>>) -> Answer<()> {
        let text = serde_json::to_vec(message)?;
        let fds: Vec<_> = fd.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return failed("no room for a descriptor");
        }
        sendmsg(
            &self.0,
            &[IoSlice::new(&text)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// Sends a word.
    pub fn say(&self, text: impl ToString) -> Answer<()> {
        self.send(&Message::text(text), None)
    }

    /// Receives the next message and its descriptor.
    pub fn receive_within(&self, patience: Duration) -> Answer<(Message, Option<OwnedFd>)> {
        let limit = Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: patience.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        if poll(&mut fds, Some(&limit))? == 0 {
            return failed(format!(
                "no answer of the other process within {patience:?}"
            ));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = vec![0; 1 << 17];
        let received = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes == 0 {
            return failed("the other process has ended");
        }
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let message: Message = serde_json::from_slice(&bytes[..received.bytes])?;
        match message.problem {
            Some((true, why)) => Err(Problem::NotHere(why)),
            Some((false, why)) => failed(format!("in the other process: {why}")),
            None => Ok((message, fd)),
        }
    }

    /// Receives the next message and its descriptor.
    pub fn receive(&self) -> Answer<(Message, Option<OwnedFd>)> {
        self.receive_within(PATIENCE)
    }

    /// Receives a message that has a descriptor.
    pub fn receive_fd(&self) -> Answer<(Message, OwnedFd)> {
        let (message, fd) = self.receive()?;
        let fd = fd.ok_or_else(|| Problem::Failed("a message without a descriptor".into()))?;
        Ok((message, fd))
    }
}

/// Another process of this program. Dropping the value kills it.
pub struct Peer {
    process: Child,
    link: Link,
}

impl Peer {
    /// Starts a process in a role.
    pub fn start(role: &str, argument: &str) -> Answer<Peer> {
        Peer::start_in("", role, argument)
    }

    /// As [`start`](Peer::start), in new namespaces.
    pub fn start_in(spaces: &str, role: &str, argument: &str) -> Answer<Peer> {
        let flags = SocketFlags::CLOEXEC;
        let (mine, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let process = Command::new(std::env::current_exe()?)
            .args(["peer", role, argument, spaces])
            .stdin(theirs)
            .spawn()?;
        Ok(Peer {
            process,
            link: Link(mine),
        })
    }

    /// The connection to it.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Sends a message, and returns the text of the answer.
    pub fn ask(&self, message: &Message, fd: Option<BorrowedFd<'_>>) -> Answer {
        self.link.send(message, fd)?;
        Ok(self.link.receive()?.0.text)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(Some(_)))
    }

    /// Kills it, and says how long it took to end.
    pub fn kill(&mut self) -> String {
        let begun = Instant::now();
        let _ = self.process.kill();
        while begun.elapsed() < Duration::from_secs(8) {
            if self.has_ended() {
                let took = begun.elapsed().as_nanos() as u64;
                return format!("reaped after {}", milliseconds(took));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        "NOT reaped within 8 s".into()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}
