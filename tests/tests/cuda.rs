//! Frames in the memory of a GPU, between processes. The driver is a stand-in, which runs work when a
//! test says so: these tests are about order, lifetimes and errors, and say nothing of a GPU's times.

use std::time::Duration;

use xmem_tests::fakecuda::{Control, FakeCuda, Mode};
use xmem_tests::gpu::{CHANNEL, Consume, Produce, client, look, producer, receive};
use xmem_tests::peer::Peer;
use xmem_tests::{Place, is_torture, process, until};

/// The size of most frames.
const SIZE: usize = 64 << 10;
const OUT_OF_MEMORY: u32 = 2;
const ILLEGAL_ADDRESS: u32 = 700;
const UNKNOWN: u32 = 999;

fn held() -> FakeCuda {
    FakeCuda::new().mode(Mode::Hold)
}

/// How often a test goes round.
fn rounds(few: usize) -> usize {
    if is_torture() { 1000 } else { few }
}

/// A producer whose work is held, and a client. The slots of both were made before.
struct Held {
    producer: Peer<Produce>,
    control: Control,
    client: Peer<Consume>,
    _drivers: [FakeCuda; 2],
    _place: Place,
}

impl Held {
    fn new() -> Held {
        let (place, driver, reading) = (Place::new(), held(), FakeCuda::new());
        let mut producer = producer(&place, &driver, "");
        let mut control = driver.control(producer.pid());
        control.open();
        producer.ask(Produce::Acquire(SIZE));
        let client = client(&place, &reading, "");
        wait_for_clients(&mut producer, 1);
        control.hold();
        Held {
            producer,
            control,
            client,
            _drivers: [driver, reading],
            _place: place,
        }
    }
}

/// Nothing comes: neither a frame nor an event.
fn assert_nothing_comes(client: &mut Peer<Consume>) {
    let line = client.fail_at(Consume::Receive(100));
    assert_eq!(line.text("kind"), "timed_out", "{line}");
}

fn wait_for_clients(producer: &mut Peer<Produce>, count: u64) {
    until("the clients are there", || {
        producer.ask(Produce::Stats).number("clients") == count
    });
}

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

// --- Order -----------------------------------------------------------------------------------------------------------

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
    let Held {
        mut producer,
        mut control,
        mut client,
        _drivers,
        _place,
    } = Held::new();
    producer.ask(Produce::Publish(SIZE, 7));
    producer.ask(Produce::Say("between".into()));
    producer.ask(Produce::Publish(SIZE, 8));
    assert_nothing_comes(&mut client);
    assert_eq!(producer.ask(Produce::Stats).number("pending"), 3);
    control.run(1);
    assert_eq!(receive(&mut client), (0, 0));
    assert_eq!(look(&mut client), Some(7));
    client.ask(Consume::Drop);
    let line = client.ask(Consume::Receive(10_000));
    assert_eq!(line.get("text"), Some("between"), "{line}");
    assert_nothing_comes(&mut client);
    control.run_all();
    assert_eq!(receive(&mut client), (1, 0));
    assert_eq!(look(&mut client), Some(8));
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
    let Held {
        mut producer,
        mut control,
        mut client,
        _drivers,
        _place,
    } = Held::new();
    producer.ask(Produce::Discard(SIZE, 1));
    producer.ask(Produce::Publish(SIZE, 2));
    assert_eq!(producer.ask(Produce::Stats).number("pending"), 2);
    control.run_all();
    assert_eq!(receive(&mut client), (0, 0));
    assert_eq!(look(&mut client), Some(2));
}

#[test]
fn frames_before_a_flush_that_the_device_has_not_written_are_not_published() {
    let Held {
        mut producer,
        mut control,
        mut client,
        _drivers,
        _place,
    } = Held::new();
    for value in 1..=2 {
        producer.ask(Produce::Publish(SIZE, value));
    }
    producer.ask(Produce::Flush);
    producer.ask(Produce::Publish(SIZE, 3));
    control.run_all();
    assert_eq!(receive(&mut client), (0, 0));
    assert_eq!(look(&mut client), Some(3));
    assert_eq!(producer.ask(Produce::Stats).number("unpublished"), 2);
}

