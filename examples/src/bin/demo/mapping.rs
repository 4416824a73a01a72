//! What kind of memory bytes lie in, as the kernel says.

use std::ops::Range;

use crate::Result;

/// How a segment of xmem is mapped into this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As a client has it: bytes read there are the producer's own, and no copy of them.
    ReadOnly,
    /// As the producer has it: bytes written there are what clients read.
    ReadWrite,
}

/// The segments of xmem that are mapped into this process.
#[derive(Debug, Default)]
pub struct Segments {
    known: Vec<(Range<usize>, Access)>,
}

impl Segments {
    /// How the segment is mapped that these bytes lie in; `None` where they lie elsewhere.
    pub fn access(&mut self, start: *const u8, len: usize) -> Result<Option<Access>> {
        let bytes = start.addr()..start.addr() + len;
        if let Some(access) = self.find(&bytes) {
            return Ok(Some(access));
        }
        // A new segment comes when the pool grows; none goes before its last frame does.
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        self.known = maps.lines().filter_map(segment).collect();
        Ok(self.find(&bytes))
    }

    fn find(&self, bytes: &Range<usize>) -> Option<Access> {
        let holds =
            |segment: &Range<usize>| segment.start <= bytes.start && bytes.end <= segment.end;
        let found = self.known.iter().find(|(segment, _)| holds(segment));
        found.map(|(_, access)| *access)
    }
}

/// A segment, from a line of `/proc/self/maps`:
/// `7f3e5c000000-7f3e5c546000 r--s 00000000 00:01 2077  /memfd:xmem-payload (deleted)`.
fn segment(line: &str) -> Option<(Range<usize>, Access)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let access = match words.next()? {
        "r--s" => Access::ReadOnly,
        "rw-s" => Access::ReadWrite,
        _ => return None,
    };
    let is_segment = words.nth(3)?.starts_with("/memfd:xmem-payload");
    is_segment.then_some((start..end, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shared_memory_of_xmem_counts() {
        let shared = "7f00-7f80 r--s 00000000 00:01 2077   /memfd:xmem-payload (deleted)";
        assert_eq!(segment(shared), Some((0x7f00..0x7f80, Access::ReadOnly)));
        let written = "7f00-7f80 rw-s 00000000 00:01 2077   /memfd:xmem-payload (deleted)";
        assert_eq!(segment(written), Some((0x7f00..0x7f80, Access::ReadWrite)));
        for other in [
            "7f00-7f80 rw-p 00000000 00:00 0",
            "7f00-7f80 rw-p 00000000 00:01 2077   /memfd:xmem-payload (deleted)",
            "7f00-7f80 r--s 00000000 00:01 2077   /memfd:pulseaudio (deleted)",
        ] {
            assert_eq!(segment(other), None);
        }
    }

    #[test]
    fn bytes_on_the_heap_are_in_no_segment() {
        let bytes = [0u8; 64];
        let access = Segments::default().access(bytes.as_ptr(), bytes.len());
        assert_eq!(access.unwrap(), None);
    }
}
