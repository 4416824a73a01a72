//! An application that lists devices, in a process of its own.

use serde::{Deserialize, Serialize};

use crate::order::Order;
use crate::peer::Peer;

/// A process with a `GstDeviceMonitor`. Its argument are the classes of the devices.
pub type Devices = Peer<DevicesOrder>;

/// Orders to such an application.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DevicesOrder {
    /// Report the current devices.
    List,
    /// Have a device create its element, and play buffers.
    Play {
        /// The channel of the device.
        channel: String,
        /// Number of buffers.
        count: u64,
    },
    /// Have a device reconfigure the element of another device.
    Move {
        /// The channel of the other device.
        from: String,
        /// The channel of the device.
        to: String,
    },
    /// Stop the monitor, and report the number of threads of xmem that are left.
    Stop,
}

impl Order for DevicesOrder {
    const PROGRAM: &'static str = "xmem-test-devices";

    fn answer(&self) -> &'static str {
        match self {
            DevicesOrder::List => "listed",
            DevicesOrder::Play { .. } => "played",
            DevicesOrder::Move { .. } => "moved",
            DevicesOrder::Stop => "stopped",
        }
    }
}
