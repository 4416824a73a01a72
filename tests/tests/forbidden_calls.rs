//! System calls that are refused, as seccomp profiles of containers do it. Frames flow without
//! optional calls; for other calls the error names the call and what helps.
//!
//! Each call is answered with `EPERM` and with `ENOSYS`, because profiles use both.

use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use xmem_tests::client::Receive;
use xmem_tests::order::Order;
use xmem_tests::pipeline::{CLIENT, PICTURES, Pipeline, Push, State};
use xmem_tests::producer::Publish;
use xmem_tests::seccomp::calls::*;
use xmem_tests::seccomp::{self, Call};
use xmem_tests::{
    Client, ClientOrder, Line, Opener, OpenerOrder, Peer, Place, Producer, ProducerOrder, process,
    until,
};

/// The answers that profiles use.
const ANSWERS: [Errno; 2] = [Errno::PERM, Errno::NOSYS];

/// All optional calls, which can be refused at the same time.
const OPTIONAL: &[Call] = &[
    FUTEX_WAITV,
    MEMFD_NOEXEC,
    MADVISE,
    LSEEK,
    MLOCK,
    SEND_BUFFER,
    PRLIMIT,
    FSTATFS,
    PIDFD_OPEN,
    GETSOCKOPT,
    KILL,
    SCHED_GETATTR,
    SCHED_SETATTR,
    INOTIFY_INIT,
    INOTIFY_ADD,
    FLOCK,
    RENAMEAT2,
    LINK,
    STATX,
    GETDENTS,
    GETRANDOM,
];

/// The command of a process that cannot make these calls.
fn refusing(mut command: Command, calls: &[Call], answer: Errno) -> Command {
    seccomp::refuse(&mut command, calls, answer);
    command
}

fn start<O: Order>(place: &Place, settings: &str, calls: &[Call], answer: Errno) -> Peer<O> {
    Peer::start_with(refusing(Peer::<O>::command(settings), calls, answer), place)
}

/// Kills a producer, and waits until its client, which has received all frames, notices.
fn end(producer: &mut Producer, client: &mut Client) {
    producer.kill();
    let end = client.fail_at(Receive::frames(1));
    assert_eq!(end.text("kind"), "Disconnected", "{end}");
}

/// Everything that a channel does, between two processes that cannot make these calls.
fn frames_flow(calls: &[Call], answer: Errno) {
    let place = Place::new();
    let start_client = || start::<ClientOrder>(&place, "leases=2", calls, answer);
    let start_producer = |settings| start::<ProducerOrder>(&place, settings, calls, answer);
    // A client waits for a producer to start.
    let mut client = start_client();
    client.order(ClientOrder::Connect);
    process::until_asleep(client.pid(), "worker");
    let mut producer = start_producer("block=3600000");
    client.wait_for("connected");
    // The client waits for frames, and sometimes the producer for the client. Some frames have
    // memory of their own.
    client.order(Receive::frames(40).work_us(500));
    producer.ask(Publish::frames(20, 1000).extra(100000));
    producer.publish(20, 2_000_000);
    let received = client.wait_for("received");
    assert_eq!(received.number("missed"), 0, "{calls:?}: {received}");
    // Each notices the end of the other.
    client.kill();
    producer.until_clients(0);
    let mut client = start_client();
    client.connect();
    client.receive(1);
    end(&mut producer, &mut client);
    // The next producer replaces the socket of the dead one.
    let mut producer = start_producer("");
    client.connect();
    producer.publish(1, 1000);
    client.receive(1);
    client.end();
    producer.end();
    assert_eq!(place.files(), Vec::<String>::new());
}

/// As [`frames_flow`], with one call refused at a time.
fn frames_flow_without_each(calls: &[Call]) {
    for call in calls {
        for answer in ANSWERS {
            frames_flow(&[*call], answer);
        }
    }
}

#[test]
fn frames_flow_without_any_optional_call() {
    for answer in ANSWERS {
        frames_flow(OPTIONAL, answer);
    }
}

