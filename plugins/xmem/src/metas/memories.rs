//! The sizes of a buffer's memories. They cross like a meta if they mean something.

use xmem_media::Field;
use xmem_media::meta::kind::MEMORIES;
use xmem_media::meta::{Memories, Meta, MetaWriter};

use crate::values::{DecodeError, Decoder};

/// Adds the sizes of the buffer's memories to its metas.
pub(crate) fn write_memories(extra: &mut Vec<u8>, sizes: &[usize]) {
    let sizes = sizes.iter().map(|&size| size as u64).collect();
    let memories = Meta::from(Memories { sizes });
    // A buffer has few memories, so they fit.
    let _ = MetaWriter::new(extra).write(&memories);
}

/// Returns the sizes of the buffer's memories, if the producer has sent them. They are not checked.
pub(crate) fn read_memories(extra: &[u8]) -> Option<Vec<usize>> {
    let mut decoder = Decoder::new(extra);
    while !decoder.is_empty() {
        let memories = decoder.record(|body, kind| match kind {
            MEMORIES => Memories::decode(body).map(Some),
            _ => Ok::<_, DecodeError>(None),
        });
        if let Some(memories) = memories.ok()? {
            let sizes = memories.sizes.into_iter().map(usize::try_from);
            return sizes.collect::<Result<_, _>>().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Encoder;

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
