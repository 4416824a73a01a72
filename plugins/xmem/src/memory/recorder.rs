//! Makes the buffers of received frames, with their records.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use glib::gstr;
use gst::buffer::BufferMetaForeachAction::Keep;
use gst::meta::CustomMeta;
use gst::prelude::*;
use xmem_core::BufferMeta;

use super::framepool::XmemFramePool;
use super::record::{RECORD, is_record};
use crate::timestamps::milliseconds;

/// Makes buffers that carry the record of their frame, for applications that read it.
#[derive(Default)]
pub(crate) struct Recorder {
    /// Buffers whose record equals `first`, except for the fields that each frame has for itself.
    /// The pool needs two descriptors, and lives as long as one of its buffers. Another format gets
    /// another pool; another size does not.
    pool: XmemFramePool,
    first: Option<BufferMeta>,
    /// The shape differs from frame to frame, too, as the size of compressed frames does.
    has_shapes: bool,
    /// A buffer that was taken from the pool before its frame has arrived.
    next: Option<gst::Buffer>,
}

impl Recorder {
    /// Takes the next buffer from the pool before its frame has arrived.
    pub(crate) fn prepare(&mut self) {
        if self.next.is_none() {
            self.next = self.pool.acquire_buffer(None).ok();
        }
    }

    /// Returns an empty buffer with the record.
    pub(crate) fn buffer(&mut self, record: &BufferMeta) -> gst::Buffer {
        match &self.first {
            Some(first) if is_alike(first, record) => {
                self.has_shapes |= first.shape() != record.shape();
            }
            Some(_) => {
                *self = Recorder {
                    first: Some(*record),
                    ..Recorder::default()
                }
            }
            // No new pool: the process may have no descriptors left for it by now.
            None => self.first = Some(*record),
        }
        self.prepare();
        let mut buffer = self.next.take().unwrap_or_default();
        let content = buffer.make_mut();
        if !update(content, record, self.has_shapes)
            && let Ok(mut meta) = CustomMeta::add(content, RECORD)
        {
            set_all(meta.mut_structure(), record);
        }
        buffer
    }
}

/// Returns whether two records have the same fields, except for those that each frame has for
/// itself.
fn is_alike(one: &BufferMeta, other: &BufferMeta) -> bool {
    one.dtype() == other.dtype()
        && one.strides() == other.strides()
        && one.producer() == other.producer()
}

/// The fields that each frame has for itself; the last one only in some streams.
static OWN: LazyLock<[glib::Quark; 4]> =
    LazyLock::new(|| ["seq", "slot", "timestamp", "shape"].map(glib::Quark::from_str));

/// Overwrites in place the fields that each frame has for itself. Looking up the meta and each
/// field by name took 9 of the 24 µs between the arrival of a frame and its push. Returns false if
/// the buffer has no record yet.
fn update(buffer: &mut gst::BufferRef, record: &BufferMeta, has_shape: bool) -> bool {
    let mut updated = false;
    buffer.foreach_meta_mut(|mut meta| {
        if !is_record(&meta) {
            return ControlFlow::Continue(Keep);
        }
        let Some(meta) = meta.try_as_mut_custom_meta() else {
            return ControlFlow::Continue(Keep);
        };
        let [seq, slot, timestamp, shape] = *OWN;
        // These are the first fields, so the loop usually ends before the others.
        let mut left = 3 + u32::from(has_shape);
        let _ = meta.mut_structure().map_in_place(|name, value| {
            if name == seq {
                *value = record.seq().to_value();
            } else if name == slot {
                *value = record.slot().to_value();
            } else if name == timestamp {
                *value = milliseconds(record.timestamp()).to_value();
            } else if name == shape {
                *value = gst::Array::new(record.shape()).to_value();
            } else {
                return ControlFlow::Continue(());
            }
            left -= 1;
            match left {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        updated = true;
        ControlFlow::Break(Keep)
    });
    updated
}

fn set_all(structure: &mut gst::StructureRef, record: &BufferMeta) {
    structure.set_with_static(gstr!("seq"), record.seq());
    structure.set_with_static(gstr!("slot"), record.slot());
    structure.set_with_static(gstr!("timestamp"), milliseconds(record.timestamp()));
    structure.set_with_static(gstr!("dtype"), record.dtype().name());
    structure.set_with_static(gstr!("shape"), gst::Array::new(record.shape()));
    structure.set_with_static(gstr!("strides"), gst::Array::new(record.strides()));
    structure.set_with_static(gstr!("producer"), record.producer());
}

#[cfg(test)]
mod tests {
    use super::super::record::{received, register};
    use super::*;

    fn record(seq: u64, size: u64) -> BufferMeta {
        received(BufferMeta::bytes(size as usize), seq, 0)
    }

    fn shape(buffer: &gst::BufferRef) -> Vec<u64> {
        let meta = CustomMeta::from_buffer(buffer, RECORD).unwrap();
        let shape = meta.structure().get::<gst::Array>("shape").unwrap();
        shape.iter().map(|value| value.get().unwrap()).collect()
    }

    #[test]
    fn frames_of_other_sizes_have_their_own_record_and_no_pool_of_their_own() {
        gst::init().unwrap();
        register();
        let mut recorder = Recorder::default();
        let pool = recorder.pool.clone();
        let mut held = Vec::new();
        for (seq, size) in (0..200).map(|seq| (seq, 100 + seq % 7)) {
            let buffer = recorder.buffer(&record(seq, size));
            assert_eq!(shape(&buffer), [size]);
            if seq % 3 == 0 {
                held.push((buffer, size));
            }
        }
        for (buffer, size) in &held {
            assert_eq!(shape(buffer), [*size]);
        }
        assert_eq!(recorder.pool, pool);
    }
}
