//! A client that writes to the frames it receives, in every way that GStreamer and the kernel may
//! allow.
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
    /// The way that elements use: `gst_buffer_map(WRITE)`, after the buffer was made writable.
    Buffer,
    /// Through the mapping that the client has of the memory.
    Mapping,
    /// Through the descriptors of the memory that the client received.
    Descriptor,
    /// Through the memory opened again: by those descriptors, by its name in `/dev/shm`, or by the
    /// mapping.
    Reopened,
    /// Changes the size of the memory, through any of these.
    Size,
}

impl Way {
    /// All ways, in the order of the table.
    pub const ALL: [Way; 5] = [
        Way::Buffer,
        Way::Mapping,
        Way::Descriptor,
        Way::Reopened,
        Way::Size,
    ];

    /// The way that an order names.
    pub fn parse(name: &str) -> Option<Way> {
        let mut ways = Way::ALL.into_iter();
        ways.find(|way| way.name() == name)
    }

    /// The name of the way in orders.
    pub fn name(self) -> &'static str {
        match self {
            Way::Buffer => "buffer",
            Way::Mapping => "mapping",
            Way::Descriptor => "descriptor",
            Way::Reopened => "reopened",
            Way::Size => "size",
        }
    }

    /// The attacks that are tried on each descriptor.
    fn attacks(self) -> &'static [Attack] {
        match self {
            Way::Size => &[attacks::TRUNCATE],
            _ => attacks::ON_CONTENT,
        }
    }
}

/// The label in the table.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Buffer => "`gst_buffer_map(WRITE)`",
            Way::Mapping => "`mprotect` and `/proc/self/mem` on its mapping",
            Way::Descriptor => "the descriptors it received",
            Way::Reopened => "the memory opened again for writing",
            Way::Size => "`ftruncate` to nothing",
        })
    }
}

/// What a client needs for one way of attack.
pub struct Weapons {
    way: Way,
    /// The descriptors that an xmem producer sent to a client that keeps all of them.
    _kept: Arc<Mutex<Vec<OwnedFd>>>,
}

impl Weapons {
    /// Prepares an attack. A client of xmem closes the descriptors that it receives, so this opens
    /// a second connection to the socket of the producer, which keeps them.
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
                        // No one receives the second message.
                        let _ = sender.send(());
                    }
                    match connection.receive() {
                        Some(next) => message = next,
                        None => return,
                    }
                }
            });
            // If nothing arrives, the attack finds no descriptor and reports that.
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

/// The result of the attacks on one frame. It prints as text.
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

/// Maps the buffer for writing, as any element may that draws into a frame.
fn by_the_book(buffer: &mut gst::Buffer) -> Result<Outcome> {
    let shown = buffer.map_readable()?.as_ptr();
    let writable = buffer.make_mut();
    let remark = match writable.map_writable() {
        Err(_) => "refused",
        Ok(mut map) => {
            let same = map.as_ptr() == shown;
            let middle = map.len() / 2;
            map[middle..middle + 64].fill(0xa5);
            if same {
                "**written**, in place"
            } else {
                "refused: the client writes to a copy"
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
    // The buffer stays mapped during the attack: `buffer` may not be mapped elsewhere.
    let _map = buffer.map_readable()?;
    let address = target.page as *mut std::ffi::c_void;
    let mut outcome = Outcome::default();
    outcome.add("/proc/self/mem", attacks::write_as_debugger(address));
    // SAFETY: the page lies inside the memory of the buffer, which `_map` keeps mapped, and no
    // slice of it exists.
    outcome.add("mprotect", unsafe { attacks::mprotect_and_write(address) });
    Ok(outcome)
}

/// The location of a page of a frame.
struct Target {
    /// The address of the page in this process.
    page: usize,
    /// The offset of the page in the memory.
    offset: u64,
    /// The inode of the memory, which identifies its descriptors.
    inode: u64,
    /// The name of the memory in the kernel.
    name: String,
    /// The range of the mapping, as in `/proc/self/map_files`.
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

    /// The numbers of the descriptors that this process has of the memory.
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
