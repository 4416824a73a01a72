//! A client that writes the frames it was given, in every way that GStreamer and the kernel may let it.
#![allow(unsafe_code)]

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use xmem_tests::attacks::{self, Attack, PAGE};
use xmem_tests::process;
use xmem_tests::roles::Result;
use xmem_tests::wire::{self, Connection};

/// A way to write a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the book: `gst_buffer_map(WRITE)`, the buffer made writable before. Elements do that.
    Buffer,
    /// Through the client's own mapping of the memory.
    Mapping,
    /// Through descriptors of the memory that the client was sent.
    Descriptor,
    /// Through the memory opened again, by those descriptors, by its name in `/dev/shm`, or by the mapping.
    Reopened,
    /// Through any of those: the memory's size.
    Size,
}

impl Way {
    /// In the order of the table.
    pub const ALL: [Way; 5] = [
        Way::Buffer,
        Way::Mapping,
        Way::Descriptor,
        Way::Reopened,
        Way::Size,
    ];

    /// The one that an order names.
    pub fn parse(name: &str) -> Option<Way> {
        let mut ways = Way::ALL.into_iter();
        ways.find(|way| way.name() == name)
    }

    /// Its name in orders.
    pub fn name(self) -> &'static str {
        match self {
            Way::Buffer => "buffer",
            Way::Mapping => "mapping",
            Way::Descriptor => "descriptor",
            Way::Reopened => "reopened",
            Way::Size => "size",
        }
    }

    /// What is tried on each descriptor.
    fn attacks(self) -> &'static [Attack] {
        match self {
            Way::Size => &[attacks::TRUNCATE],
            _ => attacks::ON_CONTENT,
        }
    }
}

/// Its label in the table.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Buffer => "`gst_buffer_map(WRITE)`",
            Way::Mapping => "`mprotect` and `/proc/self/mem` on its mapping",
            Way::Descriptor => "the descriptors it was sent",
            Way::Reopened => "the memory opened again for writing",
            Way::Size => "`ftruncate` to nothing",
        })
    }
}

/// What a client needs to attack in one way.
pub struct Weapons {
    way: Way,
    /// What an xmem producer has sent to a client that keeps all of it.
    _kept: Arc<Mutex<Vec<OwnedFd>>>,
}

impl Weapons {
    /// Gets ready. A client of xmem closes the descriptors it was sent, so a second connection to the producer's socket
    /// keeps them.
    pub fn collect(way: Way, xmem: Option<&Path>) -> Weapons {
        let kept = Arc::new(Mutex::new(Vec::new()));
        if let Some(socket) = xmem {
            let (socket, keep) = (socket.to_owned(), kept.clone());
            let (sender, first) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let connection = Connection::open(&socket);
                let mut message = connection.greet(wire::VERSION, 1);
                loop {
                    let segment = message.kind == wire::SEGMENT;
                    let mut keep = keep.lock().unwrap_or_else(PoisonError::into_inner);
                    keep.append(&mut message.fds);
                    drop(keep);
                    if segment {
                        // Nobody waits for the second one.
                        let _ = sender.send(());
                    }
                    match connection.receive() {
                        Some(next) => message = next,
                        None => return,
                    }
                }
            });
            // Without it the attack finds nothing, and says so.
            let _ = first.recv_timeout(Duration::from_secs(5));
        }
        Weapons { way, _kept: kept }
    }

    /// Attacks the frame in a buffer.
    pub fn use_on(&self, buffer: &mut gst::Buffer) -> Result<Outcome> {
        match self.way {
            Way::Buffer => by_the_book(buffer),
            Way::Mapping => through_the_mapping(buffer),
            Way::Descriptor | Way::Reopened | Way::Size => {
                Target::find(buffer)?.attack_descriptors(self.way)
            }
        }
    }
}

/// What came of the attacks on one frame; written in words.
#[derive(Debug, Default)]
pub struct Outcome {
    done: Vec<String>,
    refused: usize,
    remark: Option<String>,
}

