//! Streams and events of the stand-in for the CUDA driver: when work runs and what waits for it, and
//! how errors of a device reach those they concern.

use std::time::Duration;

use xmem_tests::Place;
use xmem_tests::fakecuda::numbers::{
    BLOCKING, DEVICE_UNAVAILABLE, GRANULE, ILLEGAL_ADDRESS, INVALID_CONTEXT, INVALID_HANDLE,
    IPC_EVENT, LAUNCH_FAILED, NON_BLOCKING, NOT_READY, PLAIN_EVENT, READ, READ_WRITE, UNKNOWN,
};
use xmem_tests::fakecuda::{Argument, Bytes, Cuda, CudaOrder, FakeCuda, Mode, WorkRun};
use xmem_tests::wait::comes_true;

use Argument::{Out, Value};

/// A driver whose work the test releases.
fn held() -> FakeCuda {
    FakeCuda::new().mode(Mode::Hold)
}

#[test]
fn held_work_shows_nothing_until_it_is_released() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::start(&place, &driver);
    let eager = FakeCuda::new();
    let mut observer = Cuda::start(&place, &eager);
    let mut control = driver.control(cuda.pid());
    let handle = cuda.create(GRANULE).expect("memory");
    let address = cuda.map(handle, GRANULE, READ_WRITE);
    let imported = cuda.share(handle, &place, &mut observer);
    let seen = observer.map(imported, GRANULE, READ);
    let (stream, event) = (cuda.stream(NON_BLOCKING), cuda.event(PLAIN_EVENT));
    assert_eq!(
        cuda.query(event),
        0,
        "an event that was never recorded is complete"
    );
    for value in 1..=3 {
        assert_eq!(cuda.fill(address, GRANULE, value, stream), 0);
    }
    cuda.record(event, stream);
    assert_eq!(control.queued(), 3);
    assert_eq!(cuda.code("cuStreamQuery", &[Value(stream)]), NOT_READY);
    assert_eq!(observer.look(seen, GRANULE), Bytes::All(0));
    for value in 1..=3 {
        assert_eq!(cuda.query(event), NOT_READY);
        let left = 3 - u64::from(value);
        assert_eq!(control.run(1), WorkRun { count: 1, left });
        assert_eq!(observer.look(seen, GRANULE), Bytes::All(value));
    }
    assert_eq!(cuda.query(event), 0);
    assert_eq!(cuda.code("cuStreamQuery", &[Value(stream)]), 0);
    assert_eq!(control.run(1), WorkRun { count: 0, left: 0 });
}

#[test]
fn work_of_one_stream_can_be_released_before_older_work_of_another() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let address = cuda.allocate(GRANULE);
    let streams = [cuda.stream(NON_BLOCKING), cuda.stream(NON_BLOCKING)];
    let events = [cuda.event(PLAIN_EVENT), cuda.event(PLAIN_EVENT)];
    for (stream, event) in streams.into_iter().zip(events) {
        assert_eq!(cuda.fill(address, GRANULE, 1, stream), 0);
        cuda.record(event, stream);
    }
    assert_eq!(control.run_of(streams[1], 5), WorkRun { count: 1, left: 1 });
    assert_eq!(events.map(|event| cuda.query(event)), [NOT_READY, 0]);
    control.open();
    assert_eq!(cuda.code("cuEventSynchronize", &[Value(events[0])]), 0);
}

#[test]
fn a_call_that_waits_returns_when_the_work_is_released() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let address = cuda.allocate(GRANULE);
    let (stream, event) = (cuda.stream(NON_BLOCKING), cuda.event(PLAIN_EVENT));
    for (function, argument) in [
        ("cuStreamSynchronize", Some(stream)),
        ("cuEventSynchronize", Some(event)),
        ("cuCtxSynchronize", None),
    ] {
        assert_eq!(cuda.fill(address, GRANULE, 1, stream), 0);
        cuda.record(event, stream);
        let arguments: Vec<_> = argument.into_iter().map(Value).collect();
        cuda.begin(function, &arguments);
        // The call is logged when it returns.
        assert!(driver.calls(function).is_empty(), "{function}");
        control.run_all();
        assert_eq!(cuda.ended(), 0, "{function}");
    }
    let freed = cuda.fill(address, GRANULE, 2, stream);
    assert_eq!(freed, 0);
    cuda.begin("cuMemFree_v2", &[Value(address)]);
    assert!(driver.calls("cuMemFree_v2").is_empty());
    control.open();
    assert_eq!(cuda.ended(), 0);
}

#[test]
fn a_stream_waits_for_an_event_of_another_stream() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let address = cuda.allocate(GRANULE);
    let (first, second) = (cuda.stream(NON_BLOCKING), cuda.stream(NON_BLOCKING));
    let event = cuda.event(PLAIN_EVENT);
    assert_eq!(cuda.fill(address, GRANULE, 1, first), 0);
    cuda.record(event, first);
    cuda.outputs(
        "cuStreamWaitEvent",
        &[Value(second), Value(event), Value(0)],
    );
    assert_eq!(cuda.fill(address, GRANULE, 2, second), 0);
    assert_eq!(control.run_of(second, 1), WorkRun { count: 0, left: 2 });
    assert_eq!(control.run_all(), WorkRun { count: 2, left: 0 });
    control.open();
    assert_eq!(cuda.look(address, GRANULE), Bytes::All(2));
}

