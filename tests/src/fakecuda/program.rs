//! A process that calls the driver, as a test tells it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::FakeCuda;
use crate::line::Line;
use crate::order::Order;
use crate::peer::Peer;
use crate::place::Place;
use crate::process;

/// Orders to the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum CudaOrder {
    /// Report whether the driver has a function.
    Has(String),
    /// Call a function, and report the code and the outputs.
    Call(String, Vec<Argument>),
    /// Call a function that takes the handle of legacy IPC by value, after an output and before
    /// flags that events do not have.
    Open(String, Vec<u8>),
    /// Copy memory to the host and report what it contains.
    Look {
        /// The address on the device.
        address: u64,
        /// The number of bytes.
        bytes: u64,
    },
    /// Copy to a device from memory that changes as soon as the call has returned.
    Upload {
        /// The address on the device.
        address: u64,
        /// The bytes.
        bytes: u64,
        /// The value that they have at the call.
        value: u8,
        /// The stream.
        stream: u64,
    },
    /// Read memory of the device with the CPU.
    Touch(u64),
    /// Listen for a descriptor, on a socket.
    Listen(PathBuf),
    /// Send a descriptor to such a socket.
    Send(u64, PathBuf),
    /// Receive the descriptor.
    Receive,
    /// Call a function without arguments in a child of `fork`, and report its code.
    Fork(String),
    /// Allocate, fill, check and free memory in so many threads, so often. Report the mistakes.
    Threads(u64, u64),
}

/// An argument of a function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Argument {
    /// A number, handle or address.
    Value(u64),
    /// A pointer to this many bytes, whose first eight are reported.
    Out(usize),
    /// A pointer to these bytes.
    In(Vec<u8>),
}

impl Order for CudaOrder {
    const PROGRAM: &'static str = "xmem-test-cuda";

    fn answer(&self) -> &'static str {
        match self {
            CudaOrder::Has(_) => "has",
            CudaOrder::Call(..) | CudaOrder::Open(..) | CudaOrder::Upload { .. } => "called",
            CudaOrder::Look { .. } => "looked",
            CudaOrder::Touch(_) => "touched",
            CudaOrder::Listen(_) => "listens",
            CudaOrder::Send(..) => "sent",
            CudaOrder::Receive => "received",
            CudaOrder::Fork(_) => "forked",
            CudaOrder::Threads(..) => "ended",
        }
    }
}

use Argument::{In, Out, Value};

/// What memory contains, if all its bytes are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// All have this value.
    All(u8),
    /// They differ.
    Mixed,
}

/// A process that calls the driver.
///
/// A method that returns a code returns the one of the driver, 0 for success. The others fail the
/// test if the driver does not succeed.
#[derive(Debug)]
pub struct Cuda {
    peer: Peer<CudaOrder>,
}

impl Cuda {
    /// Starts the process, without a call.
    pub fn launch(place: &Place, driver: &FakeCuda) -> Cuda {
        let mut command = Peer::<CudaOrder>::command("");
        driver.apply(&mut command);
        Cuda {
            peer: Peer::start_with(command, place),
        }
    }

    /// Starts the process, with the primary context of a device current.
    pub fn start(place: &Place, driver: &FakeCuda) -> Cuda {
        let mut cuda = Cuda::launch(place, driver);
        cuda.use_device(0);
        cuda
    }

    /// The process.
    pub fn peer(&mut self) -> &mut Peer<CudaOrder> {
        &mut self.peer
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.peer.pid()
    }

    /// Calls a function, and returns its code.
    pub fn code(&mut self, function: &str, arguments: &[Argument]) -> u32 {
        self.call(function, arguments).number("code") as u32
    }

    /// Calls a function, and returns its outputs.
    ///
    /// # Panics
    /// If it does not succeed.
    pub fn outputs(&mut self, function: &str, arguments: &[Argument]) -> Vec<u64> {
        let answer = self.call(function, arguments);
        assert_eq!(answer.number("code"), 0, "{function}{arguments:?}");
        (0..)
            .map_while(|number| answer.get_number(&format!("out{number}")))
            .collect()
    }

    fn call(&mut self, function: &str, arguments: &[Argument]) -> Line {
        self.peer
            .ask(CudaOrder::Call(function.into(), arguments.to_vec()))
    }

    fn output(&mut self, function: &str, arguments: &[Argument]) -> u64 {
        self.outputs(function, arguments)[0]
    }

    /// Calls a function that waits, and waits until it does. [`ended`](Cuda::ended) returns its code.
    pub fn begin(&mut self, function: &str, arguments: &[Argument]) {
        self.peer
            .begin(CudaOrder::Call(function.into(), arguments.to_vec()));
        process::until_asleep(self.pid(), CudaOrder::PROGRAM);
    }

    /// The code of a call that was begun.
    pub fn ended(&mut self) -> u32 {
        self.peer.wait_for("called").number("code") as u32
    }

    /// Starts the driver, and makes the primary context of a device current. Returns the context.
    pub fn use_device(&mut self, device: u64) -> u64 {
        self.outputs("cuInit", &[Value(0)]);
        let context = self.output("cuDevicePrimaryCtxRetain", &[Out(8), Value(device)]);
        self.outputs("cuCtxSetCurrent", &[Value(context)]);
        context
    }