impl Outcome {
    fn add(&mut self, name: &str, result: std::result::Result<(), Errno>) {
        match result {
            Ok(()) => self.done.push(name.to_owned()),
            Err(_) => self.refused += 1,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(remark) = &self.remark {
            return f.write_str(remark);
        }
        let all = self.done.len() + self.refused;
        if !self.done.is_empty() {
            let mut done = self.done.clone();
            done.sort();
            done.dedup();
            return write!(
                f,
                "{} of {all} attempts **not refused**: {}",
                self.done.len(),
                done.join(", ")
            );
        }
        match all {
            1 => f.write_str("refused"),
            all => write!(f, "all {all} attempts refused"),
        }
    }
}

/// Maps the buffer to write, as any element may that wants to draw into a frame.
fn by_the_book(buffer: &mut gst::Buffer) -> Result<Outcome> {
    let shown = buffer.map_readable()?.as_ptr();
    let writable = buffer.make_mut();
    let remark = match writable.map_writable() {
        Err(_) => "refused",
        Ok(mut map) => {
            let same = map.as_ptr() == shown;
            let middle = map.len() / 2;
            map[middle..middle + 64].fill(0xa5);
            match same {
                true => "**written**, in place",
                false => "refused: what it writes is a copy of its own",
            }
        }
    };
    Ok(Outcome {
        remark: Some(remark.into()),
        ..Outcome::default()
    })
}

fn through_the_mapping(buffer: &gst::Buffer) -> Result<Outcome> {
    let target = Target::find(buffer)?;
    // Mapped as long as the attack lasts: `buffer` may be mapped by nobody else.
    let _map = buffer.map_readable()?;
    let address = target.page as *mut std::ffi::c_void;
    let mut outcome = Outcome::default();
    outcome.add("/proc/self/mem", attacks::write_as_debugger(address));
    // SAFETY: the page lies inside the buffer's memory, which `_map` keeps mapped, and nobody has taken a slice of it.
    outcome.add("mprotect", unsafe { attacks::mprotect_and_write(address) });
    Ok(outcome)
}

/// Where a page of a frame lies.
struct Target {
    /// Its address in this process.
    page: usize,
    /// Its offset in the memory.
    offset: u64,
    /// The memory's, by which its descriptors are known.
    inode: u64,
    /// What the kernel calls it.
    name: String,
    /// The mapping's range, as `/proc/self/map_files` has it.
    range: String,
}

impl Target {
    fn find(buffer: &gst::Buffer) -> Result<Target> {
        let map = buffer.map_readable()?;
        let start = map.as_ptr() as usize;
        // The first whole page after the header.
        let page = (start + 64).next_multiple_of(PAGE);
        let maps = process::maps(std::process::id(), "");
        let mut maps = maps.into_iter();
        let map = maps
            .find(|map| (map.start..map.start + map.len).contains(&page))
            .ok_or("a frame that is not mapped")?;
        Ok(Target {
            page,
            offset: map.offset + (page - map.start) as u64,
            inode: map.inode,
            range: format!("{:x}-{:x}", map.start, map.start + map.len),
            name: map.name,
        })
    }

    /// The numbers of this process's descriptors of the memory.
    fn numbers(&self) -> Vec<u32> {
        let fds = process::fds(std::process::id()).into_iter();
        let is_it = |(number, _): &(u32, _)| {
            let status = fs::metadata(format!("/proc/self/fd/{number}"));
            status.is_ok_and(|status| status.ino() == self.inode && self.inode != 0)
        };
        fds.filter(is_it).map(|(number, _)| number).collect()
    }

    fn attack_descriptors(&self, way: Way) -> Result<Outcome> {
        let numbers = self.numbers();
        let mut descriptors = Vec::new();
        let mut outcome = Outcome::default();
        if way != Way::Reopened {
            let this = pidfd_open(getpid(), PidfdFlags::empty())?;
            for &number in &numbers {
                let number = number as i32;
                descriptors.push(pidfd_getfd(&this, number, PidfdGetfdFlags::empty())?);
            }
        }
        if way != Way::Descriptor {
            let mut paths: Vec<String> = Vec::new();
            paths.extend(numbers.iter().map(|fd| format!("/proc/self/fd/{fd}")));
            if self.name.starts_with("/dev/shm/") {
                paths.push(self.name.clone());
            }
            paths.push(format!("/proc/self/map_files/{}", self.range));
            for path in paths {
                match attacks::reopen(&path) {
                    Ok(descriptor) => descriptors.push(descriptor),
                    Err(error) => outcome.add("open", Err(error)),
                }
            }
        }
        if descriptors.is_empty() && outcome.refused == 0 {
            outcome.remark = Some("the client has none".into());
        }
        for descriptor in &descriptors {
            for attack in way.attacks() {
                let result = attack.attempt(descriptor.as_fd(), self.offset);
                outcome.add(attack.name, result);
            }
        }
        Ok(outcome)
    }
}