// --- Memory ----------------------------------------------------------------------------------------------------------

#[test]
fn the_cpu_neither_writes_nor_reads_such_frames() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &driver, "");
    producer.ask(Produce::Publish(SIZE, 1));
    receive(&mut client);
    for line in [
        producer.fail_at(Produce::WriteByCpu(SIZE)),
        client.fail_at(Consume::ReadByCpu),
    ] {
        assert_eq!(line.text("kind"), "wrong_storage", "{line}");
    }
}

#[test]
fn a_client_can_not_write_a_frame_by_accident() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut clients = [(), ()].map(|()| client(&place, &driver, ""));
    producer.ask(Produce::Publish(SIZE, 1));
    for client in &mut clients {
        let line = client.ask(Consume::Receive(10_000));
        assert_eq!(line.number("read_only"), 1, "{line}");
    }
    let [writer, reader] = &mut clients;
    let line = writer.fail_at(Consume::Write);
    assert!(line.text("text").contains("ILLEGAL_ADDRESS"), "{line}");
    assert_eq!(look(reader), Some(1));
    producer.ask(Produce::Publish(SIZE, 2));
    reader.ask(Consume::Drop);
    receive(reader);
    assert_eq!(look(reader), Some(2));
}

#[test]
fn a_device_has_its_uuid_whatever_its_number_is() {
    let place = Place::new();
    let devices = FakeCuda::new().devices(3);
    let reordered = FakeCuda::new().devices(3);
    let reordered = reordered.with("CUDA_VISIBLE_DEVICES", "2,0");
    let mut producer = producer(&place, &devices, "device=2");
    producer.ask(Produce::Publish(SIZE, 5));
    let mut other = client(&place, &reordered, "");
    let mut same = client(&place, &devices, "");
    let received = [&mut other, &mut same].map(|client| {
        let line = client.ask(Consume::Receive(10_000));
        assert_eq!(look(client), Some(5));
        line.text("device").to_owned()
    });
    assert_eq!(received[0], received[1]);
}

#[test]
fn a_client_that_does_not_see_the_device_is_told_which_it_is_and_which_it_sees() {
    let place = Place::new();
    let devices = || FakeCuda::new().devices(2);
    let mut producer = producer(&place, &devices(), "device=1");
    producer.ask(Produce::Publish(SIZE, 5));
    let other = devices().with("CUDA_VISIBLE_DEVICES", "0");
    let mut client = client(&place, &other, "");
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "cuda", "{line}");
    let text = line.text("text");
    assert_eq!(text.matches("GPU-").count(), 2, "{text}");
    assert!(text.contains("CUDA_VISIBLE_DEVICES"), "{text}");
    // The producer goes on.
    producer.ask(Produce::Run(SIZE, 10));
    client.ask(Consume::Leave);
    wait_for_clients(&mut producer, 0);
}

#[test]
fn a_client_without_a_driver_is_told_so() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    producer.ask(Produce::Publish(SIZE, 5));
    let mut without: Peer<Consume> = Peer::start(&place, "");
    let line = without.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "cuda", "{line}");
    assert!(line.text("text").contains("there is no driver"), "{line}");
}

#[test]
fn a_client_that_takes_only_memory_nobody_else_writes_is_refused() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let _producer = producer(&place, &driver, "");
    let mut client: Peer<Consume> = Peer::launch(&place, "unsealed=never");
    let line = client.wait_for("failed");
    assert_eq!(line.text("kind"), "refused", "{line}");
}

