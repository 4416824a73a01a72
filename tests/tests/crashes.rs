//! Processes are killed at random moments, again and again. The others continue, and nothing is
//! left.
//!
//! `XMEM_ROUNDS` is the number of rounds (60). `XMEM_SEED` repeats the moments of a run as far as a
//! machine can.

use std::time::Duration;

use xmem_tests::client::Receive;
use xmem_tests::producer::Publish;
use xmem_tests::random::Random;
use xmem_tests::wait::comes_true;
use xmem_tests::{Client, ClientOrder, Line, Place, Producer, ProducerOrder, process, until};

/// The number of rounds for each of the two kinds of victims.
fn rounds() -> u64 {
    let rounds = std::env::var("XMEM_ROUNDS").ok();
    let rounds = rounds.map(|rounds| rounds.parse().expect("XMEM_ROUNDS is a number"));
    rounds.unwrap_or(60) / 2
}

/// Waits until a running client has received more frames. Returns how many times it has connected.
fn until_it_goes_on(client: &mut Client) -> u64 {
    let before = client.progress().number("frames");
    let mut progress = Line::default();
    let goes_on = comes_true(|| {
        progress = client.progress();
        progress.number("frames") > before
    });
    let threads = process::describe(client.pid());
    assert!(goes_on, "a client has stopped at {progress}: {threads:#?}");
    progress.number("connects")
}

fn nothing_is_left_of(client: &mut Client, fds_before: usize) {
    client.order(ClientOrder::Halt);
    client.wait_for("halted");
    process::until_fd_count(client.pid(), fds_before);
    assert_eq!(process::maps(client.pid(), "memfd:"), []);
}

#[test]
fn nothing_is_left_of_clients_killed_at_random_moments() {
    let place = Place::new();
    let mut random = Random::new();
    // The producer waits for its clients, so the survivors miss nothing, but not for long.
    let mut producer = Producer::start(&place, "slots=3 block=10000");
    let mut survivor = Client::start(&place, "name=survivor");
    let survivor_fds = process::fd_count(survivor.pid());
    survivor.begin(ClientOrder::Run { linger_us: 0 });
    producer.ask(ProducerOrder::WaitForClients(1));
    // The first victim causes the slots that its successors use.
    let mut first = Client::connected(&place, "leases=4");
    producer.begin(ProducerOrder::Run(
        Publish::frames(0, 20000).extra(100).period_us(200),
    ));
    first.receive(10);
    first.kill();
    let alone = |producer: &mut Producer| {
        producer.until_clients(1);
        until("nothing of other connections is left", || {
            process::socket_count(producer.pid()) == 2
        });
    };
    alone(&mut producer);
    until_it_goes_on(&mut survivor);
    let producer_fds = process::fd_count(producer.pid());
    let stats = producer.stats();

    for round in 0..rounds() {
        let mut victim = Client::launch(&place, "leases=4");
        let mut most = Duration::from_millis(20);
        match round % 4 {
            // While it starts, connects and receives.
            0 => victim.order(ClientOrder::Run { linger_us: 0 }),
            1 => {
                victim.order(ClientOrder::Connect);
                victim.order(ClientOrder::Hold(4));
                victim.order(Receive::frames(1));
            }
            // While it receives.
            2 => {
                victim.begin(ClientOrder::Run { linger_us: 0 });
                until_it_goes_on(&mut victim);
                most = Duration::from_millis(2);
            }
            // While all its leases are in use.
            _ => {
                victim.connect();
                victim.hold(4);
                most = Duration::from_millis(2);
            }
        }
        std::thread::sleep(random.duration(most));
        victim.kill();
        until_it_goes_on(&mut survivor);
    }
    alone(&mut producer);
    let after = producer.stats();
    for figure in ["slots", "segments", "bytes", "clients"] {
        assert_eq!(after.number(figure), stats.number(figure), "{figure}");
    }
    process::until_fd_count(producer.pid(), producer_fds);
    let progress = survivor.progress();
    assert_eq!(
        (progress.number("missed"), progress.number("connects")),
        (0, 1)
    );
    nothing_is_left_of(&mut survivor, survivor_fds);
    producer.halt();
    producer.end();
    assert_eq!(place.files(), [""; 0]);
    assert_eq!(place.new_in_shm(), [""; 0]);
}

#[test]
fn nothing_is_left_of_producers_killed_at_random_moments() {
    let place = Place::new();
    let mut random = Random::new();
    let mut survivors = [
        Client::start(&place, "leases=1"),
        Client::start(&place, "delivery=latest"),
    ];
    let fds: Vec<usize> = survivors
        .iter()
        .map(|survivor| process::fd_count(survivor.pid()))
        .collect();
    for survivor in &mut survivors {
        survivor.begin(ClientOrder::Run { linger_us: 0 });
    }
    for round in 0..rounds() {
        let mut victim = Producer::launch(&place, "");
        // Occasionally with segments that are replaced.
        let grow = [0, 0, 64][round as usize % 3];
        victim.order(ProducerOrder::Run(
            Publish::frames(0, 5000)
                .extra(700)
                .period_us(100)
                .grow(grow),
        ));
        let most = match round % 2 {
            // While it starts.
            0 => Duration::from_millis(20),
            // While it publishes.
            _ => {
                victim.wait_for("begun");
                for survivor in &mut survivors {
                    until_it_goes_on(survivor);
                }
                Duration::from_millis(3)
            }
        };
        std::thread::sleep(random.duration(most));
        victim.kill();
        let files = place.files();
        assert!(files.len() <= 2, "{files:?}");
    }
    let mut last = Producer::start(&place, "");
    assert_eq!(place.files(), ["cam0.sock"]);
    last.order(ProducerOrder::Run(
        Publish::frames(0, 5000).extra(700).period_us(100),
    ));
    for (survivor, fds) in survivors.iter_mut().zip(fds) {
        let connects = until_it_goes_on(survivor);
        assert!(connects > rounds() / 2, "{connects}");
        nothing_is_left_of(survivor, fds);
    }
    last.halt();
    last.end();
    assert_eq!(place.files(), [""; 0]);
    assert_eq!(place.new_in_shm(), [""; 0]);
}

#[test]
fn a_hundred_connects_leave_no_descriptor_and_no_mapping() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    producer.ask(Publish::frames(1, 5000).extra(2000));
    let pid = producer.pid();
    let mut client = Client::start(&place, "");
    let client_fds = process::fd_count(client.pid());
    let mut cycle = |count: u64| {
        client.ask(ClientOrder::Cycle(count));
        producer.until_clients(0);
        until("nothing of its connection is left", || {
            process::socket_count(pid) == 1
        });
        process::until_fd_count(client.pid(), client_fds);
        assert_eq!(process::maps(client.pid(), "memfd:"), []);
        let figures = producer.stats();
        (
            figures.number("slots"),
            figures.number("bytes"),
            process::maps(pid, "memfd:").len(),
        )
    };
    // The first connection causes the slots.
    let before = cycle(1);
    let producer_fds = process::fd_count(pid);
    let after = cycle(100);
    assert_eq!(after, before);
    process::until_fd_count(pid, producer_fds);
}