#[test]
fn frames_flow_without_memory_calls_of_newer_kernels() {
    frames_flow_without_each(&[MEMFD_NOEXEC, POPULATE_READ, POPULATE_WRITE, WIPE_ON_FORK]);
}

#[test]
fn frames_flow_without_a_descriptor_of_the_other_process() {
    frames_flow_without_each(&[PEER_PIDFD, GETSOCKOPT]);
    for answer in ANSWERS {
        frames_flow(&[PEER_PIDFD, PIDFD_OPEN], answer);
    }
}

#[test]
fn frames_flow_without_a_watch_or_a_lock_in_a_directory() {
    frames_flow_without_each(&[INOTIFY_INIT, INOTIFY_ADD, FLOCK]);
}

#[test]
fn frames_flow_where_the_limits_of_a_process_cannot_be_read() {
    frames_flow_without_each(&[PRLIMIT]);
}

#[test]
fn threads_start_where_only_the_older_call_exists() {
    frames_flow(&[CLONE3], Errno::NOSYS);
}

#[test]
fn no_frame_costs_a_page_fault_where_the_kernel_can_not_populate_mappings() {
    for answer in ANSWERS {
        let place = Place::new();
        let mut producer: Producer = start(&place, "", &[MADVISE], answer);
        let mut client: Client = start(&place, "", &[MADVISE], answer);
        client.connect();
        // The first frame of this size causes the slots, on both sides.
        producer.publish(1, 4_000_000);
        client.receive(1);
        until("the client has prefaulted the slots", || {
            let bytes = producer.stats().number("bytes");
            process::memory(client.pid()).shared * 1024 >= bytes
        });
        for _ in 0..4 {
            let published = producer.publish(1, 4_000_000);
            let received = client.receive(1);
            // A slot has 977 pages. Some pages of heap and stack may be new.
            for line in [published, received] {
                assert!(line.number("faults") < 50, "{line}");
            }
        }
    }
}

fn says(failed: &Line, words: &[&str]) {
    assert_eq!(failed.word, "failed", "{failed}");
    assert_eq!(failed.text("retryable"), "false", "{failed}");
    for word in words {
        assert!(failed.text("text").contains(word), "{word:?}: {failed}");
    }
}

