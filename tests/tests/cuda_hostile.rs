//! Producers and clients of memory of a GPU that lie. The other side ends that connection with an error that
//! says what was wrong, and loses nothing else. The driver is a stand-in.

use std::env;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use xmem_tests::area::{Area, SEALED};
use xmem_tests::fakecuda::{Control, FakeCuda, numbers::GRANULE};
use xmem_tests::gpu::*;
use xmem_tests::hostile::device::{DeviceSegment, IMPORTED, IPC, TAKES_ALL, VIRTUAL, hello};
use xmem_tests::hostile::impostor::{Impostor, META_SIZE, PAGE};
use xmem_tests::line::Line;
use xmem_tests::peer::Peer;
use xmem_tests::wire::{self, Connection};
use xmem_tests::{Place, process, until};

/// Bytes of the frames of the honest producer: their memory is larger than what is allocated at once.
const LARGE: usize = 3 << 20;

/// A client that is connected to an honest producer, and connects to hostile ones beside that.
struct Victim {
    client: Peer<Consume>,
    honest: Peer<Produce>,
    /// A segment of the honest producer.
    genuine: DeviceSegment,
    _guest: Connection,
    control: Control,
    /// What the client has when it is connected to the honest producer only.
    fds: usize,
    alive: Line,
    value: u8,
    /// Connections so far.
    connections: usize,
    place: Place,
    driver: FakeCuda,
}

impl Victim {
    fn new(driver: FakeCuda) -> Victim {
        let place = Place::new();
        let mut honest = producer(&place, &driver, "");
        let mut client = client(&place, &driver, "beside=gpu0");
        honest.ask(Produce::Publish(LARGE, 0));
        client.ask(Consume::Beside);
        let (genuine, guest) = DeviceSegment::of_producer(&place.socket(CHANNEL));
        let mut control = driver.control(client.pid());
        let mut victim = Victim {
            fds: 0,
            alive: control.alive(),
            control,
            client,
            honest,
            genuine,
            _guest: guest,
            value: 0,
            connections: 0,
            place,
            driver,
        };
        // Memory for the guest is announced to the client, too. A connection that lasts shows what stays.
        victim.goes_on();
        let (mut impostor, connected) = victim.connect();
        assert_eq!(connected.word, "done", "{connected}");
        impostor.hang_up();
        victim.client.ask(Consume::Leave);
        victim.settle();
        victim
    }

    /// Connects the client to an impostor.
    fn connect(&mut self) -> (Impostor, Line) {
        let mut impostor = Impostor::new(4, 0, SEALED, 0);
        self.connections += 1;
        let channel = format!("hostile{}", self.connections);
        let listener = wire::listen(&self.place.socket(&channel));
        let answer = impostor.welcome(4);
        self.client.order(Consume::Connect(channel));
        impostor.answer(&listener, &answer);
        (impostor, self.client.next_line())
    }

    /// The honest producer's next frame comes.
    fn goes_on(&mut self) {
        self.value = self.value.wrapping_add(1);
        self.honest.ask(Produce::Publish(LARGE, self.value));
        let line = self.client.ask(Consume::Beside);
        assert_eq!(line.number("all"), u64::from(self.value), "{line}");
    }

    /// Notes what the client has, when nothing more is closed.
    fn settle(&mut self) {
        let pid = self.client.pid();
        until("the threads of the connection have ended", || {
            let threads = process::describe(pid);
            let controls = threads.iter();
            controls
                .filter(|thread| thread.contains("xmem-control"))
                .count()
                == 1
        });
        self.fds = process::fd_count(pid);
        self.alive = self.control.alive();
    }

    /// Lets the impostor act, and checks that the client's receive fails so, and has left nothing.
    fn suffers(&mut self, what: &str, kind: &str, word: &str, act: impl FnOnce(&mut Impostor)) {
        let (mut impostor, connected) = self.connect();
        assert_eq!(connected.word, "done", "{what}: {connected}");
        act(&mut impostor);
        let line = self.client.fail_at(Consume::Receive(20_000));
        assert_eq!(line.text("kind"), kind, "{what}: {line}");
        assert!(line.text("text").contains(word), "{what}: {line}");
        self.recovers(what);
    }