#[test]
fn a_client_that_takes_no_memory_of_devices_is_told_the_device() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let _producer = producer(&place, &driver, "");
    let mut client: Peer<Consume> = Peer::launch(&place, "device_memory=no");
    let line = client.wait_for("failed");
    assert_eq!(line.text("kind"), "refused", "{line}");
    assert!(line.text("text").contains("GPU-"), "{line}");
}

#[test]
fn frames_passed_by_handles_end_with_their_producer() {
    let place = Place::new();
    let driver = FakeCuda::new().with("FAKECUDA_ATTR", "102:0");
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &driver, "");
    for value in 1..=2 {
        producer.ask(Produce::Publish(SIZE, value));
    }
    receive(&mut client);
    producer.kill();
    until("the client has noticed", || {
        let threads = process::describe(client.pid());
        !threads.iter().any(|thread| thread.contains("xmem-control"))
    });
    // The other frame is not begun any more: its memory is gone.
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "disconnected", "{line}");
}

#[test]
fn a_frame_passed_by_a_handle_stays_until_its_client_lets_it_go() {
    let place = Place::new();
    let driver = FakeCuda::new().with("FAKECUDA_ATTR", "102:0");
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &driver, "");
    producer.ask(Produce::Publish(SIZE, 3));
    receive(&mut client);
    producer.ask(Produce::Drop);
    assert!(driver.calls("cuMemFree_v2").is_empty());
    assert_eq!(look(&mut client), Some(3));
    client.ask(Consume::Drop);
    client.ask(Consume::Leave);
    until("the memory is freed", || {
        !driver.calls("cuMemFree_v2").is_empty()
    });
}

#[test]
fn a_driver_that_lacks_a_function_is_named_with_it() {
    let place = Place::new();
    let driver = FakeCuda::without(&["cuMemExportToShareableHandle"]);
    let mut command = Peer::<Produce>::command("");
    driver.apply(&mut command);
    let mut producer: Peer<Produce> = Peer::spawn(command, &place);
    let line = producer.wait_for("failed");
    assert!(
        line.text("text").contains("cuMemExportToShareableHandle"),
        "{line}"
    );
}

#[test]
fn memory_that_has_no_descriptors_is_passed_by_handles() {
    let place = Place::new();
    let driver = FakeCuda::new().with("FAKECUDA_ATTR", "102:0");
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &driver, "");
    for value in 0..20 {
        producer.ask(Produce::Publish(SIZE, value));
        receive(&mut client);
        assert_eq!(look(&mut client), Some(value.into()));
        client.ask(Consume::Release);
    }
    assert!(driver.calls("cuMemCreate").is_empty());
    // Once, not for each frame.
    assert_eq!(
        driver.calls("cuIpcOpenMemHandle_v2").len(),
        driver.calls("cuMemAlloc_v2").len() - 1
    );
}

#[test]
fn a_device_without_memory_for_a_client_refuses_it_and_others_go_on() {
    let place = Place::new();
    // Room for the producer and one client, each slot of 1 MiB.
    let driver = FakeCuda::new().with("FAKECUDA_MEMORY", 12 << 20);
    let mut producer = producer(&place, &driver, "slots=2");
    producer.ask(Produce::Acquire(1 << 20));
    let mut first = client(&place, &driver, "leases=2");
    let mut command = Peer::<Consume>::command("leases=40");
    driver.apply(&mut command);
    let mut second: Peer<Consume> = Peer::spawn(command, &place);
    let line = second.wait_for("failed");
    assert_eq!(line.text("kind"), "refused", "{line}");
    assert!(line.text("text").contains("memory"), "{line}");
    producer.ask(Produce::Publish(1 << 20, 4));
    receive(&mut first);
    assert_eq!(look(&mut first), Some(4));
}

