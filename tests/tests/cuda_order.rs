//! The order of frames in the memory of a GPU, of what is said between them, and of the work on the device. The
//! driver is a stand-in, which runs work when a test says so.
//!
//! If frames were published without a wait for their work, nine of these tests would fail, and others in
//! `cuda_ends.rs` and `cuda_kills.rs`. If leases ended without one,
//! `a_lease_ends_when_the_device_has_read_the_frame` would, and `frames_outlive_their_subscriber` there.

use std::time::Duration;

use xmem_tests::fakecuda::{FakeCuda, Mode};
use xmem_tests::gpu::*;
use xmem_tests::peer::Peer;
use xmem_tests::{Place, process, until};

const OUT_OF_MEMORY: u32 = 2;
const ILLEGAL_ADDRESS: u32 = 700;

fn all_frames_cross(driver: &FakeCuda, frames: u64) {
    let place = Place::new();
    let mut producer = producer(&place, driver, "block=10000");
    let mut clients = [(), ()].map(|()| client(&place, driver, ""));
    wait_for_clients(&mut producer, 2);
    clients
        .iter_mut()
        .for_each(|client| client.order(Consume::Run));
    producer.ask(Produce::Run(SIZE, frames));
    producer.ask(Produce::End);
    for client in &mut clients {
        let line = client.wait_for("ended");
        let seen = ["count", "missed", "torn"].map(|key| line.number(key));
        assert_eq!(seen, [frames, 0, 0], "{line}");
    }
}

#[test]
fn ten_thousand_frames_cross_whole() {
    all_frames_cross(&FakeCuda::new(), 10_000);
}

#[test]
fn frames_cross_whole_if_work_takes_long() {
    let time = Duration::from_micros(300);
    all_frames_cross(&FakeCuda::new().mode(Mode::Delay(time)), 1000);
}

#[test]
fn a_frame_and_what_is_said_after_it_come_when_the_device_has_written_it() {
    let mut held = Held::new();
    let Held {
        producer,
        control,
        client,
        ..
    } = &mut held;
    producer.ask(Produce::Publish(SIZE, 7));
    producer.ask(Produce::Say("between".into()));
    producer.ask(Produce::Publish(SIZE, 8));
    assert_nothing_comes(client);
    assert_eq!(producer.ask(Produce::Stats).number("pending"), 3);
    control.run(1);
    assert_eq!(receive(client), (0, 0));
    assert_eq!(look(client), Some(7));
    client.ask(Consume::Drop);
    let line = client.ask(Consume::Receive(10_000));
    assert_eq!(line.get("text"), Some("between"), "{line}");
    assert_nothing_comes(client);
    control.run_all();
    assert_eq!(receive(client), (1, 0));
    assert_eq!(look(client), Some(8));
    until("nothing waits for the device", || {
        producer.ask(Produce::Stats).number("pending") == 0
    });
}

#[test]
fn a_frame_that_is_written_already_waits_for_those_before_it() {
    let time = Duration::from_millis(20);
    let (place, driver) = (Place::new(), FakeCuda::new().mode(Mode::Delay(time)));
    let mut producer = producer(&place, &driver, "");
    let reading = FakeCuda::new();
    let mut client = client(&place, &reading, "");
    producer.ask(Produce::Publish(SIZE, 1));
    producer.ask(Produce::PublishWritten(SIZE, 2));
    producer.ask(Produce::Publish(SIZE, 3));
    for value in 1..=3 {
        assert_eq!(receive(&mut client), (value - 1, 0));
        assert_eq!(look(&mut client), Some(value));
        client.ask(Consume::Drop);
    }
}

#[test]
fn a_lease_ends_when_the_device_has_read_the_frame() {
    let place = Place::new();
    let (writing, reading) = (FakeCuda::new(), held());
    let mut producer = producer(&place, &writing, "");
    let mut client = client(&place, &reading, "leases=2");
    producer.ask(Produce::Publish(SIZE, 1));
    receive(&mut client);
    // The client has loaded the driver by now.
    let mut control = reading.control(client.pid());
    client.ask(Consume::Release);
    let free = |client: &mut Peer<Consume>| client.ask(Consume::Stats).number("free");
    assert_eq!(free(&mut client), 1);
    // It is not written meanwhile, however many frames come.
    producer.ask(Produce::Run(SIZE, 50));
    assert_eq!(producer.ask(Produce::Stats).number("held"), 1);
    control.run_all();
    until("the lease has ended", || free(&mut client) == 2);
    assert_eq!(producer.ask(Produce::Stats).number("held"), 0);
}

