//! The memory of a GPU that frames are in: how it is made, passed and given back. The driver is a stand-in.

use xmem_tests::fakecuda::{FakeCuda, needs_stand_in};
use xmem_tests::gpu::*;
use xmem_tests::peer::Peer;
use xmem_tests::{Place, process, until};

const OUT_OF_MEMORY: u32 = 2;

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
    needs_stand_in("a process without a driver");
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