    /// Announces a segment that is genuine but for a change, and a frame in it.
    fn is_told(
        &mut self,
        what: &str,
        kind: &str,
        word: &str,
        lie: impl FnOnce(&mut DeviceSegment),
    ) {
        let mut segment = self.genuine.clone();
        lie(&mut segment);
        self.suffers(what, kind, word, |impostor| {
            segment.announce(impostor);
            let record = record(impostor, segment.id);
            impostor.publish(0, &record);
        });
    }

    /// The connection beside goes on, and nothing is left of the other.
    fn recovers(&mut self, what: &str) {
        self.goes_on();
        self.client.ask(Consume::Leave);
        process::until_fd_count(self.client.pid(), self.fds);
        let mut alive = self.control.alive();
        until(&format!("{what}: nothing is left on the device"), || {
            alive = self.control.alive();
            alive.to_string() == self.alive.to_string()
        });
    }
}

/// The record of a frame in memory of a device.
fn record(impostor: &Impostor, segment: u32) -> [u8; META_SIZE] {
    let mut record = impostor.record(0, segment, 4096);
    record[8] = 1;
    record
}

fn garbage() -> OwnedFd {
    Area::new(2 * PAGE, SEALED).1
}

fn by_handles() -> FakeCuda {
    FakeCuda::new().with("FAKECUDA_ATTR", "102:0")
}

/// The UUID of a device, as a segment has it.
fn uuid_of(devices: &FakeCuda, number: usize) -> [u8; 16] {
    let place = Place::new();
    let mut producer = producer(&place, devices, &format!("device={number}"));
    producer.ask(Produce::Acquire(SIZE));
    DeviceSegment::of_producer(&place.socket(CHANNEL)).0.device
}

// --- Producers -------------------------------------------------------------------------------------------------------

#[test]
fn a_client_receives_from_memory_that_is_what_was_announced() {
    for driver in [FakeCuda::new(), by_handles()] {
        let mut victim = Victim::new(driver);
        let (mut impostor, _) = victim.connect();
        let mut segment = victim.genuine.clone();
        // Less than there is, where a handle leads to the whole of it.
        if segment.kind == IPC {
            segment.size = PAGE as u64;
        }
        segment.announce(&mut impostor);
        let mut record = record(&impostor, segment.id);
        // What the handle in the record says is not used, nor the number of the device.
        record[232..296].fill(0xab);
        record[9] = 7;
        impostor.publish(0, &record);
        receive(&mut victim.client);
        assert!(look(&mut victim.client).is_some());
        victim.client.ask(Consume::Drop);
        victim.recovers("the truth");
    }
}

#[test]
fn a_client_is_not_led_to_a_device_that_the_memory_is_not_of() {
    let devices = || FakeCuda::new().devices(2);
    let other = uuid_of(&devices(), 1);
    let mut victim = Victim::new(devices());
    for kind in [VIRTUAL, IMPORTED] {
        victim.is_told("no device", "cuda", "CUDA_VISIBLE_DEVICES", |segment| {
            (segment.kind, segment.device) = (kind, [0xee; 16]);
        });
        victim.is_told("another device", "protocol", "another device", |segment| {
            (segment.kind, segment.device) = (kind, other);
        });
    }
    let handles = || devices().with("FAKECUDA_ATTR", "102:0");
    let other = uuid_of(&handles(), 1);
    let mut victim = Victim::new(handles());
    victim.is_told("no device", "cuda", "CUDA_VISIBLE_DEVICES", |segment| {
        segment.device = [0; 16];
    });
    victim.is_told("another device", "protocol", "another device", |segment| {
        segment.device = other;
    });
}

