//! Limits the sticky events that stay on the pads downstream until the end of the run, one of each
//! name.

use std::collections::HashMap;

/// The maximum number of names. A stream usually has a handful.
const MAX_NAMES: usize = 128;
/// The maximum size of their encoded form: two of the longest events.
const MAX_BYTES: usize = 32 << 20;

/// The sticky events that were pushed. They stay when the stream or the producer changes.
#[derive(Default)]
pub(super) struct Lasting {
    /// Sizes in bytes, by type and name.
    sizes: HashMap<(gst::EventType, String), usize>,
    bytes: usize,
    has_refused: bool,
}

/// The event is not pushed, because there are too many sticky events of this type.
pub(super) struct OneTooMany {
    pub(super) is_first: bool,
}

impl Lasting {
    /// Registers an event whose encoded form has `size` bytes, before it is pushed. It replaces an
    /// event of the same name. Events of other types are not counted: they are replaced whatever
    /// their names, or end with their stream.
    pub(super) fn add(&mut self, event: &gst::EventRef, size: usize) -> Result<(), OneTooMany> {
        let kind = event.type_();
        let kinds = [
            gst::EventType::CustomDownstreamSticky,
            gst::EventType::Protection,
        ];
        let Some(structure) = event.structure().filter(|_| kinds.contains(&kind)) else {
            return Ok(());
        };
        let key = (kind, structure.name().to_string());
        let replaced = self.sizes.get(&key).copied();
        let bytes = self.bytes - replaced.unwrap_or(0) + size;
        if bytes > MAX_BYTES || replaced.is_none() && self.sizes.len() >= MAX_NAMES {
            let is_first = !std::mem::replace(&mut self.has_refused, true);
            return Err(OneTooMany { is_first });
        }
        self.sizes.insert(key, size);
        self.bytes = bytes;
        Ok(())
    }
}

impl std::fmt::Display for OneTooMany {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mebibytes = MAX_BYTES >> 20;
        write!(
            out,
            "a stream can have at most {MAX_NAMES} sticky events of different names, and {mebibytes} MiB \
             of them, because GStreamer keeps them on each pad downstream"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sticky(name: &str) -> gst::Event {
        gst::event::CustomDownstreamSticky::new(gst::Structure::new_empty(name))
    }

    #[test]
    fn the_number_of_names_is_limited_and_a_name_may_repeat() {
        gst::init().unwrap();
        let mut lasting = Lasting::default();
        for number in 0..MAX_NAMES {
            assert!(lasting.add(&sticky(&format!("x-{number}")), 1).is_ok());
        }
        assert!(lasting.add(&sticky("x-7"), 1).is_ok());
        assert!(lasting.add(&gst::event::Eos::new(), 1 << 30).is_ok());
        let refused = |name: &str, lasting: &mut Lasting| lasting.add(&sticky(name), 1).err();
        let first = refused("other", &mut lasting).expect("one too many");
        assert!(first.is_first);
        assert!(!refused("other", &mut lasting).expect("the same").is_first);
    }

    #[test]
    fn the_number_of_bytes_is_limited_and_a_shorter_event_makes_room() {
        gst::init().unwrap();
        let mut lasting = Lasting::default();
        let mut add = |name: &str, size| lasting.add(&sticky(name), size).is_ok();
        assert!(add("x-1", MAX_BYTES));
        assert!(!add("x-2", 1));
        assert!(add("x-1", MAX_BYTES - 1));
        assert!(add("x-2", 1));
        assert!(!add("x-1", MAX_BYTES));
    }
}
