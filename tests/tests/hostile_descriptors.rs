//! Peers that pass descriptors whose close does not end: the other side does not wait for it.
#![allow(unsafe_code)]

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use xmem_core::Subscriber;
use xmem_tests::area::SEALED;
use xmem_tests::client::Receive;
use xmem_tests::hostile::impostor::{Impostor, PAGE};
use xmem_tests::hostile::lingering::{Lingering, MOST};
use xmem_tests::order::Order;
use xmem_tests::wire::{self, Connection};
use xmem_tests::{
    Client, ClientOrder, PATIENCE, Peer, Place, Producer, ProducerOrder, limits, process, until,
};

/// The socket option that says whether a socket accepts descriptors.
const SO_PASSRIGHTS: u32 = 83;
/// The maximum number of threads of a process that close such descriptors.
const MOST_THREADS: usize = 64;

/// A producer on a kernel that cannot keep clients from passing descriptors, as before Linux 6.16.
fn producer_on_an_older_kernel(place: &Place, settings: &str) -> Producer {
    let mut command = Producer::command(&format!("slots=4 {settings}"));
    // SAFETY: between `fork` and `exec` only this runs: two system calls, with memory that was
    // allocated before.
    unsafe { command.pre_exec(without_passrights) };
    Producer::start_with(command, place)
}