#[test]
fn a_device_without_memory_for_the_first_frame_is_an_error_with_figures() {
    let place = Place::new();
    let driver = FakeCuda::new().failing("cuMemCreate", 1, OUT_OF_MEMORY);
    let mut producer = producer(&place, &driver, "");
    let line = producer.fail_at(Produce::Publish(SIZE, 1));
    assert_eq!(line.text("kind"), "resource_exhausted", "{line}");
    producer.ask(Produce::Publish(SIZE, 1));
}

#[test]
fn frames_pass_on_to_another_channel_without_a_copy() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut source = producer(&place, &driver, "block=10000");
    let mut middle = producer(&place, &driver, "block=10000 channel=second");
    let mut client = client(&place, &driver, "channel=second");
    wait_for_clients(&mut middle, 1);
    middle.order(Produce::Forward(CHANNEL.into()));
    wait_for_clients(&mut source, 1);
    client.order(Consume::Run);
    source.ask(Produce::Run(SIZE, 100));
    source.ask(Produce::End);
    assert_eq!(middle.wait_for("forwarded").number("count"), 100);
    middle.ask(Produce::End);
    let line = client.wait_for("ended");
    assert_eq!(
        (line.number("count"), line.number("torn")),
        (100, 0),
        "{line}"
    );
    let made = driver.calls("cuMemCreate");
    assert!(
        made.iter()
            .all(|call| call.number("pid") == u64::from(source.pid()))
    );
}

// --- The steady state ------------------------------------------------------------------------------------------------

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

// --- Ends ------------------------------------------------------------------------------------------------------------

#[test]
fn published_frames_stay_when_the_producer_is_killed_and_others_never_come() {
    let (place, driver) = (Place::new(), held());
    let mut producer = producer(&place, &driver, "");
    let mut control = driver.control(producer.pid());
    control.open();
    let reading = FakeCuda::new();
    let mut client = client(&place, &reading, "");
    for value in 1..=2 {
        producer.ask(Produce::Publish(SIZE, value));
    }
    receive(&mut client);
    control.hold();
    producer.ask(Produce::Publish(SIZE, 3));
    producer.kill();
    assert_eq!(look(&mut client), Some(1));
    receive(&mut client);
    client.ask(Consume::Drop);
    assert_eq!(look(&mut client), Some(2));
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "disconnected", "{line}");
}

#[test]
fn a_client_that_is_killed_while_the_device_reads_leaves_nothing() {
    let place = Place::new();
    let (writing, reading) = (FakeCuda::new(), held());
    let mut producer = producer(&place, &writing, "");
    for round in 0..rounds(20) {
        let mut client = client(&place, &reading, "leases=2");
        producer.ask(Produce::Publish(SIZE, 1));
        receive(&mut client);
        if round % 2 == 0 {
            client.ask(Consume::Release);
        }
        client.kill();
    }
    wait_for_clients(&mut producer, 0);
    producer.ask(Produce::Run(SIZE, 50));
    let line = producer.ask(Produce::Stats);
    assert_eq!(
        (line.number("held"), line.number("pending")),
        (0, 0),
        "{line}"
    );
    let alive = writing.control(producer.pid()).alive();
    assert_eq!(
        alive.number("mappings"),
        line.number("segments"),
        "{alive}, {line}"
    );
}

#[test]
fn clients_that_come_and_go_leave_no_descriptor_mapping_or_handle() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &driver, "");
    let mut before = None;
    for round in 0..rounds(40) {
        // Each has memory of its own.
        let size = SIZE << (round % 8);
        let mut source = producer_of(&place, &driver, round);
        source.ask(Produce::Publish(size, 1));
        let mut other = crate::client(&place, &driver, &format!("channel=other{round}"));
        receive(&mut other);
        assert_eq!(look(&mut other), Some(1));
        other.ask(Consume::Release);
        producer.ask(Produce::Publish(SIZE, 2));
        receive(&mut client);
        client.ask(Consume::Release);
        let fds = process::fd_count(producer.pid()) + process::fd_count(client.pid());
        if round == 5 {
            before = Some(fds);
        }
        let before = before.unwrap_or(fds);
        assert_eq!(fds, before);
        let pids = (source.pid(), other.pid());
        source.end();
        other.end();
        for pid in [pids.0, pids.1] {
            let left = driver.left_by(pid).expect("it has ended by itself");
            for kind in ["allocations", "handles", "mappings", "events", "bytes"] {
                assert_eq!(left.number(kind), 0, "{left}");
            }
        }
    }
}

