//! Numbers of the driver: error codes, and flags of streams, events and mappings.

/// `CUDA_ERROR_INVALID_VALUE`
pub const INVALID_VALUE: u32 = 1;
/// `CUDA_ERROR_OUT_OF_MEMORY`
pub const OUT_OF_MEMORY: u32 = 2;
/// `CUDA_ERROR_NOT_INITIALIZED`
pub const NOT_INITIALIZED: u32 = 3;
/// `CUDA_ERROR_NO_DEVICE`
pub const NO_DEVICE: u32 = 100;
/// `CUDA_ERROR_DEVICE_UNAVAILABLE`
pub const DEVICE_UNAVAILABLE: u32 = 46;
/// `CUDA_ERROR_INVALID_CONTEXT`
pub const INVALID_CONTEXT: u32 = 201;
/// `CUDA_ERROR_INVALID_HANDLE`
pub const INVALID_HANDLE: u32 = 400;
/// `CUDA_ERROR_NOT_READY`
pub const NOT_READY: u32 = 600;
/// `CUDA_ERROR_ILLEGAL_ADDRESS`
pub const ILLEGAL_ADDRESS: u32 = 700;
/// `CUDA_ERROR_LAUNCH_FAILED`
pub const LAUNCH_FAILED: u32 = 719;
/// `CUDA_ERROR_NOT_SUPPORTED`
pub const NOT_SUPPORTED: u32 = 801;
/// `CUDA_ERROR_UNKNOWN`
pub const UNKNOWN: u32 = 999;

/// `CU_STREAM_DEFAULT`
pub const BLOCKING: u64 = 0;
/// `CU_STREAM_NON_BLOCKING`
pub const NON_BLOCKING: u64 = 1;

/// An event without a time.
pub const PLAIN_EVENT: u64 = 2;
/// An event for other processes.
pub const IPC_EVENT: u64 = 6;

/// `CU_MEM_ACCESS_FLAGS_PROT_READ`
pub const READ: u32 = 1;
/// `CU_MEM_ACCESS_FLAGS_PROT_READWRITE`
pub const READ_WRITE: u32 = 3;

/// A unit of memory: the smallest size of memory that can be exported.
pub const GRANULE: u64 = 2 << 20;
