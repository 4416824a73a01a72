//! A question to a producer: what is the format? It costs no client's place and no memory there.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::message::{MAX_PRODUCER_MESSAGE, Message};
use crate::sys::socket::{self, Connection};

/// A question that was not answered yet. Its drop takes it back.
#[derive(Debug)]
pub(super) struct Question(Connection);

/// What has come of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The format; `None` where there is none, or it is too long to be told.
    Format(Option<Vec<u8>>),
    /// Not now: the producer had to close the connection.
    HungUp,
    /// The peer does not answer such questions: it is not an xmem of this version.
    Unknown,
}

impl Question {
    /// Asks over a connection that has said nothing. `None` where it has ended.
    pub(super) fn new(connection: Connection) -> Option<Question> {
        socket::send(&connection, &Message::Ask.encode(), &[]).ok()?;
        Some(Question(connection))
    }

    /// The answer, where it is there.
    pub(super) fn answer(&self) -> Option<Answer> {
        let mut buffer = [0; MAX_PRODUCER_MESSAGE];
        let received = match socket::receive(&self.0, &mut buffer) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Err(_) => return Some(Answer::HungUp),
        };
        if received.len == 0 {
            return Some(Answer::HungUp);
        }
        let has_fds = received.lost_fds || !received.fds.is_empty();
        if received.truncated || has_fds {
            return Some(Answer::Unknown);
        }
        Some(match Message::decode(&buffer[..received.len]) {
            Ok(Message::Answer { format, .. }) => {
                Answer::Format(format.filter(|format| !format.is_empty()))
            }
            _ => Answer::Unknown,
        })
    }
}

impl AsFd for Question {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
