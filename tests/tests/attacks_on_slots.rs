//! One client writes false values to its lease words and its cursor, so that the producer searches
//! for slots or waits in vain.

use std::collections::VecDeque;

use xmem_core::{Frame, Publisher, Subscriber};
use xmem_tests::area::Area;
use xmem_tests::attacked::{Attacked, Hostile, report};
use xmem_tests::hostile::impostor::{Layout, STATES};
use xmem_tests::producer::Publish;
use xmem_tests::wire::{self, Connection};
use xmem_tests::{PATIENCE, Place, ProducerOrder, is_torture, pattern, until};

/// The client names a frame in a lease word just after the producer has found its slot free, and
/// another frame at the next scan. It can keep as many slots in this way as it has lease words, so
/// an honest client that lags by no more than its own leases misses nothing.
#[test]
fn a_client_that_flips_its_leases_keeps_no_more_slots_than_it_has_leases() {
    const LEASES: u32 = 8;
    const HOSTILE_LEASES: u32 = 16;
    let frames = if is_torture() { 2_000_000 } else { 200_000 };
    let place = Place::new();
    let socket = place.socket("cam0");
    let publisher = Publisher::builder(place.channel("cam0"))
        .slots(2)
        .slot_size(64)
        .open()
        .expect("a channel");
    let honest = Subscriber::builder(place.channel("cam0")).leases(LEASES);
    let mut honest = honest.connect().expect("a connection");
    let observer = Connection::open(&socket);
    let welcome = observer.greet(wire::VERSION, 1);
    let layout = Layout::new(welcome.u32_at(12) as usize);
    let metadata = Area::map(&welcome.fds[0], layout.size, false);
    let settings = format!("flip socket={} leases={HOSTILE_LEASES}", socket.display());
    let mut hostile = Hostile::start(&place, &settings);
    let mut held: VecDeque<Frame> = VecDeque::new();
    let mut kept_most = 0;
    for number in 0..frames {
        pattern::publish(&publisher, number, 64, 0).expect("a frame");
        // As far behind as the quota allows: half of the leases are for the frames it holds.
        let lag = u64::from(LEASES / 2);
        if number >= lag {
            let frame = honest.receive(Some(PATIENCE)).expect("a frame");
            assert_eq!((frame.seq(), frame.missed()), (number - lag, 0));
            held.push_back(frame);
        }
        if held.len() > lag as usize - 1 {
            pattern::check(&held.pop_front().expect("several")).expect("a whole frame");
        }
        let slots = publisher.stats().slots;
        let states = &metadata.words()[STATES..STATES + slots as usize];
        let is_ready = |state: &&std::sync::atomic::AtomicU64| {
            state.load(std::sync::atomic::Ordering::Relaxed) & 1 == 1
        };
        let ready = states.iter().filter(is_ready).count() as u32;
        if number > u64::from(slots) {
            kept_most = kept_most.max(slots - ready);
        }
    }
    assert!(
        kept_most <= HOSTILE_LEASES + 1,
        "{kept_most} slots were kept"
    );
    let report = report(&mut hostile);
    println!("{kept_most} slots kept at most, {report}");
    drop(observer);
}

/// Each lease holds a frame, as it may. The producer finds a slot for each frame nevertheless.
#[test]
fn clients_that_hold_two_thousand_frames_keep_no_frame_from_being_published() {
    const CLIENTS: u64 = 64;
    const LEASES: u64 = 31;
    let frames = if is_torture() { 30_000 } else { 1000 };
    let mut channel = Attacked::open(40, "max-slots=2048 max-clients=70");
    let mut hostile = channel.attack(&format!("hold clients={CLIENTS} leases={LEASES}"));
    channel
        .producer
        .order(ProducerOrder::Run(Publish::frames(0, 1000).period_us(50)));
    until("the clients hold all that they may", || {
        report(&mut hostile).number("effects") == CLIENTS * LEASES
    });
    channel.producer.order(ProducerOrder::Halt);
    let filled = channel.producer.wait_for("published");
    assert_eq!(channel.stats().number("held"), CLIENTS * LEASES);
    channel.add_honest_at(filled.number("next"));
    channel.publish(frames, 2000);
    assert_eq!(channel.stats().number("held"), CLIENTS * LEASES);
}

/// The client does everything except receive a frame: it wakes the producer, sleeps, claims and
/// releases frames that it does not have.
#[test]
fn a_client_that_only_looks_busy_is_waited_for_once() {
    const TIMEOUT_MS: u64 = 2000;
    let mut channel = Attacked::open(2, &format!("block={TIMEOUT_MS}"));
    channel.add_honest("");
    let _hostile = channel.attack("stall leases=4");
    let frames = if is_torture() { 100_000 } else { 1000 };
    channel.publish(frames, 0);
    assert_eq!(channel.stats().number("lagging"), 1);
}