#[test]
fn a_client_maps_no_memory_of_another_size_than_was_announced() {
    let mut victim = Victim::new(FakeCuda::new());
    let size = victim.genuine.size;
    assert!(size > GRANULE, "{size}");
    for kind in [VIRTUAL, IMPORTED] {
        for (what, size, word) in [
            ("zero", 0, "0 bytes"),
            ("one", 1, "allocates"),
            ("a page less", size - PAGE as u64, "allocates"),
            ("less", size - GRANULE, "not what was announced"),
            ("more", size + GRANULE, "not what was announced"),
            ("more than the device has", 1 << 50, "allocates"),
            ("the most", isize::MAX as u64, "allocates"),
            ("more than can be mapped", u64::MAX, "bytes"),
        ] {
            victim.is_told(what, "protocol", word, |segment| {
                (segment.kind, segment.size) = (kind, size);
            });
        }
    }
    let mut victim = Victim::new(by_handles());
    let size = victim.genuine.size;
    for (what, size, word) in [
        ("zero", 0, "0 bytes"),
        ("more", size + 1, "announced"),
        ("the most", isize::MAX as u64, "announced"),
        ("more than can be mapped", u64::MAX, "bytes"),
    ] {
        victim.is_told(what, "protocol", word, |segment| segment.size = size);
    }
}

#[test]
fn a_client_takes_no_other_descriptor_for_memory_of_a_device() {
    let mut victim = Victim::new(FakeCuda::new());
    let unlinked = || OwnedFd::from(tempfile::tempfile().expect("a file"));
    let program = || env::current_exe().and_then(File::open);
    let program = || OwnedFd::from(program().expect("this program"));
    let socket = || OwnedFd::from(UnixStream::pair().expect("two sockets").0);
    let pipe = || pipe_with(PipeFlags::CLOEXEC).expect("a pipe").0;
    let null = || OwnedFd::from(File::open("/dev/null").expect("a device"));
    let empty = || memfd_create("empty", MemfdFlags::CLOEXEC).expect("a memfd");
    for kind in [VIRTUAL, IMPORTED] {
        for (what, fd, word) in [
            ("a memfd", garbage(), "not what was announced"),
            ("an empty memfd", empty(), "not what was announced"),
            // In a tmpfs it is like a memfd.
            ("an unlinked file", unlinked(), "not"),
            ("a file", program(), "not a memfd"),
            ("a socket", socket(), "not a memfd"),
            ("a pipe", pipe(), "not a memfd"),
            ("a device", null(), "not a memfd"),
        ] {
            victim.is_told(what, "protocol", word, |segment| {
                (segment.kind, segment.fds) = (kind, vec![fd]);
            });
        }
        victim.is_told("none", "protocol", "descriptors", |segment| {
            segment.kind = kind;
            segment.fds.clear();
        });
        victim.is_told("two", "protocol", "descriptors", |segment| {
            segment.kind = kind;
            segment.fds.push(garbage());
        });
    }
    // Memory of a device in place of memory of the machine.
    for kind in 0..=3 {
        victim.is_told("of a device", "protocol", "", |segment| {
            segment.kind = kind;
            segment.size = PAGE as u64;
        });
    }
    let mut victim = Victim::new(by_handles());
    victim.is_told("with a handle", "protocol", "descriptors", |segment| {
        segment.fds.push(garbage());
    });
}

#[test]
fn a_client_opens_no_handle_that_leads_nowhere() {
    let driver = by_handles();
    let mut victim = Victim::new(driver);
    victim.is_told("zeros", "cuda", "cuIpcOpenMemHandle", |segment| {
        segment.handle.fill(0);
    });
    victim.is_told("garbage", "cuda", "cuIpcOpenMemHandle", |segment| {
        segment.handle.fill(0xab);
    });
    victim.is_told("a flaw", "cuda", "cuIpcOpenMemHandle", |segment| {
        segment.handle[20] ^= 1;
    });
    // Of a producer that has ended.
    let place = Place::new();
    let mut gone = producer(&place, &victim.driver, "");
    gone.ask(Produce::Acquire(SIZE));
    let (of_gone, connection) = DeviceSegment::of_producer(&place.socket(CHANNEL));
    drop(connection);
    gone.end();
    victim.is_told("freed", "cuda", "cuIpcOpenMemHandle", |segment| {
        segment.handle = of_gone.handle;
    });
}

