//! What a device is called in every process.

use std::fmt;

/// The UUID of a device, or of an instance of one (MIG). It names the device in every process, whichever
/// devices these see and in which order (`CUDA_VISIBLE_DEVICES`).
///
/// The text is that of `nvidia-smi -L`: `GPU-` and 32 hexadecimal digits in groups.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GPU")?;
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 0 | 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
