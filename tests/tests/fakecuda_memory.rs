//! Memory of the stand-in for the CUDA driver: mappings, access, other processes, and what is left.

use std::time::Duration;

use xmem_tests::fakecuda::numbers::{
    BLOCKING, GRANULE, ILLEGAL_ADDRESS, INVALID_CONTEXT, INVALID_HANDLE, INVALID_VALUE, IPC_EVENT,
    PLAIN_EVENT, READ, READ_WRITE,
};
use xmem_tests::fakecuda::{Argument, Bytes, Cuda, CudaOrder, FakeCuda, Mode};
use xmem_tests::{Place, process, until};

use Argument::{Out, Value};

#[test]
fn the_cpu_cannot_touch_device_memory() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    for is_mapped in [false, true] {
        let mut cuda = Cuda::start(&place, &driver);
        let address = if is_mapped {
            let handle = cuda.create(GRANULE).expect("memory");
            cuda.map(handle, GRANULE, READ_WRITE)
        } else {
            cuda.allocate(GRANULE)
        };
        cuda.peer().order(CudaOrder::Touch(address));
        let pid = cuda.pid();
        until("the process dies", || process::state(pid) == Some('Z'));
    }
}

#[test]
fn memory_crosses_by_descriptor_and_outlives_its_creator() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut owner = Cuda::start(&place, &driver);
    let mut other = Cuda::start(&place, &driver);
    let handle = owner.create(GRANULE).expect("memory");
    let address = owner.map(handle, GRANULE, READ_WRITE);
    assert_eq!(owner.fill(address, GRANULE, 0x5a, 0), 0);
    let imported = owner.share(handle, &place, &mut other);
    let there = other.map(imported, GRANULE, READ);
    assert_eq!(other.look(there, GRANULE), Bytes::All(0x5a));
    assert_eq!(owner.fill(address, GRANULE, 0x77, 0), 0);
    assert_eq!(other.look(there, GRANULE), Bytes::All(0x77));
    owner.peer().kill();
    assert_eq!(other.look(there, GRANULE), Bytes::All(0x77));
}

#[test]
fn a_write_to_read_only_memory_ends_the_context() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut owner = Cuda::start(&place, &driver);
    let handle = owner.create(GRANULE).expect("memory");
    let address = owner.map(handle, GRANULE, READ_WRITE);
    assert_eq!(owner.fill(address, GRANULE, 0x5a, 0), 0);
    for is_copy in [false, true] {
        let mut other = Cuda::start(&place, &driver);
        let imported = owner.share(handle, &place, &mut other);
        let there = other.map(imported, GRANULE, READ);
        let own = other.allocate(GRANULE);
        // Reading is allowed.
        assert_eq!(other.copy(own, there, GRANULE, 0), 0);
        let code = if is_copy {
            other.copy(there, own, GRANULE, 0)
        } else {
            other.fill(there, 1, 1, 0)
        };
        assert_eq!(code, ILLEGAL_ADDRESS);
        for (function, arguments) in [
            ("cuCtxSynchronize", vec![]),
            ("cuMemAlloc_v2", vec![Out(8), Value(GRANULE)]),
            ("cuStreamQuery", vec![Value(0)]),
            ("cuMemUnmap", vec![Value(there), Value(GRANULE)]),
            ("cuDevicePrimaryCtxRetain", vec![Out(8), Value(0)]),
        ] {
            assert_eq!(
                other.code(function, &arguments),
                ILLEGAL_ADDRESS,
                "{function}"
            );
        }
        assert_eq!(owner.look(address, GRANULE), Bytes::All(0x5a));
    }
}

#[test]
fn memory_is_mapped_as_a_whole() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut cuda = Cuda::start(&place, &driver);
    let handle = cuda.create(2 * GRANULE).expect("memory");
    let arguments = [Out(8), Value(4 * GRANULE), Value(0), Value(0), Value(0)];
    let address = cuda.outputs("cuMemAddressReserve", &arguments)[0];
    for size in [GRANULE, 3 * GRANULE] {
        let arguments = [address, size, 0, handle, 0].map(Value);
        assert_eq!(cuda.code("cuMemMap", &arguments), INVALID_VALUE, "{size}");
    }
    let arguments = [address, 2 * GRANULE, 0, handle, 0].map(Value);
    assert_eq!(cuda.code("cuMemMap", &arguments), 0);
    // No device has access yet.
    assert_eq!(cuda.fill(address, 1, 1, 0), ILLEGAL_ADDRESS);
}

#[test]
fn addresses_with_a_mapping_cannot_be_freed() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut cuda = Cuda::start(&place, &driver);
    let handle = cuda.create(GRANULE).expect("memory");
    let address = cuda.map(handle, GRANULE, READ_WRITE);
    let range = [Value(address), Value(GRANULE)];
    assert_eq!(cuda.code("cuMemAddressFree", &range), INVALID_VALUE);
    let half = [Value(address), Value(GRANULE / 2)];
    assert_eq!(cuda.code("cuMemUnmap", &half), INVALID_VALUE);
    cuda.unmap(address, GRANULE);
    assert_eq!(cuda.code("cuMemAddressFree", &range), INVALID_VALUE);
}

