//! One client attacks the memory that it shares with the producer, with requests to the kernel that
//! act on memory and files.

use std::fs::{Permissions, set_permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use xmem_core::{Error, Subscriber, UnsealedMemory};
use xmem_tests::area::SEALED;
use xmem_tests::attacked::{Attacked, report};
use xmem_tests::client::Receive;
use xmem_tests::control_group::Group;
use xmem_tests::faults::Faults;
use xmem_tests::hostile::impostor::{self, Impostor};
use xmem_tests::{
    Client, ClientOrder, Line, PATIENCE, Place, Producer, ProducerOrder, is_torture, nobody,
    process, wire,
};

/// Number of slots of the producer.
const SLOTS: u64 = 100;
/// The kind of a segment that another process made and may write (docs/protocol.md).
const FOREIGN_MEMFD: u32 = 2;
/// The time between two frames, in µs.
const PERIOD: u64 = 2000;

fn frames() -> u64 {
    if is_torture() { 30_000 } else { 400 }
}

fn open() -> Attacked {
    let mut channel = Attacked::open(SLOTS, "");
    channel.add_honest("");
    channel
}

/// The page faults of the producer process while it publishes and a client attacks.
fn faults_under(attack: &str) -> (u64, Line) {
    let mut channel = open();
    let mut hostile = channel.attack(attack);
    let faults = channel.publish(frames(), PERIOD);
    (faults, report(&mut hostile))
}

/// Each read of a page with a hole would be a page fault, and would wait for the process that
/// punches the next hole.
#[test]
fn a_client_that_punches_holes_into_its_page_causes_no_page_faults_of_the_producer() {
    let (faults, report) = faults_under("punch threads=4 leases=64");
    assert!(report.number("calls") > frames(), "{report}");
    assert_eq!(report.number("effects"), 0, "holes: {report}");
    assert!(faults < frames() / 10, "{faults} page faults");
}

#[test]
fn no_request_of_a_client_to_the_kernel_makes_the_producer_fault() {
    let (faults, report) = faults_under("advise threads=3");
    assert!(report.number("calls") > 0, "{report}");
    assert_eq!(report.number("effects"), 0, "holes: {report}");
    assert!(faults < frames() / 10, "{faults} page faults");
}

/// The kernel holds the lock of a file during a write, and adding a seal waits for it
/// uninterruptibly. A write takes as long as the page faults of the writing process.
#[test]
fn a_client_whose_write_into_its_page_hangs_holds_up_only_itself() {
    if Faults::open().is_none() {
        eprintln!("not tried: this process cannot create page faults that do not end");
        return;
    }
    let mut channel = open();
    let _hostile = channel.attack("hang");
    channel.add_honest("");
    channel.publish(frames(), PERIOD);
    channel.honest.pop();
    channel.producer.until_clients(1);
    channel.producer.ask(ProducerOrder::Close);
}

/// All clients share one open file description of a segment, whose position has a lock. A read
/// holds it as long as the page faults of the reading process take.
#[test]
fn a_client_whose_read_of_a_frame_hangs_holds_up_only_itself() {
    if Faults::open().is_none() {
        eprintln!("not tried: this process cannot create page faults that do not end");
        return;
    }
    let mut channel = open();
    let _hostile = channel.attack("read");
    channel.add_honest("");
    channel.publish(frames(), PERIOD);
    channel.producer.ask(ProducerOrder::Close);
}

/// A socket to which every user may connect.
fn listen_for_all(place: &Place) -> OwnedFd {
    set_permissions(place.path(), Permissions::from_mode(0o711)).expect("our directory");
    let socket = place.socket("cam0");
    let listener = wire::listen(&socket);
    set_permissions(&socket, Permissions::from_mode(0o666)).expect("our socket");
    listener
}

/// The same for a producer: its client, of another user, seals the page.
#[test]
fn a_connect_times_out_while_a_write_into_the_lease_page_hangs() {
    let Some(faults) = Faults::open().filter(|_| nobody::is_possible()) else {
        return;
    };
    let place = Place::new();
    let listener = listen_for_all(&place);
    let mut impostor = Impostor::new(8, 0, SEALED, 0);
    let page = impostor.fds()[1].try_clone().expect("a descriptor");
    std::thread::scope(|scope| {
        let writer = std::thread::Builder::new().name("writer".into());
        let write = || {
            faults
                .write_to(&page)
                .expect("the write ends when the fault ends")
        };
        writer.spawn_scoped(scope, write).expect("a thread");
        process::until_asleep(std::process::id(), "writer");
        scope.spawn(|| impostor.answer(&listener, &impostor::welcome(4, 8)));
        let client = nobody::run_as_nobody(|| {
            Subscriber::builder(place.channel("cam0"))
                .leases(4)
                .connect_timeout(Some(Duration::from_millis(300)))
                .connect()
        });
        let error = client
            .expect("another user is possible, as tried before")
            .expect_err("the seal waits for the write");
        assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
        faults.end();
    });
}

/// The same for imported memory: a client of another user maps it, and makes no request to the
/// kernel that waits for the lock of the file. (If the memory is sealed against writes, such a
/// write blocks on older kernels only: newer ones check the seals before the fault.)
#[test]
fn a_client_maps_memory_while_a_write_of_its_producer_hangs() {
    let Some(faults) = Faults::open().filter(|_| nobody::is_possible()) else {
        return;
    };
    let place = Place::new();
    let listener = listen_for_all(&place);
    let mut impostor = Impostor::new(8, 0, SEALED, 0);
    let memory = impostor.make_segment(1, 8192, SealFlags::SHRINK | SealFlags::GROW);
    std::thread::scope(|scope| {
        let writer = std::thread::Builder::new().name("writer".into());
        let write = || {
            faults
                .write_to(&memory)
                .expect("the write ends when the fault ends")
        };
        writer.spawn_scoped(scope, write).expect("a thread");
        process::until_asleep(std::process::id(), "writer");
        scope.spawn(|| {
            impostor.answer(&listener, &impostor::welcome(4, 8));
            impostor.send(&wire::message(wire::TOLD, &0u64.to_le_bytes()), &[]);
            impostor.announce(1, FOREIGN_MEMFD, 8192, &[memory.as_fd()]);
            impostor.publish(0, &impostor.record(0, 1, 100));
        });
        let received = nobody::run_as_nobody(|| {
            let mut client = Subscriber::builder(place.channel("cam0"))
                .unsealed_memory(UnsealedMemory::Always)
                .connect_timeout(Some(PATIENCE))
                .connect()?;
            let received = client.receive(Some(PATIENCE)).map(drop);
            // Otherwise the end of the client would wait for its thread too.
            faults.end();
            received
        });
        faults.end();
        received
            .expect("another user is possible, as tried before")
            .expect("a frame");
    });
}

/// A client does not accept frames in memory into which the producer can punch holes after the
/// client has checked it, if the producer is of another user. The producer is told, and has to
/// copy.
#[test]
fn memory_into_which_a_producer_of_another_user_can_punch_holes_is_refused() {
    /// A user that only this test uses.
    const UID: u32 = 65533;
    if !nobody::is_possible() {
        return;
    }
    let place = Place::new();
    set_permissions(place.path(), Permissions::from_mode(0o777)).expect("our directory");
    let socket = place.socket("cam0").display().to_string();
    let settings = format!("path={socket} uid={UID} perms=666 slots=4 slot-size=1000");
    let mut producer = Producer::start(&place, &settings);
    let mut client = Client::connected(&place, &format!("path={socket}"));
    let failed = producer.fail_at(ProducerOrder::PassOn);
    assert_eq!(failed.text("kind"), "UnsealedMemory", "{failed}");
    producer.publish(1, 1000);
    client.receive(1);
    client.ask(ClientOrder::Disconnect);
    producer.until_clients(0);
    producer.ask(ProducerOrder::PassOn);
}

/// Memory beyond the end of a file counts as allocated for the file, so a producer can make a file
/// with holes look complete. A reader has to pay for the holes. The client reports an error in that
/// case, and is not killed.
#[test]
fn a_client_that_must_pay_for_its_producers_memory_is_not_killed() {
    // The memory of a frame, and memory that is announced before any frame.
    has_it_pay(true);
    has_it_pay(false);
}

fn has_it_pay(for_a_frame: bool) {
    const SIZE: u64 = 128 << 20;
    let Some(group) = Group::new(SIZE / 2) else {
        return;
    };
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let memory = memfd_create("hollow", flags).expect("a memfd");
    ftruncate(&memory, SIZE).expect("the memfd can grow");
    fallocate(&memory, FallocateFlags::KEEP_SIZE, SIZE, SIZE).expect("there is enough memory");
    fcntl_add_seals(&memory, SEALED).expect("the memory can be sealed");

    let place = Place::new();
    let listener = wire::listen(&place.socket("cam0"));
    let mut impostor = Impostor::new(4, 0, SEALED, 0);
    let answer = impostor.welcome(4);
    let mut client = Client::start(&place, "");
    group.take(client.pid());
    client.order(ClientOrder::Connect);
    impostor.answer(&listener, &answer);
    client.wait_for("connected");
    impostor.announce(1, 0, SIZE, &[memory.as_fd()]);
    if for_a_frame {
        impostor.publish(0, &impostor.record(0, 1, SIZE));
    }
    client.begin(Receive::frames(1));
    let failed = client.next_line();
    assert_eq!(failed.text("kind"), "ResourceExhausted", "{failed}");
    assert!(failed.text("text").contains("control group"), "{failed}");
    client.end();
}