#[test]
fn a_lease_does_not_end_early_if_there_is_no_event_for_the_work() {
    let place = Place::new();
    let (writing, reading) = (FakeCuda::new(), held());
    let reading = reading.failing("cuEventRecord", 1, OUT_OF_MEMORY);
    let mut producer = producer(&place, &writing, "");
    let mut client = client(&place, &reading, "leases=2");
    producer.ask(Produce::Publish(SIZE, 1));
    receive(&mut client);
    let mut control = reading.control(client.pid());
    client.order(Consume::Release);
    until("the call waits for the device", || {
        control.queued() > 0 && !reading.calls("cuEventRecord").is_empty()
    });
    producer.ask(Produce::Run(SIZE, 50));
    assert_eq!(producer.ask(Produce::Stats).number("held"), 1);
    control.run_all();
    client.wait_for("done");
    assert_eq!(producer.ask(Produce::Stats).number("held"), 0);
}

#[test]
fn a_frame_that_is_discarded_is_not_published_and_its_slot_waits_for_the_device() {
    let mut held = Held::new();
    let Held {
        producer,
        control,
        client,
        ..
    } = &mut held;
    producer.ask(Produce::Discard(SIZE, 1));
    producer.ask(Produce::Publish(SIZE, 2));
    assert_eq!(stats(producer, "pending"), 2);
    control.run_all();
    assert_next(client, 0, 2);
    // The caller wanted that.
    assert_eq!(stats(producer, "unpublished"), 0);
}

#[test]
fn a_flush_does_not_wait_for_the_device() {
    let mut held = Held::new();
    let Held {
        producer,
        control,
        client,
        ..
    } = &mut held;
    let publish = |producer: &mut Peer<Produce>, value| {
        let line = producer.ask(Produce::Publish(SIZE, value));
        line.number("slot")
    };
    let first = publish(producer, 1);
    producer.ask(Produce::Format("video/x-raw".into()));
    let second = publish(producer, 2);
    producer.ask(Produce::Flush);
    until("the client is told of the flush", || {
        client.ask(Consume::Stats).number("flushes") == 1
    });
    // What is true of the frames to come was said.
    let line = client.ask(Consume::Receive(10_000));
    assert_eq!(line.get("what"), Some("format"), "{line}");
    assert_eq!(stats(producer, "unpublished"), 2);
    // The device may write their slots.
    assert_eq!(stats(producer, "pending"), 2);
    for _ in 0..20 {
        let slot = producer.ask(Produce::Acquire(SIZE)).number("slot");
        assert!(slot != first && slot != second, "{slot}");
    }
    publish(producer, 3);
    assert_nothing_comes(client);
    control.run_all();
    assert_next(client, 0, 3);
    until("nothing waits for the device", || {
        stats(producer, "pending") == 0
    });
    assert_eq!(stats(producer, "unpublished"), 2);
}

#[test]
fn flushes_one_after_another_do_not_wait_for_the_device() {
    let mut held = Held::new();
    let Held {
        producer,
        control,
        client,
        ..
    } = &mut held;
    for value in 1..=3 {
        producer.ask(Produce::Publish(SIZE, value));
        producer.ask(Produce::Flush);
    }
    until("the client is told of them", || {
        client.ask(Consume::Stats).number("flushes") == 3
    });
    producer.ask(Produce::Publish(SIZE, 4));
    control.run_all();
    assert_next(client, 0, 4);
    until("nothing waits for the device", || {
        stats(producer, "pending") == 0
    });
    let threads = process::describe(producer.pid());
    let waiting = threads.iter().filter(|thread| thread.contains("xmem-cuda"));
    assert_eq!(waiting.count(), 1, "{threads:#?}");
}

#[test]
fn what_is_urgent_does_not_wait_for_the_device() {
    let mut held = Held::new();
    let Held {
        producer,
        control,
        client,
        ..
    } = &mut held;
    producer.ask(Produce::Publish(SIZE, 1));
    producer.ask(Produce::Urgent);
    until("the client is told of it", || {
        client.ask(Consume::Stats).number("flushes") == 1
    });
    assert_eq!(stats(producer, "pending"), 1);
    control.run_all();
    assert_next(client, 0, 1);
}

