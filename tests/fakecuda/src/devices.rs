//! The devices of the machine, and those of them that this process sees.

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::result::{Code, Result};
use crate::settings;

/// Attributes that every device has, unless `FAKECUDA_ATTR` overrides them; others are 0.
const ATTRIBUTES: &[(u32, i32)] = &[
    (1, 1024),        // MAX_THREADS_PER_BLOCK
    (2, 1024),        // MAX_BLOCK_DIM_X
    (3, 1024),        // MAX_BLOCK_DIM_Y
    (4, 64),          // MAX_BLOCK_DIM_Z
    (5, 0x7fff_ffff), // MAX_GRID_DIM_X
    (6, 65535),       // MAX_GRID_DIM_Y
    (7, 65535),       // MAX_GRID_DIM_Z
    (10, 32),         // WARP_SIZE
    (14, 512),        // TEXTURE_ALIGNMENT
    (15, 1),          // GPU_OVERLAP
    (16, 1),          // MULTIPROCESSOR_COUNT
    (19, 1),          // CAN_MAP_HOST_MEMORY
    (31, 1),          // CONCURRENT_KERNELS
    (40, 1),          // ASYNC_ENGINE_COUNT
    (41, 1),          // UNIFIED_ADDRESSING
    (51, 32),         // TEXTURE_PITCH_ALIGNMENT
    (75, 8),          // COMPUTE_CAPABILITY_MAJOR
    (76, 0),          // COMPUTE_CAPABILITY_MINOR
    (VIRTUAL_MEMORY, 1),
    (POSIX_DESCRIPTORS, 1),
    (122, 1), // CAN_USE_64_BIT_STREAM_MEM_OPS
    (IPC_EVENTS, 1),
];

/// `CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED`
pub const VIRTUAL_MEMORY: u32 = 102;
/// `CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED`
pub const POSIX_DESCRIPTORS: u32 = 103;
/// `CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED`
pub const IPC_EVENTS: u32 = 125;

/// A device that this process sees.
#[derive(Debug)]
pub struct Device {
    /// Its number on the machine.
    physical: usize,
    /// Bytes that this process has allocated.
    used: AtomicUsize,
}

/// The devices that this process sees, in the order of their ordinals.
pub fn all() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let Some(settings) = settings::get() else {
            return Vec::new();
        };
        let visible = visible(settings.devices, settings.visible.as_deref());
        let device = |physical| Device {
            physical,
            used: AtomicUsize::new(0),
        };
        visible.into_iter().map(device).collect()
    })
}

/// The device with this ordinal.
pub fn get(ordinal: i32) -> Result<&'static Device> {
    let ordinal = usize::try_from(ordinal).map_err(|_| Code::INVALID_DEVICE)?;
    all().get(ordinal).ok_or(Code::INVALID_DEVICE)
}

/// The ordinal of the device with this UUID.
pub fn ordinal(uuid: [u8; 16]) -> Result<i32> {
    let at = all().iter().position(|device| device.uuid() == uuid);
    at.map(|at| at as i32).ok_or(Code::INVALID_DEVICE)
}

/// An attribute, which is the same for all devices.
pub fn attribute(attribute: u32) -> i32 {
    let set = settings::get().and_then(|settings| settings.attributes.get(&attribute));
    let mut known = ATTRIBUTES.iter();
    let known = known.find(|(number, _)| *number == attribute);
    set.copied().or(known.map(|(_, value)| *value)).unwrap_or(0)
}

/// Fails if the devices do not have this attribute.
pub fn require(number: u32) -> Result {
    if attribute(number) == 0 {
        return Err(Code::NOT_SUPPORTED);
    }
    Ok(())
}

impl Device {
    /// Its UUID, which is the same in all processes.
    pub fn uuid(&self) -> [u8; 16] {
        uuid(self.physical)
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("Stand-in for a GPU {}", self.physical)
    }

    /// Its memory in bytes.
    pub fn memory(&self) -> usize {
        settings::get().map_or(0, |settings| settings.memory)
    }

    /// The memory that this process has not allocated.
    pub fn free(&self) -> usize {
        self.memory()
            .saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// Takes memory, until [`give_back`](Device::give_back).
    pub fn take(&self, bytes: usize) -> Result {
        let all = self.memory();
        let add = |used: usize| used.checked_add(bytes).filter(|used| *used <= all);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map(|_| ())
            .map_err(|_| Code::OUT_OF_MEMORY)
    }

    /// Gives memory back.
    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn uuid(physical: usize) -> [u8; 16] {
    let mut uuid = *b"\xfa\xce\xc0\xdafakeGPU-\0\0\0\0";
    uuid[12..].copy_from_slice(&(physical as u32).to_be_bytes());
    uuid
}

/// A UUID as `CUDA_VISIBLE_DEVICES` has it.
fn written(uuid: [u8; 16]) -> String {
    let mut text = String::from("GPU-");
    for (at, byte) in uuid.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            text.push('-');
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The physical devices that `CUDA_VISIBLE_DEVICES` selects of so many.
fn visible(count: usize, selection: Option<&str>) -> Vec<usize> {
    let Some(selection) = selection else {
        return (0..count).collect();
    };
    let mut visible = Vec::new();
    for entry in selection.split(',').map(str::trim) {
        let selected = if entry.starts_with("GPU-") {
            let mut matching = (0..count).filter(|at| written(uuid(*at)).starts_with(entry));
            matching.next().filter(|_| matching.next().is_none())
        } else {
            entry.parse().ok().filter(|at| *at < count)
        };
        match selected {
            Some(device) if !visible.contains(&device) => visible.push(device),
            _ => break,
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_selected_as_the_driver_does() {
        let second = written(uuid(1));
        assert_eq!(second, "GPU-facec0da-6661-6b65-4750-552d00000001");
        for (selection, selected) in [
            ("1,0", vec![1, 0]),
            ("", vec![]),
            ("-1", vec![]),
            ("2,5,1", vec![2]),
            ("0,0", vec![0]),
            (second.as_str(), vec![1]),
            // The beginning of three UUIDs.
            ("GPU-facec0da", vec![]),
        ] {
            assert_eq!(visible(3, Some(selection)), selected, "{selection}");
        }
        assert_eq!(visible(3, None), [0, 1, 2]);
    }
}