#[test]
fn the_default_stream_waits_for_blocking_streams_and_they_for_it() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let address = cuda.allocate(GRANULE);
    let (blocking, other) = (cuda.stream(BLOCKING), cuda.stream(NON_BLOCKING));
    let event = cuda.event(PLAIN_EVENT);
    assert_eq!(cuda.fill(address, GRANULE, 1, blocking), 0);
    assert_eq!(cuda.fill(address, GRANULE, 1, other), 0);
    // Complete once the blocking stream is.
    cuda.record(event, 0);
    assert_eq!(cuda.query(event), NOT_READY);
    assert_eq!(control.run_of(blocking, 1).count, 1);
    assert_eq!(cuda.query(event), 0);
    // Work of the default stream holds blocking streams up, and no others.
    assert_eq!(cuda.fill(address, GRANULE, 2, 0), 0);
    assert_eq!(cuda.fill(address, GRANULE, 3, blocking), 0);
    assert_eq!(cuda.fill(address, GRANULE, 3, other), 0);
    assert_eq!(control.run_of(blocking, 1).count, 0);
    assert_eq!(control.run_of(other, 2).count, 2);
    assert_eq!(control.run_all(), WorkRun { count: 2, left: 0 });
}

#[test]
fn a_record_of_a_context_covers_all_its_streams_and_holds_nothing_up() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::launch(&place, &driver);
    let context = cuda.use_device(0);
    let mut control = driver.control(cuda.pid());
    let address = cuda.allocate(GRANULE);
    let streams = [cuda.stream(NON_BLOCKING), cuda.stream(BLOCKING)];
    let event = cuda.event(PLAIN_EVENT);
    for stream in streams {
        assert_eq!(cuda.fill(address, GRANULE, 1, stream), 0);
    }
    cuda.outputs("cuCtxRecordEvent", &[Value(context), Value(event)]);
    // Later work is not waited for, and does not wait.
    assert_eq!(cuda.fill(address, GRANULE, 2, streams[0]), 0);
    assert_eq!(control.run_of(streams[0], 2).count, 2);
    assert_eq!(cuda.query(event), NOT_READY);
    assert_eq!(control.run_of(streams[1], 1).count, 1);
    assert_eq!(cuda.query(event), 0);
}

#[test]
fn an_event_is_recorded_on_streams_of_its_context_only() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut cuda = Cuda::start(&place, &driver);
    let event = cuda.event(PLAIN_EVENT);
    cuda.outputs("cuCtxCreate_v2", &[Out(8), Value(0), Value(0)]);
    let stream = cuda.stream(NON_BLOCKING);
    let arguments = [Value(event), Value(stream)];
    assert_eq!(cuda.code("cuEventRecord", &arguments), INVALID_HANDLE);
}

/// Two processes that share an event, and a stream of each. The first has held work and a record.
fn shared_event(place: &Place, driver: &FakeCuda, eager: &FakeCuda) -> (Cuda, u64, Cuda, u64, u64) {
    let mut recorder = Cuda::start(place, driver);
    let mut waiter = Cuda::start(place, eager);
    let event = recorder.event(IPC_EVENT);
    let handle = recorder.handle("cuIpcGetEventHandle", event);
    assert_eq!(
        recorder.open("cuIpcOpenEventHandle", &handle),
        Err(INVALID_CONTEXT)
    );
    let opened = waiter
        .open("cuIpcOpenEventHandle", &handle)
        .expect("it opens");
    assert_eq!(waiter.query(opened), 0);
    let (stream, address) = (recorder.stream(NON_BLOCKING), recorder.allocate(GRANULE));
    assert_eq!(recorder.fill(address, GRANULE, 1, stream), 0);
    recorder.record(event, stream);
    let waiting = waiter.stream(NON_BLOCKING);
    let arguments = [Value(waiting), Value(opened), Value(0)];
    waiter.outputs("cuStreamWaitEvent", &arguments);
    (recorder, stream, waiter, opened, waiting)
}

#[test]
fn an_event_of_another_process_is_waited_for() {
    let (place, driver, eager) = (Place::new(), held(), FakeCuda::new());
    let (recorder, stream, mut waiter, opened, waiting) = shared_event(&place, &driver, &eager);
    let address = waiter.allocate(GRANULE);
    assert_eq!(waiter.fill(address, GRANULE, 7, waiting), 0);
    assert_eq!(waiter.query(opened), NOT_READY);
    assert_eq!(waiter.code("cuStreamQuery", &[Value(waiting)]), NOT_READY);
    assert_eq!(waiter.look(address, GRANULE), Bytes::All(0));
    waiter.begin("cuStreamSynchronize", &[Value(waiting)]);
    driver.control(recorder.pid()).run_of(stream, 1);
    assert_eq!(waiter.ended(), 0);
    assert_eq!(waiter.query(opened), 0);
    assert_eq!(waiter.look(address, GRANULE), Bytes::All(7));
}