/// A handle of memory that the victim has made itself: the driver opens none of those.
#[test]
fn a_client_does_not_open_its_own_memory() {
    let (place, driver) = (Place::new(), by_handles());
    let mut victim = producer(&place, &driver, "channel=second");
    victim.ask(Produce::Acquire(SIZE));
    let (own, _guest) = DeviceSegment::of_producer(&place.socket("second"));
    let mut impostor = Impostor::new(4, 0, SEALED, 0);
    let listener = wire::listen(&place.socket(CHANNEL));
    let answer = impostor.welcome(4);
    victim.order(Produce::Forward(CHANNEL.into()));
    impostor.answer(&listener, &answer);
    own.announce(&mut impostor);
    let record = record(&impostor, own.id);
    impostor.publish(0, &record);
    let line = victim.wait_for("failed");
    assert!(line.text("text").contains("cuIpcOpenMemHandle"), "{line}");
    // Its own channel goes on.
    let mut client = client(&place, &driver, "channel=second");
    victim.ask(Produce::Publish(SIZE, 8));
    receive(&mut client);
    assert_eq!(look(&mut client), Some(8));
}

#[test]
fn a_segment_that_is_described_otherwise_is_refused() {
    let mut victim = Victim::new(FakeCuda::new());
    for kind in [7, 8, 255, u32::MAX] {
        victim.is_told("of no kind", "protocol", "unknown kind", |segment| {
            segment.kind = kind;
        });
    }
    let described = "described in";
    victim.is_told("with a handle", "protocol", described, |segment| {
        segment.handle = vec![0; 64];
    });
    victim.is_told("with a byte more", "protocol", described, |segment| {
        segment.handle = vec![0];
    });
    victim.is_told("with no handle", "protocol", described, |segment| {
        segment.kind = IPC;
        segment.fds.clear();
    });
    for len in [63, 65, 128] {
        victim.is_told("with another handle", "protocol", described, |segment| {
            segment.kind = IPC;
            segment.handle = vec![1; len];
            segment.fds.clear();
        });
    }
    let genuine = victim.genuine.clone();
    victim.suffers("cut off", "protocol", described, |impostor| {
        let message = genuine.message();
        let body = &message[8..message.len() - 1];
        let fds: Vec<_> = genuine.fds.iter().map(std::os::fd::AsFd::as_fd).collect();
        impostor.send(&wire::message(wire::SEGMENT, body), &fds);
    });
    let genuine = victim.genuine.clone();
    victim.suffers("twice", "protocol", "twice", |impostor| {
        genuine.announce(impostor);
        genuine.announce(impostor);
    });
}

#[test]
fn a_frame_is_where_its_segment_says() {
    let mut victim = Victim::new(FakeCuda::new());
    let genuine = victim.genuine.clone();
    victim.suffers("not on the device", "protocol", "and is not", |impostor| {
        genuine.announce(impostor);
        let record = impostor.record(0, genuine.id, 4096);
        impostor.publish(0, &record);
    });
    victim.suffers("on the device", "protocol", "and is not", |impostor| {
        let fd = impostor.make_segment(1, 2 * PAGE, SEALED);
        impostor.announce(1, 0, 2 * PAGE as u64, &[std::os::fd::AsFd::as_fd(&fd)]);
        let record = record(impostor, 1);
        impostor.publish(0, &record);
    });
    victim.suffers("no storage", "protocol", "storage type 2", |impostor| {
        genuine.announce(impostor);
        let mut record = record(impostor, genuine.id);
        record[8] = 2;
        impostor.publish(0, &record);
    });
    for offset in [genuine.size - 4095, genuine.size, u64::MAX] {
        victim.suffers("outside", "protocol", "outside", |impostor| {
            genuine.announce(impostor);
            let mut record = record(impostor, genuine.id);
            record[344..352].copy_from_slice(&offset.to_le_bytes());
            impostor.publish(0, &record);
        });
    }
    victim.suffers("extra bytes", "protocol", "extra bytes", |impostor| {
        genuine.announce(impostor);
        let mut record = record(impostor, genuine.id);
        // They stand elsewhere, in the memory of the device.
        record[340] = 1;
        record[356] = 100;
        let at = impostor.layout.extras_at;
        impostor.metadata.write(at, &[0; 8]);
        impostor.metadata.write(at + 8, &genuine.id.to_le_bytes());
        impostor.publish(0, &record);
    });
}