fn producer_of(place: &Place, driver: &FakeCuda, round: usize) -> Peer<Produce> {
    producer(place, driver, &format!("channel=other{round}"))
}

#[test]
fn a_device_that_fails_ends_the_channel_with_the_reason() {
    let Held {
        mut producer,
        mut control,
        mut client,
        _drivers,
        _place,
    } = Held::new();
    producer.ask(Produce::Publish(SIZE, 1));
    control.fail_next(ILLEGAL_ADDRESS);
    control.run_all();
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "disconnected", "{line}");
    assert!(line.text("text").contains("(700)"), "{line}");
    until("the publisher knows", || {
        let line = producer.outcome(Produce::Publish(SIZE, 2));
        line.word == "failed"
    });
}

#[test]
fn a_client_whose_device_fails_gets_the_reason_and_others_go_on() {
    let place = Place::new();
    let (writing, reading) = (FakeCuda::new(), held());
    let mut producer = producer(&place, &writing, "");
    let mut failing = client(&place, &reading, "");
    let mut other = client(&place, &writing, "");
    producer.ask(Produce::Publish(SIZE, 1));
    receive(&mut failing);
    failing.ask(Consume::Release);
    let mut control = reading.control(failing.pid());
    control.lose(UNKNOWN);
    until("the client knows", || {
        let line = failing.fail_at(Consume::Receive(100));
        line.text("kind") == "cuda"
    });
    receive(&mut other);
    assert_eq!(look(&mut other), Some(1));
    producer.ask(Produce::Run(SIZE, 20));
}

#[test]
fn a_publisher_that_is_closed_publishes_what_the_device_writes_soon() {
    let time = Duration::from_millis(30);
    let (place, driver) = (Place::new(), FakeCuda::new().mode(Mode::Delay(time)));
    let mut producer = producer(&place, &driver, "");
    let reading = FakeCuda::new();
    let mut client = client(&place, &reading, "");
    for value in 1..=3 {
        producer.ask(Produce::Publish(SIZE, value));
    }
    producer.ask(Produce::Close);
    for value in 1..=3 {
        receive(&mut client);
        assert_eq!(look(&mut client), Some(value));
        client.ask(Consume::Drop);
    }
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "stopped", "{line}");
}

#[test]
fn a_publisher_whose_device_does_not_end_its_work_closes_all_the_same() {
    let Held {
        mut producer,
        mut control,
        mut client,
        _drivers,
        _place,
    } = Held::new();
    producer.ask(Produce::Publish(SIZE, 1));
    producer.ask(Produce::Close);
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "stopped", "{line}");
    control.run_all();
    until("the frame is given up", || {
        producer.ask(Produce::Stats).number("unpublished") == 1
    });
}

#[test]
fn frames_outlive_their_subscriber() {
    let place = Place::new();
    let (writing, reading) = (FakeCuda::new(), held());
    let mut producer = producer(&place, &writing, "");
    let mut client = client(&place, &reading, "");
    producer.ask(Produce::Publish(SIZE, 6));
    receive(&mut client);
    let mut control = reading.control(client.pid());
    client.ask(Consume::Leave);
    client.ask(Consume::Release);
    let held = |producer: &mut Peer<Produce>| producer.ask(Produce::Stats).number("held");
    producer.ask(Produce::Run(SIZE, 20));
    assert_eq!(held(&mut producer), 1);
    control.run_all();
    wait_for_clients(&mut producer, 0);
}