#[test]
fn an_event_of_a_killed_process_stays_incomplete() {
    let (place, driver, eager) = (Place::new(), held(), FakeCuda::new());
    let (mut recorder, _, mut waiter, opened, waiting) = shared_event(&place, &driver, &eager);
    recorder.peer().kill();
    let (address, other) = (waiter.allocate(GRANULE), waiter.stream(NON_BLOCKING));
    assert_eq!(waiter.fill(address, GRANULE, 7, waiting), 0);
    // Other streams are not affected.
    for _ in 0..20 {
        assert_eq!(waiter.fill(address, GRANULE, 3, other), 0);
        assert_eq!(waiter.code("cuStreamSynchronize", &[Value(other)]), 0);
    }
    assert_eq!(waiter.look(address, GRANULE), Bytes::All(3));
    assert_eq!(waiter.query(opened), NOT_READY);
    assert_eq!(waiter.code("cuStreamQuery", &[Value(waiting)]), NOT_READY);
    waiter.begin("cuEventSynchronize", &[Value(opened)]);
    // The wait ends with the context.
    eager.control(waiter.pid()).lose(UNKNOWN);
    assert_eq!(waiter.ended(), UNKNOWN);
}

#[test]
fn delayed_work_is_done_later() {
    let place = Place::new();
    let driver = FakeCuda::new().mode(Mode::Delay(Duration::from_millis(300)));
    let mut cuda = Cuda::start(&place, &driver);
    let address = cuda.allocate(GRANULE);
    let (stream, event) = (cuda.stream(NON_BLOCKING), cuda.event(PLAIN_EVENT));
    assert_eq!(cuda.fill(address, GRANULE, 1, stream), 0);
    cuda.record(event, stream);
    assert_eq!(cuda.query(event), NOT_READY);
    assert!(comes_true(|| cuda.query(event) == 0));
    assert_eq!(driver.calls("work").len(), 1);
}

#[test]
fn a_copy_from_pageable_memory_takes_the_bytes_at_the_call() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let (address, stream) = (cuda.allocate(GRANULE), cuda.stream(NON_BLOCKING));
    let order = CudaOrder::Upload {
        address,
        bytes: GRANULE,
        value: 9,
        stream,
    };
    assert_eq!(cuda.peer().ask(order).number("code"), 0);
    assert_eq!(control.run_all().count, 1);
    control.open();
    assert_eq!(cuda.look(address, GRANULE), Bytes::All(9));
}

#[test]
fn work_on_memory_that_was_unmapped_meanwhile_fails() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let handle = cuda.create(GRANULE).expect("memory");
    let address = cuda.map(handle, GRANULE, READ_WRITE);
    assert_eq!(cuda.fill(address, GRANULE, 1, 0), 0);
    cuda.unmap(address, GRANULE);
    assert_eq!(control.run(1).count, 1);
    assert_eq!(cuda.code("cuCtxSynchronize", &[]), ILLEGAL_ADDRESS);
}

#[test]
fn work_fails_if_the_test_says_so() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let (address, stream) = (cuda.allocate(GRANULE), cuda.stream(NON_BLOCKING));
    let event = cuda.event(PLAIN_EVENT);
    for value in 1..=3 {
        assert_eq!(cuda.fill(address, GRANULE, value, stream), 0);
    }
    cuda.record(event, stream);
    assert_eq!(control.run(1).count, 1);
    control.fail_next(LAUNCH_FAILED);
    assert_eq!(cuda.query(event), NOT_READY);
    cuda.begin("cuEventSynchronize", &[Value(event)]);
    // The context has ended, and what was queued in it never runs.
    assert_eq!(control.run_all(), WorkRun { count: 1, left: 0 });
    assert_eq!(cuda.ended(), LAUNCH_FAILED);
    assert_eq!(cuda.query(event), LAUNCH_FAILED);
    let results: Vec<_> = driver
        .calls("work")
        .iter()
        .map(|work| work.number("result"))
        .collect();
    assert_eq!(results, [0, u64::from(LAUNCH_FAILED)]);
}

#[test]
fn a_lost_device_ends_all_contexts_and_waits() {
    let (place, driver) = (Place::new(), held());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let (address, stream) = (cuda.allocate(GRANULE), cuda.stream(NON_BLOCKING));
    assert_eq!(cuda.fill(address, GRANULE, 1, stream), 0);
    cuda.begin("cuStreamSynchronize", &[Value(stream)]);
    control.lose(DEVICE_UNAVAILABLE);
    assert_eq!(cuda.ended(), DEVICE_UNAVAILABLE);
    assert_eq!(
        cuda.code("cuCtxCreate_v2", &[Out(8), Value(0), Value(0)]),
        46
    );
    assert_eq!(
        cuda.code("cuMemAlloc_v2", &[Out(8), Value(1)]),
        DEVICE_UNAVAILABLE
    );
    assert_eq!(control.queued(), 0);
}