#[test]
fn a_client_that_takes_no_memory_of_devices_refuses_it_without_a_driver() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut honest = producer(&place, &driver, "");
    honest.ask(Produce::Acquire(SIZE));
    let (genuine, _guest) = DeviceSegment::of_producer(&place.socket(CHANNEL));
    let mut impostor = Impostor::new(4, 0, SEALED, 0);
    let listener = wire::listen(&place.socket("hostile"));
    let answer = impostor.welcome(4);
    let mut command = Peer::<Consume>::command("device_memory=no channel=hostile");
    driver.apply(&mut command);
    let mut client: Peer<Consume> = Peer::spawn(command, &place);
    impostor.answer(&listener, &answer);
    genuine.announce(&mut impostor);
    client.wait_for("ready");
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "protocol", "{line}");
    let calls = driver.log();
    let pid = u64::from(client.pid());
    assert!(calls.iter().all(|call| call.number("pid") != pid));
}

#[test]
fn a_producer_that_takes_its_memory_back_takes_no_frame_from_its_client() {
    for driver in [FakeCuda::new(), by_handles()] {
        let mut victim = Victim::new(driver);
        let (mut impostor, _) = victim.connect();
        victim.genuine.announce(&mut impostor);
        let record = record(&impostor, victim.genuine.id);
        impostor.publish(0, &record);
        receive(&mut victim.client);
        let gone = wire::message(4, &victim.genuine.id.to_le_bytes());
        impostor.send(&gone, &[]);
        impostor.send(&gone, &[]);
        impostor.hang_up();
        let line = victim.client.fail_at(Consume::Receive(20_000));
        assert_eq!(line.text("kind"), "disconnected", "{line}");
        assert!(look(&mut victim.client).is_some());
        victim.client.ask(Consume::Drop);
        victim.recovers("what is gone");
    }
}

#[test]
fn a_refusal_with_odd_content_is_an_error() {
    let mut victim = Victim::new(FakeCuda::new());
    let bye = |position: u64, zero: u32, text: &[u8]| {
        let mut body = position.to_le_bytes().to_vec();
        body.extend(8u32.to_le_bytes());
        body.extend(zero.to_le_bytes());
        body.extend(text);
        wire::message(wire::BYE, &body)
    };
    let device = "\"Stand-in\" (GPU-00)".as_bytes();
    for (number, (message, kind)) in [
        (bye(0, 0, device), "refused"),
        (bye(0, 0, b""), "refused"),
        (bye(0, 0, &[0xff, 0xfe, 0]), "refused"),
        (bye(7, 0, device), "refused"),
        (bye(0, 1, device), "refused"),
        (bye(0, 0, &[b'x'; 1024]), "refused"),
        (bye(0, 0, &[b'x'; 1025]), "refused"),
        (bye(0, 0, &[b'x'; 4000]), "refused"),
        (bye(0, 0, device)[..20].to_vec(), "protocol"),
    ]
    .into_iter()
    .enumerate()
    {
        let channel = format!("refusing{number}");
        let listener = wire::listen(&victim.place.socket(&channel));
        victim.client.order(Consume::Connect(channel));
        let connection = wire::accept(&listener);
        assert_eq!(connection.receive().expect("a hello").kind, wire::HELLO);
        connection.send(&message, &[]).expect("the client reads it");
        let line = victim.client.next_line();
        assert_eq!(line.word, "failed", "{line}");
        assert!([kind, "protocol"].contains(&line.text("kind")), "{line}");
        assert!(line.text("text").len() < 2000, "{line}");
        drop(connection);
        victim.recovers("a refusal");
    }
}

// --- Clients ---------------------------------------------------------------------------------------------------------

/// A producer and an honest client, and what the producer has besides.
struct Host {
    producer: Peer<Produce>,
    honest: Peer<Consume>,
    fds: usize,
    position: u64,
    control: Control,
    place: Place,
    driver: FakeCuda,
}

