//! Structures and caps within a producer's text: in brackets, in quotes, in lists of either. Pure.

use std::collections::BTreeMap;

use super::text::starts_with_name;

/// What a nested value is said to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Structure,
    Caps,
}

impl Kind {
    /// The kind that a type's name stands for, in lower case.
    pub(super) fn of(name: &str) -> Option<Kind> {
        match name {
            name if name.ends_with("structure") => Some(Kind::Structure),
            name if name.ends_with("caps") => Some(Kind::Caps),
            _ => None,
        }
    }

    /// Whether a text whose own nested values are good is one.
    pub(super) fn is_kind_of(self, text: &str) -> bool {
        starts_with_name(text)
            && match self {
                Kind::Structure => text.parse::<gst::Structure>().is_ok(),
                Kind::Caps => text.parse::<gst::Caps>().is_ok(),
            }
    }
}

/// A text with one letter between each pair of quotes, and apart from it what stands there: strings,
/// whatever they say, unless they are said to be something else.
pub(super) struct Outline {
    pub(super) text: String,
    quoted: Vec<String>,
}

/// The nested values of a text.
#[derive(Default)]
pub(super) struct Nested {
    /// By where the bracket stands that opens them.
    pub(super) brackets: BTreeMap<usize, Kind>,
    /// What they say without their quotes.
    pub(super) quoted: Vec<(Kind, String)>,
}

impl Outline {
    pub(super) fn of(text: &str) -> Outline {
        let mut outline = Outline {
            text: String::with_capacity(text.len()),
            quoted: Vec::new(),
        };
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            outline.text.push(letter);
            if letter != '"' {
                continue;
            }
            let mut quoted = String::new();
            let mut is_escaped = false;
            let end = letters.find(|&letter| {
                let ends = letter == '"' && !is_escaped;
                is_escaped = letter == '\\' && !is_escaped;
                if !ends {
                    quoted.push(letter);
                }
                ends
            });
            outline.text.push('a');
            outline.text.extend(end);
            outline.quoted.push(quoted);
        }
        outline
    }

    /// Adds the nested values that begin at `at`, after `quotes` quoted texts. Says where they end, and
    /// how many quoted texts there are until then; `None` where something else stands there.
    pub(super) fn nested(
        &self,
        kind: Kind,
        at: usize,
        quotes: usize,
        nested: &mut Nested,
    ) -> Option<(usize, usize)> {
        let at = self.after_space(at);
        match self.byte(at)? {
            b'[' => {
                nested.brackets.insert(at, kind);
                let inner = within_brackets(&self.text[at + 1..]);
                Some((at + inner.len() + 2, quotes + count_quotes(inner) / 2))
            }
            b'"' => {
                let text = unwrap(self.quoted.get(quotes)?)?;
                nested.quoted.push((kind, text));
                Some((at + 3, quotes + 1))
            }
            open @ (b'<' | b'{') => {
                let close = if open == b'<' { b'>' } else { b'}' };
                let (mut at, mut quotes) = (at + 1, quotes);
                loop {
                    at = self.after_space(at);
                    match self.byte(at)? {
                        byte if byte == close => return Some((at + 1, quotes)),
                        b',' => at += 1,
                        _ => (at, quotes) = self.nested(kind, at, quotes, nested)?,
                    }
                }
            }
            _ => None,
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn after_space(&self, at: usize) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        at + space.count()
    }
}

pub(super) fn count_quotes(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'"').count()
}

/// What stands before the end of the brackets that have been opened.
pub(super) fn within_brackets(text: &str) -> &str {
    let mut depth = 1;
    let end = text.find(|letter| {
        depth += match letter {
            '[' => 1,
            ']' => -1,
            _ => 0,
        };
        depth == 0
    });
    &text[..end.unwrap_or(text.len())]
}

/// A text without its escapes, as GStreamer reads it: a letter that stands for itself, or a byte in
/// three octal digits.
fn unwrap(quoted: &str) -> Option<String> {
    let mut bytes = quoted.bytes();
    let mut text = Vec::with_capacity(quoted.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        text.push(match bytes.next()? {
            high @ b'0'..=b'3' => {
                let (middle, low) = (octal(bytes.next()?)?, octal(bytes.next()?)?);
                (high - b'0') << 6 | middle << 3 | low
            }
            letter => letter,
        });
    }
    String::from_utf8(text).ok()
}

fn octal(digit: u8) -> Option<u8> {
    (b'0'..=b'7').contains(&digit).then(|| digit - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stands_apart() {
        let outline = Outline::of(r#"a="b\"c\\", d="", e="f"#);
        assert_eq!(outline.text, r#"a="a", d="a", e="a"#);
        assert_eq!(outline.quoted, [r#"b\"c\\"#, "", "f"]);
    }

    #[test]
    fn escapes_are_read_as_gstreamer_writes_them() {
        assert_eq!(unwrap(r#"a\,\ \"\\\303\244"#).as_deref(), Some("a, \"\\ä"));
        for bad in ["\\", "\\0", "\\08a", "\\377", "\\3ä4"] {
            assert_eq!(unwrap(bad), None, "{bad}");
        }
    }

    #[test]
    fn nested_values_are_found_in_lists_of_lists() {
        let find = |text: &str| {
            let mut nested = Nested::default();
            let end = Outline::of(text).nested(Kind::Caps, 0, 0, &mut nested)?;
            let quoted = nested.quoted.into_iter().map(|(_, text)| text);
            Some((end, nested.brackets.len(), quoted.collect::<Vec<_>>()))
        };
        assert_eq!(find(" [a, b=\"]\"] "), Some(((11, 1), 1, vec![])));
        assert_eq!(find("\"a\\,\""), Some(((3, 1), 0, vec!["a,".into()])));
        assert_eq!(
            find("< [a], { \"b\" , [c], }, <> >"),
            Some(((27, 1), 2, vec!["b".into()]))
        );
        for other in ["", "a", "<", "< [a]", "< a >", "{ (caps)[a] }", "[a"] {
            let found = find(other);
            let is_open = other == "[a";
            assert_eq!(found.is_some(), is_open, "{other}: {found:?}");
        }
    }
}
