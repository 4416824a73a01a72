//! Buffers as tests describe them. Times are in ns.

use serde::{Deserialize, Serialize};

use crate::setters::setters;

/// Buffers that an `appsrc` pushes into the pipeline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Push {
    /// The `appsrc`.
    pub from: String,
    /// The caps; without them, those of the `appsrc`.
    pub caps: Option<String>,
    /// Number of buffers.
    pub count: u64,
    /// Size in bytes. Without it, buffers of raw video have the size of a frame.
    pub size: Option<usize>,
    /// Determines the content of the first; the next has the next seed.
    pub seed: u64,
    /// Number of memories of a buffer: one per plane, if the numbers match and `pad` is given.
    pub memories: usize,
    /// The presentation time.
    pub pts: Option<u64>,
    /// The decoding time.
    pub dts: Option<u64>,
    /// The duration.
    pub duration: Option<u64>,
    /// The offset.
    pub offset: Option<u64>,
    /// The end of the offset.
    pub offset_end: Option<u64>,
    /// The flags, as bits.
    flags: u32,
    /// Makes every row of a frame that many bytes longer, as a video meta says.
    pub pad: Option<u64>,
    /// The rectangle of a crop meta.
    pub crop: Option<(u32, u32, u32, u32)>,
    /// The names of metas, which [`metas::add`](crate::metas::add) knows.
    pub metas: Vec<String>,
    /// Takes the buffers from a pool of memfds.
    pub memfds: Option<Memfds>,
}

/// A pool of memfds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memfds {
    /// Number of memfds.
    pub count: u32,
    /// Whether they can be sealed.
    pub sealable: bool,
    /// Number of bytes before the content.
    pub prefix: usize,
}

impl Default for Push {
    fn default() -> Push {
        Push {
            from: "src".into(),
            caps: None,
            count: 1,
            size: None,
            seed: 1,
            memories: 1,
            pts: None,
            dts: None,
            duration: None,
            offset: None,
            offset_end: None,
            flags: 0,
            pad: None,
            crop: None,
            metas: Vec::new(),
            memfds: None,
        }
    }
}

setters!(Push {
    from: &str,
    count: u64,
    size: usize,
    seed: u64,
    memories: usize,
    pts: u64,
    dts: u64,
    duration: u64,
    offset: u64,
    offset_end: u64,
    pad: u64,
    crop: (u32, u32, u32, u32),
});

setters!(Memfds {
    prefix: usize,
    sealable: bool
});

impl Push {
    /// A buffer with these caps.
    pub fn of(caps: impl ToString) -> Push {
        Push {
            caps: Some(caps.to_string()),
            ..Push::default()
        }
    }

    /// A buffer of `size` bytes with the caps `application/x-test`.
    pub fn bytes(size: usize) -> Push {
        Push::of("application/x-test").size(size)
    }

    /// Adds flags.
    pub fn with(mut self, flags: gst::BufferFlags) -> Push {
        self.flags |= flags.bits();
        self
    }

    /// Marks frames that depend on others.
    pub fn delta(self) -> Push {
        self.with(gst::BufferFlags::DELTA_UNIT)
    }

    /// The flags.
    pub fn flags(&self) -> gst::BufferFlags {
        gst::BufferFlags::from_bits_truncate(self.flags)
    }

    /// Takes the buffers from a pool of memfds.
    pub fn memfds(mut self, memfds: impl Into<Memfds>) -> Push {
        self.memfds = Some(memfds.into());
        self
    }

    /// Adds metas, by their names.
    pub fn metas(mut self, names: &[&str]) -> Push {
        self.metas
            .extend(names.iter().map(|name| (*name).to_owned()));
        self
    }
}

/// That many memfds, which can be sealed.
impl From<u32> for Memfds {
    fn from(count: u32) -> Memfds {
        let (sealable, prefix) = (true, 0);
        Memfds {
            count,
            sealable,
            prefix,
        }
    }
}

/// That many buffers of 100 bytes.
impl From<u64> for Push {
    fn from(count: u64) -> Push {
        Push::bytes(100).count(count)
    }
}

impl From<&Push> for Push {
    fn from(push: &Push) -> Push {
        push.clone()
    }
}
