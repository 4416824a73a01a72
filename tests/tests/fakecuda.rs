//! The stand-in for the CUDA driver behaves as the tests of CUDA memory need it: its functions, its
//! log and its devices. See `fakecuda_memory.rs`, `fakecuda_streams.rs` and `pipeline_fakecuda.rs`
//! too.

use xmem_tests::Place;
use xmem_tests::fakecuda::numbers::{
    GRANULE, INVALID_HANDLE, IPC_EVENT, LAUNCH_FAILED, NO_DEVICE, NON_BLOCKING, NOT_INITIALIZED,
    NOT_SUPPORTED, OUT_OF_MEMORY, READ, READ_WRITE,
};
use xmem_tests::fakecuda::{Argument, Bytes, Cuda, CudaOrder, FakeCuda};

use Argument::{Out, Value};

const MIB: u64 = 1 << 20;

/// What GStreamer 1.22 needs, each of them.
const GSTREAMER_1_22: &str = "cuInit cuGetErrorName cuGetErrorString cuCtxCreate_v2 cuCtxDestroy_v2 \
    cuCtxPushCurrent_v2 cuCtxPopCurrent_v2 cuCtxEnablePeerAccess cuCtxDisablePeerAccess cuDeviceGet \
    cuDeviceGetCount cuDeviceGetName cuDeviceGetAttribute cuDeviceCanAccessPeer cuDriverGetVersion \
    cuMemAlloc_v2 cuMemAllocPitch_v2 cuMemAllocHost_v2 cuMemFree_v2 cuMemFreeHost cuMemcpy2D_v2 \
    cuMemcpy2DAsync_v2 cuStreamCreate cuStreamDestroy cuStreamDestroy_v2 cuStreamSynchronize \
    cuModuleLoadData cuModuleUnload cuModuleGetFunction cuTexObjectCreate cuTexObjectDestroy \
    cuLaunchKernel cuGraphicsMapResources cuGraphicsUnmapResources cuGraphicsResourceSetMapFlags_v2 \
    cuGraphicsSubResourceGetMappedArray cuGraphicsResourceGetMappedPointer_v2 \
    cuGraphicsUnregisterResource cuGraphicsGLRegisterImage cuGraphicsGLRegisterBuffer \
    cuGLGetDevices_v2";

/// What later versions of GStreamer use too.
const GSTREAMER_1_28: &str = "cuCtxSynchronize cuCtxGetLimit cuCtxSetLimit cuMemcpyDtoD_v2 \
    cuMemcpyDtoDAsync_v2 cuMemcpyDtoH_v2 cuMemcpyDtoHAsync_v2 cuMemcpyHtoD_v2 cuMemcpyHtoDAsync_v2 \
    cuMemsetD2D8_v2 cuMemsetD2D8Async cuMemsetD2D16_v2 cuMemsetD2D16Async cuMemsetD2D32_v2 \
    cuMemsetD2D32Async cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventSynchronize \
    cuIpcGetEventHandle cuIpcOpenEventHandle cuIpcGetMemHandle cuIpcOpenMemHandle \
    cuIpcOpenMemHandle_v2 cuIpcCloseMemHandle cuMemAddressReserve cuMemAddressFree cuMemCreate \
    cuMemRelease cuMemExportToShareableHandle cuMemImportFromShareableHandle cuMemSetAccess \
    cuMemGetAccess cuMemGetAllocationGranularity cuMemGetAllocationPropertiesFromHandle cuMemMap \
    cuMemUnmap cuMemRetainAllocationHandle";

/// What xmem uses.
const XMEM: &str = "cuDeviceGetUuid_v2 cuDeviceTotalMem_v2 cuDevicePrimaryCtxRetain \
    cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxGetState cuCtxGetCurrent cuCtxSetCurrent \
    cuCtxGetDevice cuMemGetInfo_v2 cuMemGetAddressRange_v2 cuMemsetD8_v2 cuMemsetD8Async \
    cuMemsetD32_v2 cuMemsetD32Async cuStreamQuery cuStreamWaitEvent cuEventQuery cuEventElapsedTime \
    cuCtxRecordEvent cuPointerGetAttribute cuLaunchHostFunc cuStreamWriteValue64_v2 \
    cuStreamWaitValue64_v2 cuMemHostAlloc cuMemHostRegister_v2 cuMemHostUnregister \
    cuMemHostGetDevicePointer_v2";