/// Makes the kernel answer `setsockopt` of this one option as if the option were unknown.
fn without_passrights() -> std::io::Result<()> {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let jump = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    let line = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let unknown = libc::SECCOMP_RET_ERRNO | Errno::NOPROTOOPT.raw_os_error() as u32;
    let mut program = [
        // Loads the number of the call, then the lower half of its third argument.
        line(load, 0, 0),
        line(jump, libc::SYS_setsockopt as u32, 3),
        line(load, 16 + 2 * 8, 0),
        line(jump, SO_PASSRIGHTS, 1),
        line(answer, unknown, 0),
        line(answer, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the kernel copies `len` instructions at `filter`, which are borrowed.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Passes copies while the other process is stopped, so that the last close happens there.
fn pass<O: Order>(peer: &Peer<O>, to: &Connection, bytes: &[u8], copies: usize) -> Lingering {
    pass_all(peer, to, &[(bytes, copies)]).remove(0)
}

/// The same with several messages.
fn pass_all<O: Order>(
    peer: &Peer<O>,
    to: &Connection,
    messages: &[(&[u8], usize)],
) -> Vec<Lingering> {
    peer.stop();
    let pass = |&(bytes, copies)| {
        let mut lingering = Lingering::new();
        let passed = lingering.pass(to, bytes, copies);
        passed.map(|()| lingering)
    };
    let passed: Result<Vec<_>, Errno> = messages.iter().map(pass).collect();
    peer.resume();
    passed.expect("the peer accepts descriptors")
}

/// The number of threads of a process that close something.
fn closing<O: Order>(peer: &Peer<O>) -> usize {
    let threads = process::describe(peer.pid());
    let closes = |thread: &&String| thread.starts_with("xmem-close");
    threads.iter().filter(closes).count()
}

/// Checks that the producer works as before, and ends when it is told to.
fn goes_on(place: &Place, producer: &mut Producer) {
    let builder = Subscriber::builder(place.channel("cam0"));
    let mut client = builder.connect_timeout(Some(PATIENCE)).connect().unwrap();
    producer.publish(1, 100);
    client.receive(Some(PATIENCE)).unwrap();
    drop(client);
    producer.until_clients(0);
    producer.ask(ProducerOrder::Close);
    producer.end();
}

fn upstream() -> Vec<u8> {
    wire::message(wire::UPSTREAM, b"said")
}

#[test]
fn no_client_can_pass_descriptors_to_a_producer() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    let connection = Connection::open(&place.socket("cam0"));
    let hello = wire::hello(wire::VERSION, 1);
    match Lingering::new().pass(&connection, &hello, 1) {
        Err(refused) => assert_eq!(refused, Errno::PERM),
        Ok(()) => eprintln!("not tried: this kernel does not refuse descriptors"),
    }
    goes_on(&place, &mut producer);
}

#[test]
fn a_producer_waits_for_no_descriptor_that_came_with_a_hello() {
    for copies in [1, MOST] {
        let place = Place::new();
        let mut producer = producer_on_an_older_kernel(&place, "");
        let hostile = Connection::open(&place.socket("cam0"));
        let _lingering = pass(&producer, &hostile, &wire::hello(wire::VERSION, 1), copies);
        // The producer closes the connection. If a message was not read, the kernel reports that
        // first.
        let answer = hostile.receive().or_else(|| hostile.receive());
        let reason = answer.expect("a goodbye").reason();
        assert!(reason.contains("descriptors"), "{reason}");
        assert!(hostile.receive().is_none());
        until("the descriptor is being closed", || closing(&producer) > 0);
        goes_on(&place, &mut producer);
    }
}

#[test]
fn a_producer_waits_for_no_descriptor_of_a_client() {
    for copies in [1, MOST] {
        let place = Place::new();
        let mut producer = producer_on_an_older_kernel(&place, "");
        let hostile = Connection::open(&place.socket("cam0"));
        let welcome = hostile.greet(wire::VERSION, 1);
        hostile.join(&welcome.fds[1]);
        let _lingering = pass(&producer, &hostile, &upstream(), copies);
        // The client is evicted at the first message.
        let reason = hostile.receive_kind(wire::BYE).reason();
        assert!(reason.contains("descriptors"), "{reason}");
        drop(hostile);
        until("the descriptor is being closed", || closing(&producer) > 0);
        goes_on(&place, &mut producer);
    }
}

/// Messages that were not read are closed with the connection.
#[test]
fn a_producer_waits_for_no_descriptor_that_it_did_not_read() {
    let place = Place::new();
    let mut producer = producer_on_an_older_kernel(&place, "");
    let hostile = Connection::open(&place.socket("cam0"));
    let welcome = hostile.greet(wire::VERSION, 1);
    hostile.join(&welcome.fds[1]);
    hostile.send(b"nonsense", &[]).expect("a producer");
    hostile.receive_kind(wire::BYE);
    let _lingering = pass(&producer, &hostile, &upstream(), 1);
    drop(hostile);
    until("the descriptor is being closed", || closing(&producer) > 0);
    goes_on(&place, &mut producer);
}

#[test]
fn a_producer_without_descriptors_waits_for_none_that_does_not_fit() {
    let place = Place::new();
    let mut producer = producer_on_an_older_kernel(&place, "");
    let hostile = Connection::open(&place.socket("cam0"));
    let welcome = hostile.greet(wire::VERSION, 1);
    hostile.join(&welcome.fds[1]);
    let limit = limits::leave_descriptors(producer.pid(), 0);
    let _lingering = pass(&producer, &hostile, &upstream(), 3);
    hostile.receive_kind(wire::BYE);
    drop(hostile);
    until("the descriptor is being closed", || closing(&producer) > 0);
    drop(limit);
    goes_on(&place, &mut producer);
}

#[test]
fn a_producer_that_can_release_no_more_connections_takes_none_until_it_can() {
    let place = Place::new();
    let mut producer = producer_on_an_older_kernel(&place, "");
    let hello = wire::hello(wire::VERSION, 1);
    // The producer must not be stopped while it closes something, because a signal ends the wait of
    // the close.
    producer.stop();
    let pass = |_| {
        let hostile = Connection::open(&place.socket("cam0"));
        let mut lingering = Lingering::new();
        lingering
            .pass(&hostile, &hello, 1)
            .expect("the peer accepts descriptors");
        (hostile, lingering)
    };
    let mut hostile: Vec<_> = (0..MOST_THREADS).map(pass).collect();
    producer.resume();
    until("the producer closes as many as it can", || {
        closing(&producer) == MOST_THREADS
    });
    let late = Connection::open(&place.socket("cam0"));
    late.send(&hello, &[]).expect("the message is sent");
    // The producer continues with its other work.
    producer.publish(1, 100);
    assert_eq!(closing(&producer), MOST_THREADS);
    hostile.pop();
    assert_eq!(late.receive().expect("an answer").kind, wire::WELCOME);
    drop(late);
    goes_on(&place, &mut producer);
}

#[test]
fn descriptors_that_a_client_sends_are_closed() {
    let place = Place::new();
    let producer = producer_on_an_older_kernel(&place, "");
    until("the producer has closed all of them", || {
        closing(&producer) == 0
    });
    let before = process::fd_count(producer.pid());
    for _ in 0..20 {
        let hostile = Connection::open(&place.socket("cam0"));
        let file = std::fs::File::open("/dev/null").expect("a device");
        let fds = [file.as_fd(); 4];
        let hello = wire::hello(wire::VERSION, 4);
        hostile
            .send(&hello, &fds)
            .expect("the peer accepts descriptors");
        let reason = hostile.receive().expect("a reason").reason();
        assert!(reason.contains("descriptors"), "{reason}");
    }
    process::until_fd_count(producer.pid(), before);
}

/// The kind of the error of a client that connects to a producer which answers with this.
fn kind_of_failure(answer: &[u8], copies: usize) -> String {
    let place = Place::new();
    let listener = wire::listen(&place.socket("cam0"));
    let mut client = Client::start(&place, "");
    client.order(ClientOrder::Connect);
    let hostile = wire::accept(&listener);
    hostile.receive().expect("a hello");
    // Another message follows, which is not read.
    let lingering = pass_all(&client, &hostile, &[(answer, copies), (b"more", 1)]);
    let failed = client.next_line();
    until("the descriptor is being closed", || closing(&client) > 0);
    client.end();
    drop(lingering);
    failed.text("kind").to_owned()
}

#[test]
fn a_client_that_connects_waits_for_no_descriptor() {
    let welcome = Impostor::new(4, 0, SEALED, 0).welcome(4);
    // Descriptors that the client does not expect, and descriptors instead of memory.
    for (answer, copies) in [(&b"?"[..], 1), (b"?", MOST), (&welcome, 2), (&welcome, 3)] {
        assert_eq!(kind_of_failure(answer, copies), "Protocol");
    }
}

/// A client of an impostor, which holds a frame.
fn deceived() -> (Impostor, Client) {
    let place = Place::new();
    let listener = wire::listen(&place.socket("cam0"));
    let mut impostor = Impostor::new(4, 0, SEALED, 0);
    let mut client = Client::start(&place, "");
    client.order(ClientOrder::Connect);
    let welcome = impostor.welcome(4);
    impostor.answer(&listener, &welcome);
    client.wait_for("connected");
    (impostor, client)
}

/// Passes such a descriptor to the client in a message of the impostor.
fn deceive(impostor: &mut Impostor, client: &Client, bytes: &[u8]) -> Lingering {
    pass(client, impostor.connection(), bytes, 1)
}

fn segment() -> Vec<u8> {
    let mut body = 1u32.to_le_bytes().to_vec();
    body.extend(0u32.to_le_bytes());
    body.extend((PAGE as u64).to_le_bytes());
    wire::message(wire::SEGMENT, &body)
}

#[test]
fn a_client_waits_for_no_descriptor_when_it_leaves() {
    // Instead of a segment, and in a message without descriptors.
    for bytes in [segment(), wire::message(wire::TOLD, &[0; 8])] {
        let (mut impostor, mut client) = deceived();
        let _lingering = deceive(&mut impostor, &client, &bytes);
        client.begin(Receive::frames(1));
        assert_eq!(client.next_line().text("kind"), "Protocol");
        // Messages after it are not read.
        let _more = deceive(&mut impostor, &client, &bytes);
        client.ask(ClientOrder::Disconnect);
        until("the descriptor is being closed", || closing(&client) > 0);
        client.end();
    }
}

#[test]
fn a_client_gives_up_where_it_can_release_no_more_connections() {
    let place = Place::new();
    let listener = wire::listen(&place.socket("cam0"));
    let over = AtomicBool::new(false);
    let mut client = Client::start(&place, "timeout-ms=300");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut receivers = Vec::new();
            loop {
                let hostile = wire::accept(&listener);
                if over.load(Ordering::Relaxed) {
                    break;
                }
                hostile.receive().expect("a hello");
                let mut lingering = Lingering::new();
                receivers.push(lingering.receiver());
                // The client cannot be stopped here, because that would end the closes in progress.
                // So the last close may be the one in this process.
                std::thread::spawn(move || {
                    let _ = lingering.pass(&hostile, b"?", 1);
                });
            }
        });
        let failed = loop {
            let failed = client.outcome(ClientOrder::Connect);
            if failed.text("kind") != "Protocol" {
                break failed;
            }
        };
        over.store(true, Ordering::Relaxed);
        drop(Connection::open(&place.socket("cam0")));
        assert_eq!(failed.text("kind"), "ResourceExhausted", "{failed}");
        assert_eq!(failed.text("retryable"), "true");
        assert!(failed.text("text").contains("does not end"), "{failed}");
    });
    client.end();
}