impl Host {
    fn new(driver: FakeCuda) -> Host {
        let place = Place::new();
        let mut producer = producer(&place, &driver, "");
        let mut honest = client(&place, &driver, "");
        producer.ask(Produce::Publish(SIZE, 0));
        assert_eq!(receive(&mut honest), (0, 0));
        honest.ask(Consume::Drop);
        let pid = producer.pid();
        let mut host = Host {
            fds: 0,
            producer,
            honest,
            position: 1,
            control: driver.control(pid),
            place,
            driver,
        };
        // It is connected then.
        host.control.alive();
        // The slots for a client stay.
        let first = client(&host.place, &host.driver, "leases=4");
        drop(first);
        host.goes_on();
        wait_for_clients(&mut host.producer, 1);
        host.fds = process::fd_count(host.producer.pid());
        host
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.place.socket(CHANNEL))
    }

    /// The stream goes on for the honest client.
    fn goes_on(&mut self) {
        let value = self.position as u8;
        self.producer.ask(Produce::Publish(SIZE, value));
        assert_next(&mut self.honest, self.position, value);
        self.position += 1;
    }

    fn recovers(&mut self) {
        self.goes_on();
        wait_for_clients(&mut self.producer, 1);
        process::until_fd_count(self.producer.pid(), self.fds);
        let segments = stats(&mut self.producer, "segments");
        let alive = self.control.alive();
        let memory = alive.number("mappings") + alive.number("allocations");
        assert_eq!(memory, segments, "{alive}");
    }
}

#[test]
fn a_client_that_takes_what_does_not_exist_is_refused() {
    for driver in [FakeCuda::new(), by_handles()] {
        let mut host = Host::new(driver);
        for (flags, word) in [
            (4, "flags"),
            (8, "flags"),
            (TAKES_ALL | 4, "flags"),
            (TAKES_ALL | 1 << 31, "flags"),
            (u32::MAX, "flags"),
            // It takes no memory of devices, and none that others may write.
            (1, "Stand-in"),
            (2, ""),
            (0, ""),
        ] {
            let connection = host.connect();
            connection.send(&hello(flags, 4), &[]).expect("a producer");
            let mut answer = connection.receive().expect("an answer");
            if answer.kind == wire::WELCOME {
                connection.say_ready(&answer.fds[1]);
                answer = connection.receive().expect("an answer");
            }
            assert_eq!(answer.kind, wire::BYE, "{flags:#x}");
            let reason = if answer.body.len() > 16 {
                answer.reason()
            } else {
                String::new()
            };
            assert!(reason.contains(word), "{flags:#x}: {reason}");
            drop(connection);
            host.recovers();
        }
    }
}

#[test]
fn a_client_that_says_it_takes_memory_of_devices_and_does_not_costs_its_leases() {
    for driver in [FakeCuda::new(), by_handles()] {
        let mut host = Host::new(driver);
        for leaves in [false, true] {
            let connection = host.connect();
            connection
                .send(&hello(TAKES_ALL, 4), &[])
                .expect("a producer");
            let welcome = connection.receive_kind(wire::WELCOME);
            if leaves {
                // Before it is in the scan.
                drop(connection);
                host.recovers();
                continue;
            }
            connection.join(&welcome.fds[1]);
            // It closes what it is passed, opens nothing and receives nothing.
            for _ in 0..20 {
                host.goes_on();
            }
            connection.receive_kind(wire::SEGMENT);
            host.goes_on();
            drop(connection);
            host.recovers();
        }
    }
}

#[test]
fn a_client_can_not_announce_memory_to_its_producer() {
    let mut host = Host::new(FakeCuda::new());
    let (genuine, guest) = DeviceSegment::of_producer(&host.place.socket(CHANNEL));
    drop(guest);
    host.recovers();
    for fds in [0, 1] {
        let connection = host.connect();
        connection
            .send(&hello(TAKES_ALL, 4), &[])
            .expect("a producer");
        let welcome = connection.receive_kind(wire::WELCOME);
        connection.join(&welcome.fds[1]);
        let fds: Vec<_> = genuine.fds[..fds]
            .iter()
            .map(std::os::fd::AsFd::as_fd)
            .collect();
        // The producer's socket may refuse descriptors.
        if connection.send(&genuine.message(), &fds).is_ok() {
            let bye = connection.receive_kind(wire::BYE);
            assert!(!bye.reason().is_empty());
        }
        drop(connection);
        host.recovers();
    }
}