#[test]
fn only_exportable_memory_of_the_driver_is_imported() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut cuda = Cuda::start(&place, &driver);
    for fd in [0, 1, 999] {
        let arguments = [Out(8), Value(fd), Value(1)];
        assert_eq!(
            cuda.code("cuMemImportFromShareableHandle", &arguments),
            INVALID_VALUE
        );
    }
}

#[test]
fn legacy_memory_crosses_by_handle_while_its_owner_lives() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut owner = Cuda::start(&place, &driver);
    let mut other = Cuda::start(&place, &driver);
    let address = owner.allocate(GRANULE);
    assert_eq!(owner.fill(address, GRANULE, 0x5a, 0), 0);
    let handle = owner.handle("cuIpcGetMemHandle", address);
    assert_eq!(
        owner.open("cuIpcOpenMemHandle_v2", &handle),
        Err(INVALID_CONTEXT)
    );
    let there = other
        .open("cuIpcOpenMemHandle_v2", &handle)
        .expect("it opens");
    // It is opened once a context, and closed as often as it was opened.
    assert_eq!(other.open("cuIpcOpenMemHandle", &handle), Ok(there));
    assert_eq!(other.look(there, GRANULE), Bytes::All(0x5a));
    let codes = [(); 3].map(|()| other.code("cuIpcCloseMemHandle", &[Value(there)]));
    assert_eq!(codes, [0, 0, INVALID_VALUE]);
    owner.peer().kill();
    assert_eq!(
        other.open("cuIpcOpenMemHandle_v2", &handle),
        Err(INVALID_HANDLE)
    );
}

#[test]
fn nothing_is_alive_after_all_was_given_back() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let handle = cuda.create(GRANULE).expect("memory");
    let mapped = cuda.map(handle, GRANULE, READ_WRITE);
    let allocated = cuda.allocate(1000);
    let pinned = cuda.outputs("cuMemAllocHost_v2", &[Out(8), Value(1000)])[0];
    let (stream, event) = (cuda.stream(BLOCKING), cuda.event(IPC_EVENT));
    cuda.record(event, stream);
    let alive = control.alive();
    for kind in [
        "primaries",
        "handles",
        "mappings",
        "reservations",
        "allocations",
        "pinned",
        "streams",
        "events",
    ] {
        assert_eq!(alive.number(kind), 1, "{kind} in {alive}");
    }
    assert_eq!(alive.number("bytes"), GRANULE + 1024);
    cuda.outputs("cuMemRelease", &[Value(handle)]);
    assert_eq!(control.alive().number("bytes"), GRANULE + 1024);
    cuda.unmap(mapped, GRANULE);
    cuda.outputs("cuMemFree_v2", &[Value(allocated)]);
    cuda.outputs("cuMemFreeHost", &[Value(pinned)]);
    cuda.outputs("cuEventDestroy_v2", &[Value(event)]);
    cuda.outputs("cuStreamDestroy_v2", &[Value(stream)]);
    cuda.outputs("cuDevicePrimaryCtxRelease_v2", &[Value(0)]);
    let pid = cuda.pid();
    cuda.peer().end();
    let counts = [
        "contexts",
        "primaries",
        "allocations",
        "opened",
        "handles",
        "mappings",
        "reservations",
        "pinned",
        "registered",
        "streams",
        "events",
        "bytes",
    ];
    driver.assert_nothing_left(pid, &counts);
}

#[test]
fn a_destroyed_context_takes_what_it_has_along() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut cuda = Cuda::start(&place, &driver);
    let mut control = driver.control(cuda.pid());
    let context = cuda.outputs("cuCtxCreate_v2", &[Out(8), Value(0), Value(0)])[0];
    cuda.allocate(GRANULE);
    cuda.stream(BLOCKING);
    cuda.event(PLAIN_EVENT);
    assert_eq!(control.alive().number("contexts"), 1);
    cuda.outputs("cuCtxDestroy_v2", &[Value(context)]);
    let alive = control.alive();
    for kind in ["contexts", "allocations", "streams", "events", "bytes"] {
        assert_eq!(alive.number(kind), 0, "{kind} in {alive}");
    }
    // The primary context is current again.
    assert_eq!(cuda.code("cuCtxSynchronize", &[]), 0);
}

#[test]
fn threads_do_not_disturb_each_other() {
    let place = Place::new();
    for mode in [Mode::Eager, Mode::Delay(Duration::from_micros(50))] {
        let driver = FakeCuda::new().mode(mode);
        let mut cuda = Cuda::start(&place, &driver);
        let ended = cuda.peer().ask(CudaOrder::Threads(8, 50));
        assert_eq!(ended.number("mistakes"), 0, "{mode:?}");
        let alive = driver.control(cuda.pid()).alive();
        assert_eq!((alive.number("streams"), alive.number("bytes")), (0, 0));
    }
}
