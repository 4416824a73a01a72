//! Which channels there are in this user's directory, and how that changes.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use super::found::FileId;
use super::list::{self, Entry, Listening};
use super::nearest::Nearest;
use super::paths::file_name;
use super::question::{Answer, Question};
use super::runtime;
use crate::cancel::{Cancellation, Canceller};
use crate::error::Result;
use crate::sys::clock::{self, Deadline};
use crate::sys::closer;
use crate::sys::pidfd;
use crate::sys::poll::{PollFd, PollFlags, poll};
use crate::sys::watch::Watch;

/// Most channels that are told of: each costs this process a descriptor.
const MOST_CHANNELS: usize = 128;
/// How long the formats of channels that are new are waited for. A producer that runs needs less than
/// a millisecond.
const ANSWERING: Duration = Duration::from_millis(200);
/// The time between two checks whether closed connections have been released.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// The longest time between two looks at the directory: inotify does not tell all.
const LOOKING: Duration = Duration::from_secs(1);
/// The shortest time between two looks: names come and go several at once.
const SETTLING: Duration = Duration::from_millis(10);
/// Between two questions to one producer, where it had no format, at first; each time twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// Between two questions to one producer that has said its format.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A channel that has a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveChannel {
    /// Its name, for [`Channel::name`](super::Channel::name).
    pub name: String,
    /// The path of its socket.
    pub socket_path: PathBuf,
    /// The producer's process id, `None` where it can't be seen from here.
    pub pid: Option<u32>,
    /// The producer's effective user id.
    pub uid: u32,
    /// The format of its frames: for GStreamer encoded caps. `None` where the producer has not set one
    /// yet, does not answer, or has one of more than 4080 bytes. It comes from another process, and is
    /// not checked.
    pub format: Option<Vec<u8>>,
}

/// A change of the channels that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelChange {
    /// There is a channel more.
    Appeared(LiveChannel),
    /// The format of a channel is another one.
    Changed {
        /// As it was told of before.
        before: LiveChannel,
        /// As it is now.
        now: LiveChannel,
    },
    /// The producer of a channel has stopped, or is gone.
    Gone(LiveChannel),
}

/// Tells which channels have a producer in the directory in which this process looks them up by
/// their names (`$XMEM_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/xmem`, else `/tmp/xmem-UID`).
///
/// A producer is asked for its format when its channel appears, and from time to time after that, at
/// most four times a second. That costs it one message; it takes no client's place, no slot and no memory.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # use xmem_core::{Canceller, ChannelChange, ChannelMonitor};
/// # fn main() -> xmem_core::Result<()> {
/// let mut monitor = ChannelMonitor::new(Canceller::new());
/// for change in monitor.changes(Some(Duration::ZERO))? {
///     if let ChannelChange::Appeared(channel) = change {
///         println!("{} of user {}", channel.name, channel.uid);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChannelMonitor {
    directory: PathBuf,
    canceller: Canceller,
    watching: Option<Nearest>,
    /// The directory may be another than at the last look.
    is_due: bool,
    known: BTreeMap<String, Known>,
    told: BTreeMap<String, (FileId, LiveChannel)>,
}

/// A channel that was found, and what is known of its producer.
#[derive(Debug)]
struct Known {
    entry: Entry,
    channel: LiveChannel,
    pidfd: Option<OwnedFd>,
    question: Option<Question>,
    /// When to ask (again), on `CLOCK_MONOTONIC`; `None` for a peer that does not answer.
    next: Option<Duration>,
    pause: Duration,
}

impl ChannelMonitor {
    /// A monitor of the directory of this process, which has told of nothing yet. `canceller` ends its
    /// waits.
    pub fn new(canceller: Canceller) -> ChannelMonitor {
        ChannelMonitor::of(runtime::directory().0, canceller)
    }

