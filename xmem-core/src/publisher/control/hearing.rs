//! What peers say, and what those are told that are not taken as clients.

use rustix::io::Errno;

use super::{Control, MAX_STRANGERS};
use crate::error::{Error, Refusal};
use crate::event::EventKind;
use crate::message::{ByeReason, MAX_ANSWER, Message};
use crate::publisher::peer::{LEAVING, Stage};
use crate::sys::clock::Deadline;
use crate::sys::{pidfd, socket};
use crate::writer::PublisherEvent;

impl Control {
    /// Reads a message. False when the connection has to be closed.
    pub(super) fn attend(&mut self, at: usize) -> bool {
        if !self.peers[at].is_heard() {
            return true;
        }
        let received = match socket::receive(&self.peers[at].socket, &mut self.buffer) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        };
        if received.len == 0 {
            return false;
        }
        let with_fds = received.lost_fds || !received.fds.is_empty();
        let message = if received.truncated || with_fds {
            Err(Error::Protocol(
                "a message with descriptors, or too long".into(),
            ))
        } else {
            Message::decode(&self.buffer[..received.len])
        };
        match (&self.peers[at].stage, message) {
            (Stage::Greeting(_), Ok(Message::Hello(hello))) => {
                if let Err(error) = self.welcome(at, hello) {
                    self.turn_away(at, error);
                }
            }
            (Stage::Greeting(_), Ok(Message::Ask)) => self.answer(at),
            (Stage::Mapping(..), Ok(Message::Ready)) => {
                if let Err(error) = self.begin_admission(at) {
                    self.turn_away(at, error);
                } else {
                    self.go_on_admitting(at);
                }
            }
            (&Stage::Client(client), Ok(Message::Upstream { content })) => {
                let peer = &mut self.peers[at];
                peer.count_upstream();
                let uid = peer.credentials.uid;
                self.writer.tell(PublisherEvent::Upstream {
                    client,
                    uid,
                    content,
                });
            }
            (&Stage::Client(client), Ok(Message::Request { number, quota })) => {
                self.peers[at].count_upstream();
                let writer = &self.writer;
                writer.with_pool(|pool| pool.request(client, number, quota));
            }
            (_, Ok(_)) => {
                let text = "a message that a client can't send now";
                self.refuse(at, Refusal::violation(text));
            }
            (_, Err(error)) => self.refuse(at, Refusal::violation(error.to_string())),
        }
        true
    }

    /// Tells a peer why it is not taken as a client.
    pub(super) fn turn_away(&mut self, number: usize, error: Error) {
        let refusal = match error {
            Error::Refused(refusal) => refusal,
            Error::Protocol(what) => Refusal::violation(what),
            Error::ResourceExhausted { what, resource, .. } => {
                Refusal::Exhausted { what, resource }
            }
            other => Refusal::Other {
                text: format!("it can't take another client: {other}"),
                retryable: other.is_retryable(),
            },
        };
        self.refuse(number, refusal);
    }

    /// Tells a peer that only asks what the format is.
    pub(super) fn answer(&mut self, number: usize) {
        let is_too_many = self.refused.count() >= MAX_STRANGERS;
        let peer = &mut self.peers[number];
        if is_too_many {
            peer.hang_up();
            return;
        }
        let format = self
            .writer
            .with_pool(|pool| pool.current(EventKind::Format));
        let format = format.as_deref().unwrap_or_default();
        let answer = Message::Answer {
            length: format.len() as u32,
            format: (format.len() <= MAX_ANSWER).then(|| format.to_vec()),
        };
        peer.answer(&answer, Deadline::after(Some(LEAVING)));
    }

    /// Says no, and why. A peer that is a client already stays in the scan until it hangs up: it
    /// may still hold frames.
    pub(super) fn refuse(&mut self, number: usize, refusal: Refusal) {
        let peer = &mut self.peers[number];
        match peer.client() {
            Some(id) => {
                peer.evict(&refusal);
                self.writer.evict_client(id);
            }
            // What they don't read is memory that counts for this process.
            None if self.refused.count() >= MAX_STRANGERS => peer.hang_up(),
            None => {
                let reason = ByeReason::Refused(refusal.clone());
                peer.bye(reason, 0, Deadline::after(Some(LEAVING)));
            }
        }
        self.writer.tell(PublisherEvent::ClientRefused {
            pid: pidfd::known(self.peers[number].credentials.pid),
            reason: refusal,
        });
    }
}
