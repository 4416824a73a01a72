//! Runs a client against a hostile producer. It attacks in the Welcome, in every message, and in
//! all words of the metadata segment, which change while the client reads them.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::SealFlags;
use xmem_core::{BufferMeta, Channel, Delivery, Element, Error, Frame, Result, Subscriber};

use super::device::{DeviceSegment, IPC, VIRTUAL};
use super::impostor::{EXTRA_SIZE, HEAD, Impostor, META_SIZE, PAGE, pattern, welcome};
use super::input::Input;
use super::socket_path;
use crate::area::{Area, SEALED};
use crate::wait::PATIENCE;
use crate::wire;

/// Runs a connection to a producer that acts as the bytes say. Checks that the client ends with a
/// frame or an error, reads only what the records of frames say, and does not hang.
///
/// The first bytes say what is wrong with the Welcome (in most cases nothing). The others are
/// actions of producer and client, in turn.
pub fn producer(bytes: &[u8]) {
    let started = Instant::now();
    let mut input = Input(bytes);
    let settings = Settings::read(&mut input);
    if let Some(mut scene) = Scene::open(&settings) {
        for _ in 0..300 {
            if input.is_empty() {
                break;
            }
            scene.act(&mut input);
        }
        scene.end();
    }
    assert!(started.elapsed() < PATIENCE, "it hung");
}

/// The content of the Welcome, and the descriptors that come with it.
struct Settings {
    leases: u32,
    delivery: Delivery,
    slots: usize,
    position: u64,
    /// One bit for each flaw.
    flaws: u8,
    /// A parameter of the flaws.
    detail: u64,
    answer: Vec<u8>,
}

impl Settings {
    fn read(input: &mut Input<'_>) -> Settings {
        let first = input.byte();
        let slots = match input.byte() {
            few @ 0..0xf0 => 1 + usize::from(few) % 8,
            many => 1 << (many % 13),
        };
        let position = input.number();
        let flaws = input.byte();
        let detail = match flaws {
            0 => 0,
            _ => input.number(),
        };
        let length = match flaws & 1 {
            0 => 0,
            _ => input.below(80),
        };
        Settings {
            leases: 1 + u32::from(first % 4),
            delivery: match first & 0x80 {
                0 => Delivery::InOrder,
                _ => Delivery::Latest,
            },
            slots,
            position,
            flaws,
            detail,
            answer: input.bytes(length).to_vec(),
        }
    }

    fn is_flawed(&self, bit: u32) -> bool {
        self.flaws & (1 << bit) != 0
    }
}

/// Producer and client.
struct Scene {
    impostor: Impostor,
    subscriber: Subscriber,
    frames: Vec<Frame>,
}

impl Scene {
    /// Performs the handshake. `None` if the client refuses the Welcome.
    fn open(settings: &Settings) -> Option<Scene> {
        let seals = if settings.is_flawed(4) {
            SealFlags::from_bits_truncate(settings.detail as u32) & SEALED
        } else {
            SEALED
        };
        let surplus = if settings.is_flawed(6) { PAGE } else { 0 };
        // The stream of the producer has run for a while.
        let mut impostor = Impostor::new(settings.slots, surplus, seals, settings.position);
        if settings.is_flawed(3) {
            let at = settings.detail as usize % 24;
            impostor.metadata.write(at, &[settings.flaws]);
        }
        if settings.is_flawed(5) {
            impostor.fds().truncate(settings.detail as usize % 3);
        }
        if settings.is_flawed(7) {
            impostor.fds().reverse();
        }
        let path = socket_path();
        let listener = wire::listen(&path);
        let result = std::thread::scope(|scope| {
            let host = scope.spawn(|| impostor.answer(&listener, &answer(settings)));
            // A client that is told to retry later waits before it does; other clients are answered
            // at once.
            let patience = if settings.is_flawed(0) {
                Duration::from_millis(20)
            } else {
                PATIENCE
            };
            let result = Subscriber::builder(Channel::path(&path))
                .leases(settings.leases)
                .delivery(settings.delivery)
                .connect_timeout(Some(patience))
                .connect();
            host.join().expect("the other side has answered");
            result
        });
        drop(listener);
        let _ = std::fs::remove_file(&path);
        if settings.flaws == 0 {
            assert!(result.is_ok(), "{:?}", result.err());
        }
        Some(Scene {
            impostor,
            subscriber: result.ok()?,
            frames: Vec::new(),
        })
    }

