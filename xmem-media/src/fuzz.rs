//! Bytes as a fuzzer makes them up, and what must hold of all that can be decoded.
//!
//! The target in `fuzz/` calls this, and so do the tests, on the corpus that is kept there.

use crate::event::{Event, UpstreamEvent};
use crate::meta::{MetaReader, MetaWriter};
use crate::{Caps, Decoder, Encoder, Structure, Value};

/// The same bytes as whatever is decoded here: values, a text, an event in either direction, and metas.
///
/// # Panics
/// Where something is encoded to bytes that decode to something else.
pub fn media(bytes: &[u8]) {
    values(bytes);
    std::str::from_utf8(bytes).into_iter().for_each(text);
    event(bytes);
    metas(bytes);
}

/// Values, one after another.
pub(crate) fn values(bytes: &[u8]) {
    let mut decoder = Decoder::new(bytes);
    while let Ok(value) = Value::decode(&mut decoder) {
        let mut again = Vec::new();
        let encoded = value.encode(&mut Encoder::new(&mut again));
        encoded.expect("a value in hand can be encoded");
        let mut decoder = Decoder::new(&again);
        let decoded = Value::decode(&mut decoder).expect("what was encoded can be decoded");
        assert!(decoder.is_empty());
        // Values that are not numbers are not equal to themselves: their bytes are.
        let mut once_more = Vec::new();
        decoded.encode(&mut Encoder::new(&mut once_more));
        assert_eq!(again, once_more);
        assert!(!format!("{value}{value:?}").is_empty());
    }
}

/// What parses is written to a text that parses to the same.
fn text(text: &str) {
    if let Ok(caps) = text.parse::<Caps>() {
        let again = caps.to_string();
        let parsed = again.parse::<Caps>();
        assert_eq!(parsed.map(|caps| caps.to_string()), Ok(again));
        let bytes = caps.to_bytes().expect("caps in hand can be encoded");
        let decoded = Caps::from_bytes(&bytes).map(|caps| caps.to_string());
        assert_eq!(decoded, Ok(caps.to_string()));
    }
    if let Ok(structure) = text.parse::<Structure>() {
        let again = structure.to_string();
        let parsed = again.parse::<Structure>();
        assert_eq!(parsed.map(|structure| structure.to_string()), Ok(again));
    }
}

/// An event, and the same bytes as an upstream event.
pub(crate) fn event(bytes: &[u8]) {
    if let Ok(event) = Event::from_bytes(bytes) {
        let again = event.to_bytes().expect("what was decoded can be encoded");
        let decoded = Event::from_bytes(&again).expect("what was encoded can be decoded");
        assert_eq!(decoded.to_bytes(), Some(again));
    }
    if let Ok(event) = UpstreamEvent::from_bytes(bytes) {
        let again = event.to_bytes().expect("what was decoded can be encoded");
        let decoded = UpstreamEvent::from_bytes(&again);
        let decoded = decoded.expect("what was encoded can be decoded");
        assert_eq!(decoded.to_bytes(), Some(again));
    }
}

/// Metas: those that can be decoded.
pub(crate) fn metas(bytes: &[u8]) {
    let write = |metas: MetaReader<'_>| {
        let mut extra = Vec::new();
        let mut writer = MetaWriter::new(&mut extra);
        for meta in metas.map_while(Result::ok) {
            let written = writer.write(&meta);
            written.expect("what was decoded can be encoded");
        }
        extra
    };
    let again = write(MetaReader::new(bytes));
    assert!(MetaReader::new(&again).all(|meta| meta.is_ok()));
    assert_eq!(write(MetaReader::new(&again)), again);
}

#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    #[test]
    fn all_that_decodes_comes_back_as_it_was() {
        super::corpus::try_all("media", 20_000, super::media);
    }
}