    /// The first and the second half of the UUID of a device.
    pub fn uuid(&mut self, device: u64) -> (u64, u64) {
        let outputs = self.outputs("cuDeviceGetUuid_v2", &[Out(16), Value(device)]);
        (outputs[0], outputs[1])
    }

    /// Creates a stream.
    pub fn stream(&mut self, flags: u64) -> u64 {
        self.output("cuStreamCreate", &[Out(8), Value(flags)])
    }

    /// Creates an event.
    pub fn event(&mut self, flags: u64) -> u64 {
        self.output("cuEventCreate", &[Out(8), Value(flags)])
    }

    /// Records an event on a stream.
    pub fn record(&mut self, event: u64, stream: u64) {
        self.outputs("cuEventRecord", &[Value(event), Value(stream)]);
    }

    /// The code of a query of an event.
    pub fn query(&mut self, event: u64) -> u32 {
        self.code("cuEventQuery", &[Value(event)])
    }

    /// Allocates memory with `cuMemAlloc_v2`.
    pub fn allocate(&mut self, bytes: u64) -> u64 {
        self.output("cuMemAlloc_v2", &[Out(8), Value(bytes)])
    }

    /// Creates memory of device 0 that can be exported. Returns its handle, or a code.
    pub fn create(&mut self, bytes: u64) -> Result<u64, u32> {
        // Pinned, with descriptors, of a device; then its number, and 16 bytes of zeros.
        let properties: Vec<u8> = [1_u32, 1, 1, 0, 0, 0, 0, 0]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let arguments = [Out(8), Value(bytes), In(properties), Value(0)];
        let answer = self.call("cuMemCreate", &arguments);
        match answer.number("code") {
            0 => Ok(answer.number("out0")),
            code => Err(code as u32),
        }
    }

    /// Maps memory at new addresses, with this access for device 0.
    pub fn map(&mut self, handle: u64, bytes: u64, access: u32) -> u64 {
        let arguments = [Out(8), Value(bytes), Value(0), Value(0), Value(0)];
        let address = self.output("cuMemAddressReserve", &arguments);
        let arguments = [address, bytes, 0, handle, 0].map(Value);
        self.outputs("cuMemMap", &arguments);
        assert_eq!(self.allow(address, bytes, access), 0);
        address
    }

    /// Sets the access of device 0 to a mapping. Returns the code.
    pub fn allow(&mut self, address: u64, bytes: u64, access: u32) -> u32 {
        let access = [1, 0, access].into_iter().flat_map(u32::to_ne_bytes);
        let access = In(access.collect());
        let arguments = [Value(address), Value(bytes), access, Value(1)];
        self.code("cuMemSetAccess", &arguments)
    }

    /// Unmaps memory and gives its addresses back.
    pub fn unmap(&mut self, address: u64, bytes: u64) {
        self.outputs("cuMemUnmap", &[Value(address), Value(bytes)]);
        self.outputs("cuMemAddressFree", &[Value(address), Value(bytes)]);
    }

    /// Exports memory, and sends its descriptor to another process, which imports it. Returns the
    /// handle there.
    pub fn share(&mut self, handle: u64, place: &Place, other: &mut Cuda) -> u64 {
        let arguments = [Out(4), Value(handle), Value(1), Value(0)];
        let fd = self.output("cuMemExportToShareableHandle", &arguments);
        let socket = place.path().join("descriptor");
        other.peer.ask(CudaOrder::Listen(socket.clone()));
        self.peer.ask(CudaOrder::Send(fd, socket));
        let fd = other.peer.ask(CudaOrder::Receive).number("fd");
        other.output(
            "cuMemImportFromShareableHandle",
            &[Out(8), Value(fd), Value(1)],
        )
    }

    /// Fills memory on a stream. Returns the code.
    pub fn fill(&mut self, address: u64, bytes: u64, value: u8, stream: u64) -> u32 {
        let arguments = [address, u64::from(value), bytes, stream].map(Value);
        self.code("cuMemsetD8Async", &arguments)
    }

    /// Copies between memory of the device, on a stream. Returns the code.
    pub fn copy(&mut self, target: u64, source: u64, bytes: u64, stream: u64) -> u32 {
        let arguments = [target, source, bytes, stream].map(Value);
        self.code("cuMemcpyDtoDAsync_v2", &arguments)
    }

    /// What memory contains.
    ///
    /// # Panics
    /// If it cannot be copied to the host.
    pub fn look(&mut self, address: u64, bytes: u64) -> Bytes {
        let line = self.peer.ask(CudaOrder::Look { address, bytes });
        assert_eq!(line.number("code"), 0, "{line}");
        match line.get_number("all") {
            Some(value) => Bytes::All(value as u8),
            None => Bytes::Mixed,
        }
    }

    /// The handle of legacy IPC for memory or for an event.
    pub fn handle(&mut self, function: &str, of: u64) -> Vec<u8> {
        let words = self.outputs(function, &[Out(64), Value(of)]);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// Opens such a handle, or returns the code.
    pub fn open(&mut self, function: &str, handle: &[u8]) -> Result<u64, u32> {
        let order = CudaOrder::Open(function.into(), handle.to_vec());
        let answer = self.peer.ask(order);
        match answer.number("code") {
            0 => Ok(answer.number("out0")),
            code => Err(code as u32),
        }
    }
}
