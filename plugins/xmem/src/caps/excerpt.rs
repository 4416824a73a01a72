//! How much of another process's text stands in a message.

/// Most bytes of such a text.
const EXCERPT: usize = 100;

/// What is wrong with a text, and how the text begins.
pub(super) fn excerpt(what: &str, text: &str) -> String {
    let end = text.floor_char_boundary(EXCERPT);
    if end == text.len() {
        format!("{what}: {text:?}")
    } else {
        format!("{what}: {:?}... ({} bytes)", &text[..end], text.len())
    }
}