fn has(cuda: &mut Cuda, function: &str) -> bool {
    let found = cuda.peer().ask(CudaOrder::Has(function.into()));
    found.number("found") == 1
}

#[test]
fn all_functions_that_are_needed_exist() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut cuda = Cuda::launch(&place, &driver);
    for function in [GSTREAMER_1_22, GSTREAMER_1_28, XMEM]
        .iter()
        .flat_map(|list| list.split_whitespace())
    {
        assert!(has(&mut cuda, function), "{function}");
    }
}

#[test]
fn a_function_that_was_left_out_is_not_found() {
    let place = Place::new();
    let driver = FakeCuda::without(&["cuCtxRecordEvent", "cuMemCreate"]);
    let mut cuda = Cuda::start(&place, &driver);
    assert!(!has(&mut cuda, "cuCtxRecordEvent"));
    assert!(!has(&mut cuda, "cuMemCreate"));
    for function in ["cuEventRecord", "cuMemRelease", "cuCtxSynchronize"] {
        assert!(has(&mut cuda, function), "{function}");
    }
}

#[test]
fn calls_fail_before_the_driver_is_started_and_in_forked_children() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut cuda = Cuda::launch(&place, &driver);
    assert_eq!(cuda.code("cuCtxSynchronize", &[]), NOT_INITIALIZED);
    assert_eq!(cuda.code("cuDeviceGetCount", &[Out(4)]), NOT_INITIALIZED);
    cuda.use_device(0);
    assert_eq!(cuda.code("cuCtxSynchronize", &[]), 0);
    for function in ["cuInit", "cuCtxSynchronize"] {
        let order = CudaOrder::Fork(function.into());
        let code = cuda.peer().ask(order).number("code");
        assert_eq!(code, u64::from(NOT_INITIALIZED), "{function}");
    }
    assert_eq!(cuda.code("cuCtxSynchronize", &[]), 0);
}

#[test]
fn a_call_fails_where_the_test_says_so() {
    let place = Place::new();
    let driver = FakeCuda::new().failing("cuMemCreate", 3, OUT_OF_MEMORY);
    let mut cuda = Cuda::start(&place, &driver);
    let codes = [(); 4].map(|()| cuda.create(GRANULE).err());
    assert_eq!(codes, [None, None, Some(OUT_OF_MEMORY), None]);
}

#[test]
fn an_injected_error_that_ends_contexts_ends_the_context() {
    let place = Place::new();
    let driver = FakeCuda::new().failing("cuStreamQuery", 2, LAUNCH_FAILED);
    let mut cuda = Cuda::start(&place, &driver);
    let codes = [(); 3].map(|()| cuda.code("cuStreamQuery", &[Value(0)]));
    assert_eq!(codes, [0, LAUNCH_FAILED, LAUNCH_FAILED]);
    assert_eq!(cuda.code("cuCtxSynchronize", &[]), LAUNCH_FAILED);
}

#[test]
fn the_log_has_every_call_of_every_process() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut first = Cuda::start(&place, &driver);
    let mut second = Cuda::start(&place, &driver);
    let stream = first.stream(NON_BLOCKING);
    let address = second.allocate(GRANULE);
    assert_eq!(second.fill(address, GRANULE, 7, 0), 0);
    assert_eq!(
        first.code("cuStreamSynchronize", &[Value(99)]),
        INVALID_HANDLE
    );
    let created = &driver.calls("cuStreamCreate")[0];
    assert_eq!(created.number("pid"), u64::from(first.pid()));
    assert_eq!(created.number("tid"), u64::from(first.pid()));
    assert_eq!(created.text("thread"), "xmem-test-cuda");
    assert_eq!(created.text("stream"), format!("{stream:#x}"));
    assert_eq!(created.number("flags"), NON_BLOCKING);
    let filled = &driver.calls("cuMemsetD8Async")[0];
    assert_eq!(filled.number("pid"), u64::from(second.pid()));
    assert_eq!(filled.number("count"), GRANULE);
    let failed = &driver.calls("cuStreamSynchronize")[0];
    assert_eq!(failed.number("result"), u64::from(INVALID_HANDLE));
    assert_eq!(driver.calls("work").len(), 1);
    assert!(driver.calls("cuMemCreate").is_empty());
}

