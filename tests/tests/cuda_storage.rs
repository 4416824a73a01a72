//! A stream that changes between memory of the machine and that of a GPU. The driver is a stand-in.

use xmem_tests::fakecuda::FakeCuda;
use xmem_tests::gpu::{Consume, Produce, SIZE, client, look, producer, receive, wait_for_clients};
use xmem_tests::peer::Peer;
use xmem_tests::{Place, until};

fn read(client: &mut Peer<Consume>) -> Option<u64> {
    client.ask(Consume::ReadByCpu).get_number("all")
}

#[test]
fn a_stream_changes_between_memories_and_back() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &driver, "leases=4");
    wait_for_clients(&mut producer, 1);
    for round in 0..10u8 {
        let at = u64::from(round) * 3;
        producer.ask(Produce::Publish(SIZE, round));
        producer.ask(Produce::Store(None));
        producer.ask(Produce::PublishByCpu(SIZE / 2, 100 + round));
        producer.ask(Produce::PublishByCpu(SIZE * 2, 200 + round));
        producer.ask(Produce::Store(Some(0)));
        for position in at..at + 3 {
            assert_eq!(receive(&mut client), (position, 0));
        }
        assert_eq!(look(&mut client), Some(u64::from(round)));
        client.ask(Consume::Drop);
        for value in [100 + round, 200 + round] {
            assert_eq!(read(&mut client), Some(u64::from(value)));
            client.ask(Consume::Drop);
        }
    }
    // What was left behind is given up.
    producer.ask(Produce::Publish(SIZE, 1));
    receive(&mut client);
    client.ask(Consume::Drop);
    producer.ask(Produce::Run(SIZE, 10));
    until("only slots of the device are left", || {
        producer.ask(Produce::Stats).number("segments") == 1
    });
}

#[test]
fn frames_that_the_device_writes_come_before_those_in_other_memory() {
    let time = std::time::Duration::from_millis(20);
    let driver = FakeCuda::new().mode(xmem_tests::fakecuda::Mode::Delay(time));
    let (place, reading) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &reading, "");
    wait_for_clients(&mut producer, 1);
    producer.ask(Produce::Publish(SIZE, 1));
    producer.ask(Produce::Publish(SIZE, 2));
    producer.ask(Produce::Store(None));
    producer.ask(Produce::PublishByCpu(SIZE, 3));
    for value in 1..=3 {
        assert_eq!(receive(&mut client), (value - 1, 0));
        let seen = match value {
            3 => read(&mut client),
            _ => look(&mut client),
        };
        assert_eq!(seen, Some(value));
        client.ask(Consume::Drop);
    }
}

#[test]
fn a_client_that_takes_no_memory_of_devices_is_evicted_when_slots_are_there() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    producer.ask(Produce::Store(None));
    let mut takes = client(&place, &driver, "");
    let mut refuses = client(&place, &driver, "device_memory=no");
    wait_for_clients(&mut producer, 2);
    producer.ask(Produce::PublishByCpu(SIZE, 1));
    for client in [&mut takes, &mut refuses] {
        assert_eq!(receive(client), (0, 0));
        client.ask(Consume::Drop);
    }
    producer.ask(Produce::Store(Some(0)));
    producer.ask(Produce::Publish(SIZE, 2));
    assert_eq!(receive(&mut takes), (1, 0));
    assert_eq!(look(&mut takes), Some(2));
    let line = refuses.fail_at(Consume::Receive(10_000));
    assert!(line.text("text").contains("memory of the GPU"), "{line}");
    drop(refuses);
    wait_for_clients(&mut producer, 1);
    // A producer of memory of the machine takes it again.
    producer.ask(Produce::Store(None));
    let mut again = client(&place, &driver, "device_memory=no");
    wait_for_clients(&mut producer, 2);
    producer.ask(Produce::PublishByCpu(SIZE, 3));
    assert_eq!(receive(&mut again).0, 2);
    assert_eq!(read(&mut again), Some(3));
}

#[test]
fn a_slot_that_was_acquired_before_the_change_is_not_published() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &driver, "");
    wait_for_clients(&mut producer, 1);
    let line = producer.fail_at(Produce::PublishLate(SIZE, 1));
    assert_eq!(line.text("kind"), "wrong_storage", "{line}");
    producer.ask(Produce::PublishByCpu(SIZE, 2));
    assert_eq!(receive(&mut client), (0, 0));
    assert_eq!(read(&mut client), Some(2));
}