    fn act(&mut self, input: &mut Input<'_>) {
        match input.byte() % 20 {
            0 | 1 => self.publish(input),
            2 => {
                let slot = input.below(self.impostor.layout.slots);
                let at = self.impostor.record_at(slot) + input.below(META_SIZE / 4) * 4;
                self.impostor
                    .metadata
                    .write(at, &input.number().to_le_bytes());
            }
            3 => {
                let at = usize::from(u16::from_le_bytes([input.byte(), input.byte()]));
                self.impostor.change_word(at, input.number());
            }
            4 => {
                let word = self
                    .impostor
                    .metadata
                    .words()
                    .len()
                    .min(HEAD + input.below(3));
                self.impostor.change_word(word, input.number());
            }
            5 => self.impostor.metadata.halves()[128 / 4 + 2 + input.below(2)]
                .store(input.number() as u32, Ordering::Relaxed),
            6 => {
                let slot = input.below(self.impostor.layout.slots);
                let at = self.impostor.layout.extras_at + EXTRA_SIZE * slot;
                self.impostor
                    .metadata
                    .write(at, &input.number().to_le_bytes());
                self.impostor
                    .metadata
                    .write(at + 8, &input.number().to_le_bytes());
            }
            7 => self.announce(input),
            8 => {
                let id = input.number() as u32;
                self.impostor
                    .send(&wire::message(4, &id.to_le_bytes()), &[]);
            }
            9 => self.tell_event(input),
            10 => {
                let number = input.number();
                self.impostor
                    .send(&wire::message(wire::TOLD, &number.to_le_bytes()), &[]);
            }
            11 => {
                let mut body = input.number().to_le_bytes().to_vec();
                body.extend(input.number().to_le_bytes());
                let length = input.below(32);
                body.extend(input.bytes(length));
                self.impostor.send(&wire::message(wire::BYE, &body), &[]);
            }
            12 => {
                let length = input.below(64);
                let bytes = input.bytes(length);
                // The message may announce a segment.
                let id = match bytes.get(8..12) {
                    Some(id) => u32::from_le_bytes(id.try_into().expect("four bytes")),
                    None => 0,
                };
                let fd = self.impostor.make_segment(id, PAGE, SEALED);
                let fds = vec![fd.as_fd(); input.below(5)];
                self.impostor.send(bytes, &fds);
            }
            13 => self.impostor.hang_up(),
            14 | 15 => {
                let timeout = match input.byte() % 4 {
                    // Long enough for the other thread to read what was sent.
                    0 => Duration::from_millis(2),
                    _ => Duration::ZERO,
                };
                let result = self.subscriber.receive(Some(timeout));
                self.take(result);
            }
            16 => self.receive_while_words_change(input),
            17 => {
                let words = self.impostor.page.words();
                words[input.below(80)].store(input.number(), Ordering::Relaxed);
            }
            _ => {
                if !self.frames.is_empty() {
                    let at = input.below(self.frames.len());
                    self.look(&self.frames[at]);
                    drop(self.frames.swap_remove(at));
                }
            }
        }
    }

