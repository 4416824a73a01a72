//! The functions of the driver. Each checks its arguments and passes on.

pub mod context;
pub mod copy;
pub mod cuvid;
pub mod device;
pub mod event;
pub mod fill;
pub mod graphics;
pub mod ipc;
pub mod memory;
pub mod stream;
pub mod virtual_memory;