    /// A monitor of another directory, one that this user's processes have as `XMEM_RUNTIME_DIR`.
    pub fn of(directory: impl Into<PathBuf>, canceller: Canceller) -> ChannelMonitor {
        ChannelMonitor {
            directory: directory.into(),
            canceller,
            watching: None,
            is_due: true,
            known: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// The changes since the last call; the first one tells of all channels that there are. Waits
    /// for a change, at most `timeout` (`None`: without limit), and returns an empty list after that. It
    /// may take 0.2 s longer, while it waits for producers to tell their formats, and as long again
    /// while connections that were closed are released.
    ///
    /// A directory that does not exist, or that other users can write, has no channels.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled);
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted) without descriptors.
    pub fn changes(&mut self, timeout: Option<Duration>) -> Result<Vec<ChannelChange>> {
        let deadline = Deadline::after(timeout);
        let canceller = self.canceller.clone();
        let cancel = canceller.begin()?;
        loop {
            cancel.check()?;
            self.look(&cancel)?;
            self.ask();
            self.hear();
            if self.differs() {
                self.await_answers(&cancel)?;
                return Ok(self.take_changes());
            }
            if deadline.has_passed() {
                return Ok(Vec::new());
            }
            self.wait(&cancel, deadline)?;
        }
    }

    /// Finds out which channels there are.
    fn look(&mut self, cancel: &Cancellation<'_>) -> Result<()> {
        if !std::mem::take(&mut self.is_due) {
            return Ok(());
        }
        // The watch comes before the look that counts.
        let path = self.directory.join(file_name("any"));
        let is_watched = |watching: &Nearest| watching.is_current(&path);
        if !self.watching.as_ref().is_some_and(is_watched) {
            let watching = Nearest::new(&path, Watch::of_all, || cancel.check())?;
            self.watching = Some(watching);
        }
        let entries = match runtime::check(&self.directory) {
            Ok(()) => list::entries(&self.directory, MOST_CHANNELS),
            Err(_) => Vec::new(),
        };
        let is_there = |known: &Known| entries.contains(&known.entry) && !known.has_exited();
        self.known.retain(|_, known| is_there(known));
        let patience = Deadline::after(Some(ANSWERING));
        for entry in entries {
            if self.known.contains_key(&entry.name) {
                continue;
            }
            // A connection that was closed is a thread, perhaps. As a rule those end at once.
            while closer::is_full() && !patience.has_passed() {
                cancel.pause(FULL_PAUSE)?;
            }
            if closer::is_full() {
                continue;
            }
            if let Some(listening) = list::listening(&entry) {
                let known = Known::new(entry, listening);
                self.known.insert(known.channel.name.clone(), known);
            }
        }
        Ok(())
    }

    /// Asks the producers whose turn it is.
    fn ask(&mut self) {
        self.known.retain(|_, known| known.ask());
    }

    /// Takes in what producers have answered.
    fn hear(&mut self) {
        self.known.values_mut().for_each(Known::hear);
    }

    fn differs(&self) -> bool {
        let known = self.known.values().map(Known::told_as);
        !known.eq(self.told.values().map(|(file, channel)| (*file, channel)))
    }

    /// Waits until producers that are new have told their formats, for a while.
    fn await_answers(&mut self, cancel: &Cancellation<'_>) -> Result<()> {
        let deadline = Deadline::after(Some(ANSWERING));
        let event_fd = cancel.event_fd()?;
        loop {
            let told = &self.told;
            let is_new = |known: &&Known| !told.contains_key(&known.entry.name);
            let new = self.known.values().filter(is_new);
            let questions = new.filter_map(|known| known.question.as_ref());
            let mut fds: Vec<_> = questions
                .map(|question| PollFd::new(question, PollFlags::IN))
                .collect();
            if fds.is_empty() || deadline.has_passed() {
                return Ok(());
            }
            fds.push(PollFd::new(&event_fd, PollFlags::IN));
            poll(&mut fds, deadline)?;
            drop(fds);
            cancel.check()?;
            self.hear();
        }
    }

    fn take_changes(&mut self) -> Vec<ChannelChange> {
        let now = self.known.values().map(|known| {
            let (file, channel) = known.told_as();
            (channel.name.clone(), (file, channel.clone()))
        });
        let now: BTreeMap<_, _> = now.collect();
        let before = std::mem::replace(&mut self.told, now);
        let is_same = |name: &String, file| self.told.get(name).is_some_and(|(is, _)| *is == file);
        let gone = before
            .iter()
            .filter(|(name, (file, _))| !is_same(name, *file))
            .map(|(_, (_, channel))| ChannelChange::Gone(channel.clone()));
        let others = self.told.iter().filter_map(|(name, (file, now))| {
            let now = now.clone();
            match before.get(name) {
                Some((was, before)) if was == file => {
                    let before = before.clone();
                    (before != now).then_some(ChannelChange::Changed { before, now })
                }
                _ => Some(ChannelChange::Appeared(now)),
            }
        });
        gone.chain(others).collect()
    }

    /// Waits until there may be a change.
    fn wait(&mut self, cancel: &Cancellation<'_>, deadline: Deadline) -> Result<()> {
        let event_fd = cancel.event_fd()?;
        let mut until = Deadline::after(Some(LOOKING)).min(deadline);
        let mut fds = vec![PollFd::new(&event_fd, PollFlags::IN)];
        let watch = self
            .watching
            .as_ref()
            .and_then(|nearest| nearest.watch.fd());
        if let Some(fd) = &watch {
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        for known in self.known.values() {
            let questions = known.question.iter().map(AsFd::as_fd);
            let others = questions.chain(known.pidfd.iter().map(AsFd::as_fd));
            fds.extend(others.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            if let Some(next) = known.next.filter(|_| known.question.is_none()) {
                until = until.min(Deadline::at(next));
            }
        }
        poll(&mut fds, until)?;
        drop(fds);
        cancel.pause(SETTLING)?;
        if let Some(nearest) = &self.watching {
            nearest.watch.clear();
        }
        self.is_due = true;
        Ok(())
    }
}

impl Known {
    fn new(entry: Entry, listening: Listening) -> Known {
        let channel = LiveChannel {
            name: entry.name.clone(),
            socket_path: entry.path.clone(),
            pid: pidfd::known(listening.pid),
            uid: listening.uid,
            format: None,
        };
        let mut known = Known {
            entry,
            channel,
            pidfd: None,
            question: None,
            next: Some(clock::monotonic()),
            pause: SHORTEST_PAUSE,
        };
        known.listens(listening);
        known
    }

    /// What is told of it: a file that is another one is another channel.
    fn told_as(&self) -> (FileId, &LiveChannel) {
        (self.entry.file, &self.channel)
    }

    /// Takes in what listens, and asks over the connection.
    fn listens(&mut self, listening: Listening) {
        if listening.connection.is_some() {
            self.channel.pid = pidfd::known(listening.pid);
            self.channel.uid = listening.uid;
        }
        self.pidfd = listening.pidfd.or(self.pidfd.take());
        self.question = listening.connection.and_then(Question::new);
        self.next = Some(clock::monotonic() + self.pause);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }

    /// Asks for the format if it is time to. Returns whether a producer still listens.
    fn ask(&mut self) -> bool {
        let is_due = self.next.is_some_and(|next| next <= clock::monotonic());
        if !is_due || self.question.is_some() || closer::is_full() {
            return true;
        }
        match list::listening(&self.entry) {
            Some(listening) => self.listens(listening),
            None => return false,
        }
        true
    }

    /// Takes in the answer to its question, where that is there.
    fn hear(&mut self) {
        let Some(answer) = self.question.as_ref().and_then(Question::answer) else {
            return;
        };
        self.question = None;
        match answer {
            Answer::Format(format) => {
                if format.is_some() {
                    self.pause = LONGEST_PAUSE;
                    self.next = Some(clock::monotonic() + self.pause);
                }
                self.channel.format = format;
            }
            Answer::HungUp => {}
            // Whether it lives its process tells, and its file.
            Answer::Unknown => {
                self.next = self
                    .pidfd
                    .is_none()
                    .then(|| clock::monotonic() + LONGEST_PAUSE)
            }
        }
    }

    /// Whether the producer's process is known to have exited.
    fn has_exited(&self) -> bool {
        self.pidfd.as_ref().is_some_and(|pidfd| {
            let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
            let now = Deadline::after(Some(Duration::ZERO));
            poll(&mut fds, now).is_ok() && !fds[0].revents().is_empty()
        })
    }
}
