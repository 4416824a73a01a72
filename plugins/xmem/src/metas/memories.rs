//! The sizes of a buffer's memories: no meta, but told as one where they mean something.

use super::MEMORIES;
use crate::values::{DecodeError, Encoder, Reader, Told};

/// Adds the sizes of the buffer's memories to its metas.
pub(crate) fn write_memories(extra: &mut Vec<u8>, sizes: &[usize]) {
    Encoder::new(extra).record(MEMORIES, |body| {
        for &size in sizes {
            body.u64(size as u64);
        }
        Some(())
    });
}

/// The sizes of the buffer's memories, where the producer tells them. It is another process: they may
/// be any numbers.
pub(crate) fn read_memories<'a>(extra: impl Into<Told<'a>>) -> Option<Vec<usize>> {
    let mut reader = Reader::new(extra);
    while !reader.is_empty() {
        let body = reader
            .record(|body, kind| Ok::<_, DecodeError>((kind == MEMORIES).then(|| body.rest())));
        if let Some(body) = body.ok()? {
            let (sizes, []) = body.as_chunks() else {
                return None;
            };
            let size = |size: &[u8; 8]| usize::try_from(u64::from_le_bytes(*size)).ok();
            return sizes.iter().map(size).collect();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_back_from_among_other_records() {
        let mut extra = Vec::new();
        assert_eq!(read_memories(&extra), None);
        Encoder::new(&mut extra).record(77, |body| {
            body.u64(5);
            Some(())
        });
        assert_eq!(read_memories(&extra), None);
        write_memories(&mut extra, &[1, 0, 1 << 40]);
        assert_eq!(read_memories(&extra), Some(vec![1, 0, 1 << 40]));
        assert_eq!(read_memories(&extra[..extra.len() - 1]), None);
        let mut odd = Vec::new();
        Encoder::new(&mut odd).record(MEMORIES, |body| {
            body.u32(1);
            Some(())
        });
        assert_eq!(read_memories(&odd), None);
    }
}