#[test]
fn a_frame_is_not_published_early_if_there_is_no_event_for_the_work() {
    let mut held = Held::on(held().failing("cuEventRecord", 1, OUT_OF_MEMORY));
    let Held {
        producer,
        control,
        client,
        driver,
        ..
    } = &mut held;
    producer.order(Produce::Publish(SIZE, 1));
    until("the call waits for the device", || {
        control.queued() > 0 && !driver.calls("cuEventRecord").is_empty()
    });
    assert_nothing_comes(client);
    control.run_all();
    producer.wait_for("done");
    assert_next(client, 0, 1);
}

#[test]
fn a_slot_is_not_used_again_if_nothing_tells_when_its_work_is_done() {
    // How often the driver waits for a stream when the slots are made.
    let waits = |driver: &FakeCuda| driver.calls("cuStreamSynchronize").len();
    let before = waits(&Held::new().driver);
    let faults = format!(
        "cuEventRecord@1:{OUT_OF_MEMORY},cuStreamSynchronize@{}:{OUT_OF_MEMORY}",
        before + 1
    );
    let mut held = Held::on(held().with("FAKECUDA_FAIL", faults));
    let Held {
        producer,
        control,
        client,
        driver,
        ..
    } = &mut held;
    assert_eq!(waits(driver), before);
    let slots: Vec<u64> = (0..2)
        .map(|_| producer.ask(Produce::Acquire(SIZE)).number("slot"))
        .collect();
    // The slot that is free first is taken again.
    assert_eq!(slots[0], slots[1]);
    let line = producer.fail_at(Produce::Publish(SIZE, 1));
    assert_eq!(line.text("kind"), "cuda", "{line}");
    for _ in 0..20 {
        let slot = producer.ask(Produce::Acquire(SIZE)).number("slot");
        assert_ne!(slot, slots[0]);
    }
    // The channel goes on.
    control.open();
    producer.ask(Produce::Run(SIZE, 20));
    client.ask(Consume::Receive(10_000));
}

/// A value that goes with a frame is dropped on the thread that publishes frames, and uses the publisher.
#[test]
fn what_is_dropped_on_the_thread_that_publishes_does_not_wait_for_it() {
    let (place, driver, holding) = (Place::new(), FakeCuda::new(), held());
    let mut source = producer(&place, &driver, "");
    source.ask(Produce::Publish(SIZE, 1));
    let mut middle = producer(&place, &holding, "channel=second slots=8");
    let mut control = holding.control(middle.pid());
    control.open();
    middle.ask(Produce::Acquire(SIZE));
    middle.ask(Produce::ImportActing(CHANNEL.into()));
    control.hold();
    for value in 1..=3 {
        middle.ask(Produce::Publish(SIZE, value));
    }
    // The thread ends the channel, and with it the frame in memory of another process.
    control.fail_next(ILLEGAL_ADDRESS);
    control.run_all();
    let mut line = middle.ask(Produce::Acted);
    until("the value was dropped", || {
        line = middle.ask(Produce::Acted);
        line.get("close").is_some()
    });
    assert_eq!(line.text("thread"), "xmem-cuda", "{line}");
    assert!(line.text("publish").contains("use_publish_after"), "{line}");
    for what in ["publish_after", "event", "flush"] {
        assert!(line.text(what).contains("(700)"), "{line}");
    }
    until("nothing waits for the device", || {
        stats(&mut middle, "pending") == 0
    });
    wait_for_clients(&mut source, 0);
    middle.end();
}

#[test]
fn a_frame_makes_imports_and_waits_for_nothing() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "block=10000");
    let mut client = client(&place, &driver, "");
    wait_for_clients(&mut producer, 1);
    client.order(Consume::Run);
    producer.ask(Produce::Run(SIZE, 100));
    let count = |function: &str| driver.calls(function).len();
    const NEVER: [&str; 12] = [
        "cuMemCreate",
        "cuMemAlloc_v2",
        "cuMemMap",
        "cuMemSetAccess",
        "cuMemExportToShareableHandle",
        "cuMemImportFromShareableHandle",
        "cuIpcOpenMemHandle_v2",
        "cuStreamSynchronize",
        "cuCtxSynchronize",
        "cuStreamCreate",
        "cuEventCreate",
        "cuDevicePrimaryCtxRetain",
    ];
    let before = NEVER.map(|function| (function, count(function)));
    producer.ask(Produce::Run(SIZE, 1000));
    producer.ask(Produce::End);
    assert_eq!(client.wait_for("ended").number("torn"), 0);
    assert_eq!(NEVER.map(|function| (function, count(function))), before);
    // Only threads of xmem wait for the device.
    for call in driver.calls("cuEventSynchronize") {
        assert_eq!(call.text("thread"), "xmem-cuda", "{call}");
    }
}
