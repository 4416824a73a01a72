//! What a producer keeps with a frame while the device writes it, and what a child of `fork` has of frames.

use xmem_tests::fakecuda::FakeCuda;
use xmem_tests::gpu::*;
use xmem_tests::peer::Peer;
use xmem_tests::{Place, until};

const ILLEGAL_ADDRESS: u32 = 700;

/// How many values that go with frames were dropped.
fn dropped(producer: &mut Peer<Produce>) -> u64 {
    producer.ask(Produce::Kept).number("dropped")
}

#[test]
fn what_goes_with_a_frame_is_dropped_when_the_work_is_done() {
    let mut held = Held::new();
    let Held {
        producer,
        control,
        client,
        ..
    } = &mut held;
    producer.ask(Produce::Keep(SIZE, 1));
    producer.ask(Produce::Keep(SIZE, 2));
    assert_nothing_comes(client);
    assert_eq!(dropped(producer), 0);
    control.run(1);
    assert_next(client, 0, 1);
    until("the value of the first is dropped", || {
        dropped(producer) == 1
    });
    assert_nothing_comes(client);
    assert_eq!(dropped(producer), 1);
    // The result need not be kept for that.
    producer.ask(Produce::LetGo);
    producer.ask(Produce::LetGo);
    assert_eq!(dropped(producer), 1);
    control.run_all();
    assert_next(client, 1, 2);
    until("both values are dropped", || dropped(producer) == 2);
}

#[test]
fn a_slot_is_not_used_again_while_its_producer_keeps_it() {
    let mut held = Held::new();
    let Held {
        producer,
        control,
        client,
        ..
    } = &mut held;
    let kept = producer.ask(Produce::Keep(SIZE, 1)).number("slot");
    control.open();
    assert_next(client, 0, 1);
    let takes_it = |producer: &mut Peer<Produce>| {
        // Each frame takes the slot that was free first.
        let mut slots = (0..20).map(|_| producer.ask(Produce::Publish(SIZE, 2)).number("slot"));
        let found = slots.any(|slot| slot == kept);
        slots.for_each(drop);
        found
    };
    assert!(!takes_it(producer));
    producer.ask(Produce::LetGo);
    until("the slot is used again", || takes_it(producer));
}

#[test]
fn what_goes_with_a_frame_is_dropped_if_the_frame_is_not_published() {
    // It is given up while it waits.
    let mut held = Held::new();
    held.producer.ask(Produce::Keep(SIZE, 1));
    held.producer.ask(Produce::Flush);
    assert_eq!(stats(&mut held.producer, "unpublished"), 1);
    assert_eq!(dropped(&mut held.producer), 0);
    held.control.run_all();
    until("it is dropped", || dropped(&mut held.producer) == 1);
    // The device fails.
    let mut held = Held::new();
    held.producer.ask(Produce::Keep(SIZE, 1));
    held.control.fail_next(ILLEGAL_ADDRESS);
    held.control.run_all();
    until("it is dropped", || dropped(&mut held.producer) == 1);
}

#[test]
fn a_call_that_is_refused_drops_what_goes_with_the_frame() {
    let mut held = Held::on(held().failing("cuEventRecord", 1, ILLEGAL_ADDRESS));
    held.control.open();
    held.producer.fail_at(Produce::Keep(SIZE, 1));
    let kept = held.producer.ask(Produce::Kept);
    assert_eq!((kept.number("dropped"), kept.number("queued")), (1, 0));
}

#[test]
fn a_child_of_fork_has_no_part_in_frames_on_a_device() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &driver, "leases=3");
    wait_for_clients(&mut producer, 1);
    producer.ask(Produce::Publish(SIZE, 1));
    producer.ask(Produce::Publish(SIZE, 2));
    for _ in 0..2 {
        receive(&mut client);
    }
    let forked = client.ask(Consume::ForkAndDrop);
    assert_eq!(forked.text("well"), "true", "{forked}");
    let forked = producer.ask(Produce::ForkAndDrop(SIZE));
    assert_eq!(forked.text("well"), "true", "{forked}");
    // What the children have dropped is there.
    assert_eq!(stats(&mut producer, "held"), 2);
    assert_eq!(client.ask(Consume::Stats).number("free"), 1);
    assert_eq!(look(&mut client), Some(1));
    client.ask(Consume::Drop);
    assert_eq!(look(&mut client), Some(2));
    client.ask(Consume::Release);
    producer.ask(Produce::Publish(SIZE, 3));
    assert_next(&mut client, 2, 3);
}