#[test]
fn a_device_has_the_same_uuid_under_every_ordinal() {
    let place = Place::new();
    let all = FakeCuda::new().devices(3);
    let mut cuda = Cuda::start(&place, &all);
    let uuids = [0, 1, 2].map(|device| cuda.uuid(device));
    assert!(uuids[0] != uuids[1] && uuids[1] != uuids[2] && uuids[0] != uuids[2]);
    let reordered = FakeCuda::new()
        .devices(3)
        .with("CUDA_VISIBLE_DEVICES", "2,0");
    let mut cuda = Cuda::start(&place, &reordered);
    assert_eq!([0, 1].map(|device| cuda.uuid(device)), [uuids[2], uuids[0]]);
    assert_eq!(cuda.outputs("cuDeviceGetCount", &[Out(4)]), [2]);
    let by_uuid = FakeCuda::new().devices(3).with(
        "CUDA_VISIBLE_DEVICES",
        "GPU-facec0da-6661-6b65-4750-552d00000001",
    );
    let mut cuda = Cuda::start(&place, &by_uuid);
    assert_eq!(cuda.uuid(0), uuids[1]);
}

#[test]
fn a_process_that_sees_no_device_cannot_start_the_driver() {
    let place = Place::new();
    for driver in [
        FakeCuda::new().with("CUDA_VISIBLE_DEVICES", ""),
        FakeCuda::new().devices(0),
    ] {
        let mut cuda = Cuda::launch(&place, &driver);
        assert_eq!(cuda.code("cuInit", &[Value(0)]), NO_DEVICE);
    }
}

#[test]
fn a_device_can_lack_features() {
    let place = Place::new();
    let attribute = [Out(4), Value(102), Value(0)];
    let driver = FakeCuda::new();
    let mut cuda = Cuda::start(&place, &driver);
    assert_eq!(cuda.outputs("cuDeviceGetAttribute", &attribute), [1]);
    let driver = FakeCuda::new().with("FAKECUDA_ATTR", "102:0,125:0");
    let mut cuda = Cuda::start(&place, &driver);
    assert_eq!(cuda.outputs("cuDeviceGetAttribute", &attribute), [0]);
    assert_eq!(cuda.create(GRANULE), Err(NOT_SUPPORTED));
    let event = cuda.event(IPC_EVENT);
    let code = cuda.code("cuIpcGetEventHandle", &[Out(64), Value(event)]);
    assert_eq!(code, NOT_SUPPORTED);
    let driver = FakeCuda::new().with("FAKECUDA_NO_READONLY", 1);
    let mut cuda = Cuda::start(&place, &driver);
    let handle = cuda.create(GRANULE).expect("memory");
    let address = cuda.map(handle, GRANULE, READ_WRITE);
    assert_eq!(cuda.allow(address, GRANULE, READ), NOT_SUPPORTED);
}

#[test]
fn memory_runs_out() {
    let place = Place::new();
    let driver = FakeCuda::new().with("FAKECUDA_MEMORY", 8 * MIB);
    let mut cuda = Cuda::start(&place, &driver);
    assert_eq!(
        cuda.outputs("cuDeviceTotalMem_v2", &[Out(8), Value(0)]),
        [8 * MIB]
    );
    let first = cuda.create(4 * MIB).expect("there is room");
    let second = cuda.allocate(2 * MIB);
    let free = |cuda: &mut Cuda| cuda.outputs("cuMemGetInfo_v2", &[Out(8), Out(8)]);
    assert_eq!(free(&mut cuda), [2 * MIB, 8 * MIB]);
    assert_eq!(cuda.create(4 * MIB), Err(OUT_OF_MEMORY));
    assert_eq!(
        cuda.code("cuMemAlloc_v2", &[Out(8), Value(3 * MIB)]),
        OUT_OF_MEMORY
    );
    cuda.outputs("cuMemRelease", &[Value(first)]);
    cuda.outputs("cuMemFree_v2", &[Value(second)]);
    assert_eq!(free(&mut cuda), [8 * MIB, 8 * MIB]);
}

#[test]
fn new_memory_can_contain_what_others_left() {
    let place = Place::new();
    let driver = FakeCuda::new().with("FAKECUDA_FILL", 0xcd);
    let mut cuda = Cuda::start(&place, &driver);
    let address = cuda.allocate(GRANULE);
    assert_eq!(cuda.look(address, GRANULE), Bytes::All(0xcd));
    let handle = cuda.create(GRANULE).expect("memory");
    let address = cuda.map(handle, GRANULE, READ);
    assert_eq!(cuda.look(address, GRANULE), Bytes::All(0xcd));
}