#[test]
fn a_producer_that_can_not_make_memory_names_the_call_and_what_helps() {
    for answer in ANSWERS {
        for (call, name) in [
            (MEMFD_CREATE, "memfd_create"),
            (ADD_SEALS, "F_ADD_SEALS"),
            (GET_SEALS, "F_GET_SEALS"),
            (FTRUNCATE, "ftruncate"),
            (EVENTFD, "eventfd"),
        ] {
            let place = Place::new();
            let mut opener: Opener = start(&place, "", &[call], answer);
            let failed = opener.fail_at(OpenerOrder::Open);
            says(&failed, &[name, "seccomp profile", "allow"]);
            assert_eq!(place.files(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_producer_that_can_not_listen_says_so() {
    for answer in ANSWERS {
        for call in [SOCKET, BIND, LISTEN, ACCEPT] {
            let place = Place::new();
            let mut opener: Opener = start(&place, "", &[call], answer);
            let failed = opener.fail_at(OpenerOrder::Open);
            says(&failed, &["cam0.sock", "making a socket there"]);
            assert_eq!(place.files(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_client_needs_no_calls_that_make_memory_and_names_those_it_needs() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    producer.publish(1, 1000);
    for answer in ANSWERS {
        for (call, name) in [
            (GET_SEALS, "F_GET_SEALS"),
            (ADD_SEALS, "F_ADD_SEALS"),
            (EVENTFD, "eventfd"),
            (SOCKET, "connecting to"),
            (SETSOCKOPT, "connecting to"),
            (CONNECT, "connecting to"),
            (PPOLL, "poll"),
        ] {
            let mut client: Client = start(&place, "", &[call], answer);
            let failed = client.fail_at(ClientOrder::Connect);
            says(&failed, &[name, "seccomp profile", "allow"]);
        }
        let unneeded = [MEMFD_CREATE, FTRUNCATE, FLOCK, BIND, LISTEN, ACCEPT];
        let mut client: Client = start(&place, "", &unneeded, answer);
        client.connect();
        client.receive(1);
    }
}

#[test]
fn a_thread_that_can_not_be_started_names_the_call() {
    let place = Place::new();
    let mut opener: Opener = start(&place, "threads=one", &[CLONE3], Errno::PERM);
    let failed = opener.fail_at(OpenerOrder::Open);
    says(&failed, &["thread", "clone3", "seccomp profile"]);
}

// --- futex_waitv -----------------------------------------------------------------------------------------------------

/// The number of voluntary context switches of all threads of a process.
fn waits(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process exists");
    let waits = tasks.flatten().filter_map(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        count.trim().parse::<u64>().ok()
    });
    waits.sum()
}

/// Waits until a process is idle and does not even poll every few milliseconds.
fn until_it_sleeps<O: Order>(peer: &Peer<O>) {
    const WINDOW: Duration = Duration::from_millis(200);
    /// A process that polls every 2 ms waits a hundred times.
    const FEW: u64 = 10;
    process::until_asleep(peer.pid(), "worker");
    // Other processes may still have to do something that wakes it.
    until("it sleeps", || {
        let before = waits(peer.pid());
        std::thread::sleep(WINDOW);
        waits(peer.pid()) - before <= FEW
    });
}

#[test]
fn frames_flow_without_futex_waitv() {
    frames_flow_without_each(&[FUTEX_WAITV]);
}

#[test]
fn a_client_without_futex_waitv_sleeps_until_a_frame_comes() {
    for answer in ANSWERS {
        let place = Place::new();
        let mut producer = Producer::start(&place, "");
        let mut client: Client = start(&place, "", &[FUTEX_WAITV], answer);
        client.connect();
        client.begin(Receive::frames(1));
        until_it_sleeps(&client);
        producer.publish(1, 1000);
        client.wait_for("received");
    }
}

#[test]
fn a_wait_without_futex_waitv_is_cancelled() {
    for answer in ANSWERS {
        let place = Place::new();
        let mut producer = Producer::start(&place, "");
        let mut client: Client = start(&place, "leases=1", &[FUTEX_WAITV], answer);
        client.connect();
        let is_cancelled = |client: &mut Client| {
            process::until_asleep(client.pid(), "worker");
            client.order(ClientOrder::Cancel);
            // The two threads may answer in either order.
            let lines = [client.next_line(), client.next_line()];
            let kinds = lines.each_ref().map(|line| line.get("kind"));
            assert!(kinds.contains(&Some("Cancelled")), "{lines:?}");
            client.ask(ClientOrder::Reset);
        };
        // No frame was published.
        client.begin(Receive::frames(1));
        is_cancelled(&mut client);
        // No lease is free.
        producer.publish(2, 1000);
        client.hold(1);
        client.order(ClientOrder::Hold(1));
        is_cancelled(&mut client);
        // The producer was killed and sent no message.
        client.release(1);
        client.receive(1);
        end(&mut producer, &mut client);
    }
}

/// A producer without futex_waitv that waits for both its clients.
fn blocked(place: &Place, answer: Errno) -> (Producer, [Client; 2]) {
    let settings = "slots=4 max-slots=16 block=3600000";
    let mut producer: Producer = start(place, settings, &[FUTEX_WAITV], answer);
    let clients = [(); 2].map(|()| Client::connected(place, "leases=1"));
    producer.order(Publish::frames(100, 1000));
    until_it_sleeps(&producer);
    (producer, clients)
}

#[test]
fn a_producer_without_futex_waitv_is_woken_by_either_client() {
    for answer in ANSWERS {
        for first in [0, 1] {
            let place = Place::new();
            let (mut producer, mut clients) = blocked(&place, answer);
            clients[first].receive(1);
            clients[first].order(Receive::frames(99));
            until_it_sleeps(&producer);
            clients[1 - first].receive(100);
            clients[first].wait_for("received");
            producer.wait_for("published");
        }
    }
}

#[test]
fn a_producer_without_futex_waitv_goes_on_when_its_clients_end() {
    for answer in ANSWERS {
        for first in [0, 1] {
            let place = Place::new();
            let (mut producer, mut clients) = blocked(&place, answer);
            clients[first].kill();
            producer.until_clients(1);
            process::until_asleep(producer.pid(), "worker");
            clients[1 - first].kill();
            producer.wait_for("published");
        }
    }
}

#[test]
fn a_producer_without_futex_waitv_is_cancelled() {
    for answer in ANSWERS {
        let place = Place::new();
        let (mut producer, _clients) = blocked(&place, answer);
        producer.order(ProducerOrder::Cancel);
        let lines = [producer.next_line(), producer.next_line()];
        let kinds = lines.each_ref().map(|line| line.get("kind"));
        assert!(kinds.contains(&Some("Cancelled")), "{lines:?}");
    }
}

// --- elements --------------------------------------------------------------------------------------------------------

/// A pipeline whose process cannot make these calls.
fn play(
    place: &Place,
    watches: &[&str],
    description: &str,
    calls: &[Call],
    answer: Errno,
) -> Pipeline {
    let mut pipeline = Pipeline::start_as(place, watches, description, |command| {
        refusing(command, calls, answer)
    });
    pipeline.order(State::Playing);
    pipeline
}

#[test]
fn pictures_flow_between_elements_without_optional_calls() {
    for answer in ANSWERS {
        let place = Place::new();
        let producer =
            format!("{PICTURES} ! xmemsink name=sink channel=cam0 sync=false overflow=block");
        // The client waits, however long the producer takes to start.
        let client = CLIENT.replace("channel", "connection-timeout=-1 channel");
        let mut client = play(&place, &["report out.sink"], &client, OPTIONAL, answer);
        let mut producer = play(&place, &["report sink.sink"], &producer, OPTIONAL, answer);
        client.until_buffers("out.sink", 60);
        let stats = producer.stats("sink");
        assert_eq!(stats.number("copied"), 0, "{stats}");
        client.end();
        producer.end();
        let sent = producer.digests("sink.sink");
        for digest in client.digests("out.sink") {
            assert!(sent.contains(&digest));
        }
    }
}

#[test]
fn memory_of_other_elements_is_shared_or_copied_whatever_is_refused() {
    const CALLS: &[Call] = &[FSTATFS, FALLOCATE];
    for answer in ANSWERS {
        for calls in [&CALLS[..1], CALLS] {
            let place = Place::new();
            let producer = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 \
                            sync=false";
            let mut producer = play(&place, &["report sink.sink"], producer, calls, answer);
            let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
            producer.until_clients("sink", 1);
            for number in 1..=10 {
                producer.push(Push::bytes(8192).memfds(4).seed(number as u64));
                producer.until_buffers("sink.sink", number);
                client.until_buffers("out.sink", number);
            }
            assert_eq!(producer.digests("sink.sink"), client.digests("out.sink"));
            let stats = producer.stats("sink");
            let shared = stats.number("imported") + stats.number("copied");
            assert_eq!(shared, 10, "{stats}");
        }
    }
}

#[test]
fn the_error_of_a_sink_names_the_call_that_it_needs() {
    for answer in ANSWERS {
        let place = Place::new();
        let producer = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
        let mut producer = play(&place, &[], &producer, &[MEMFD_CREATE], answer);
        let error = producer.until_message("error");
        assert_eq!(error.text("from"), "sink", "{error}");
        for word in ["memfd_create", "seccomp profile", "allow"] {
            assert!(error.text("text").contains(word), "{word:?}: {error}");
        }
    }
}