    /// Publishes a frame that is correct except for its record.
    fn publish(&mut self, input: &mut Input<'_>) {
        let slot = input.below(self.impostor.layout.slots);
        let shape = [input.number(), input.number()];
        let stride = input.number();
        let dtype = input.byte();
        let mut record = [0; META_SIZE];
        let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(slot as u32).to_le_bytes());
        put(10, &[dtype % 14, 2]);
        put(16, &shape[0].to_le_bytes());
        put(24, &shape[1].to_le_bytes());
        put(80, &stride.to_le_bytes());
        put(88, &[1 << (dtype % 4)]);
        put(144, &input.number().to_le_bytes());
        put(160, &self.impostor.head().to_le_bytes());
        put(168, b"video/x-raw");
        put(336, &(input.number() as u32).to_le_bytes());
        put(340, &(input.byte() as u32).to_le_bytes());
        put(344, &input.number().to_le_bytes());
        put(352, &(input.number() as u32).to_le_bytes());
        put(356, &(input.number() as u32).to_le_bytes());
        self.impostor.publish(slot, &record);
    }

    fn announce(&mut self, input: &mut Input<'_>) {
        let id = input.number() as u32;
        let flaw = input.byte();
        if flaw & 7 == 5 {
            return self.announce_device(id, flaw >> 3, input);
        }
        let size = PAGE * (1 + usize::from(flaw >> 6));
        let seals = match flaw & 7 {
            1 => SEALED - SealFlags::SHRINK,
            _ => SEALED,
        };
        let fd = self.impostor.make_segment(id, size, seals);
        let announced = match flaw & 7 {
            2 => input.number(),
            _ => size as u64,
        };
        // A memfd that no process can write, a memfd that others may write, a dmabuf (which the
        // memory is not), and an unknown kind.
        let kind = match flaw & 7 {
            3 => 1 + u32::from(flaw >> 3 & 3),
            _ => 0,
        };
        let fds = [fd.as_fd()];
        let fds = &fds[..usize::from(flaw & 7 != 4)];
        self.impostor.announce(id, kind, announced, fds);
    }

    /// Announces memory of a device: of a kind for that or another, with a descriptor where that kind has one,
    /// or a handle. There is no such device.
    fn announce_device(&mut self, id: u32, flaw: u8, input: &mut Input<'_>) {
        let kind = VIRTUAL + u32::from(flaw & 3);
        let mut device = [0; 16];
        device[..8].copy_from_slice(&input.number().to_le_bytes());
        let has_descriptor = (kind == IPC) == (flaw & 4 != 0);
        let fd = self.impostor.make_segment(id, PAGE, SEALED);
        let segment = DeviceSegment {
            id,
            kind,
            size: input.number(),
            device,
            handle: match (kind, flaw & 8) {
                (IPC, 0) => vec![input.byte(); 64],
                (_, 0) => Vec::new(),
                _ => vec![0; input.below(80)],
            },
            fds: has_descriptor.then_some(fd).into_iter().collect(),
        };
        segment.announce(&mut self.impostor);
    }

    fn tell_event(&mut self, input: &mut Input<'_>) {
        let (number, position) = (input.number(), input.number());
        let (kind, key) = (input.byte() % 8, input.number());
        let key = if kind == 1 { key } else { key % 2 };
        let length = input.below(64);
        let content = input.bytes(length);
        // In memory of its own, of any length, or in the message.
        let (length, inside) = match input.byte() % 4 {
            0 => (input.number() as u32, false),
            1 => (PAGE as u32, false),
            _ => (content.len() as u32, true),
        };
        let mut body = Vec::new();
        for word in [number, position, key] {
            body.extend(word.to_le_bytes());
        }
        body.extend(u32::from(kind).to_le_bytes());
        body.extend(length.to_le_bytes());
        if inside {
            body.extend(content);
            self.impostor.send(&wire::message(wire::EVENT, &body), &[]);
        } else {
            let (area, fd) = Area::new(PAGE, SEALED);
            area.write(0, content);
            let fds = [fd.as_fd()];
            self.impostor.send(&wire::message(wire::EVENT, &body), &fds);
        }
    }

    /// Receives while a few words alternate between two values each.
    fn receive_while_words_change(&mut self, input: &mut Input<'_>) {
        let changes: Vec<(usize, [u64; 2])> = (0..1 + input.below(3))
            .map(|_| {
                let at = u16::from_le_bytes([input.byte(), input.byte()]);
                (usize::from(at), [input.number(), input.number()])
            })
            .collect();
        let over = AtomicBool::new(false);
        let (metadata, subscriber) = (&self.impostor.metadata, &mut self.subscriber);
        let results: Vec<Result<Frame>> = std::thread::scope(|scope| {
            scope.spawn(|| {
                let words = metadata.words();
                while !over.load(Ordering::Relaxed) {
                    for turn in 0..2 {
                        for (at, values) in &changes {
                            words[at % words.len()].store(values[turn], Ordering::Relaxed);
                        }
                    }
                }
            });
            let receive = || subscriber.receive(Some(Duration::from_micros(20)));
            let results = std::iter::repeat_with(receive).take(3).collect();
            over.store(true, Ordering::Relaxed);
            results
        });
        for result in results {
            self.take(result);
        }
    }

    fn take(&mut self, result: Result<Frame>) {
        match result {
            Ok(frame) => {
                self.look(&frame);
                self.frames.push(frame);
            }
            Err(
                Error::TimedOut
                | Error::Starved { .. }
                | Error::EndOfStream
                | Error::Stopped
                | Error::Disconnected(_)
                | Error::Cuda(_)
                | Error::Protocol(_),
            ) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Drops the client first, then its frames.
    fn end(mut self) {
        let frames = std::mem::take(&mut self.frames);
        let Scene {
            subscriber,
            impostor,
            ..
        } = self;
        drop(subscriber);
        for frame in frames {
            look(&impostor.segments, impostor.layout.slots, &frame);
        }
    }

    fn look(&self, frame: &Frame) {
        look(&self.impostor.segments, self.impostor.layout.slots, frame);
    }
}

/// Reads all bytes of a frame.
fn look(segments: &HashMap<u32, usize>, slots: usize, frame: &Frame) {
    let meta = frame.meta();
    let payload = frame.payload().unwrap();
    assert_eq!(payload.len() as u64, meta.size());
    let room = segments[&meta.segment()] as u64;
    assert!(meta.payload_offset() + meta.size() <= room, "{meta:?}");
    let start = meta.payload_offset() as usize;
    for (at, byte) in payload.to_vec().into_iter().enumerate() {
        assert_eq!(
            byte,
            pattern(meta.segment(), start + at),
            "{at} of {meta:?}"
        );
    }
    let extra = frame.extra().expect("there is enough memory");
    assert_eq!(extra.len(), meta.extra_len() as usize);
    let largest = segments.values().max().copied().unwrap_or(0);
    assert!(extra.len() <= largest.max(EXTRA_SIZE));
    view::<u8>(frame);
    view::<i16>(frame);
    view::<f32>(frame);
    view::<u64>(frame);
    assert!(!format!("{frame:?} {:?}", frame.format()).is_empty());
    assert!(frame.slot() < slots as u32);
}

/// Reads the first and the last element, if the frame has elements of this type.
fn view<T: Element + std::fmt::Debug>(frame: &Frame) {
    let meta: &BufferMeta = frame.meta();
    match frame.view::<T>() {
        Ok(view) => {
            let is_empty = meta.shape().contains(&0);
            let last: Vec<usize> = view.shape().iter().map(|n| n.saturating_sub(1)).collect();
            assert_eq!(view.get(&last).is_some(), !is_empty);
            assert_eq!(view.get(&vec![0; last.len()]).is_some(), !is_empty);
        }
        Err(Error::TypeMismatch { .. }) => assert_ne!(meta.dtype(), T::DTYPE),
        Err(other) => panic!("{other:?} of {meta:?}"),
    }
}

/// The answer to a Hello.
fn answer(settings: &Settings) -> Vec<u8> {
    if settings.is_flawed(0) {
        return settings.answer.clone();
    }
    let leases = if settings.is_flawed(1) {
        settings.detail as u32
    } else {
        settings.leases
    };
    let slots = if settings.is_flawed(2) {
        settings.detail as u32
    } else {
        settings.slots as u32
    };
    welcome(leases, slots)
}
