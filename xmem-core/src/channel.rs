//! Where a channel is found: names, directories, and the socket's path.

mod address;
mod found;
mod list;
mod listener;
mod lock;
mod monitor;
mod nearby;
mod nearest;
mod paths;
mod question;
mod runtime;
mod takeover;
mod waiting;

pub use address::Channel;
pub(crate) use listener::Listener;
pub use monitor::{ChannelChange, ChannelMonitor, LiveChannel};
pub use nearby::{Nearby, nearby};
pub(crate) use waiting::connect;
