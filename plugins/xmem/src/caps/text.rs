//! From a producer's text to caps. GStreamer's parser trusts what it reads; this text can't be.
//! And from caps to such a text. Pure.

use super::known;
use super::nested::{Kind, Nested, Outline, count_quotes, within_brackets};
use crate::values::Names;

/// Most values, fields and structures of a producer's text.
const MAX_PARTS: usize = 16_384;
/// Most brackets that open lists, arrays and structures.
const MAX_NESTED: usize = 128;
/// Most bytes that are read again inside of brackets.
const MAX_NESTED_BYTES: usize = 1 << 22;

/// Most bytes of a kind that are looked at: its end.
const MAX_KIND: usize = 255;

/// Most bytes of another process's text in a message for the user.
const EXCERPT: usize = 100;

/// Reads the caps that a producer in another process says its frames have.
///
/// # Errors
/// What is wrong with them: they do not parse, or are not those of one stream.
pub(crate) fn from_text(text: &str, names: &Names) -> Result<gst::Caps, String> {
    let refused = |what: &str| excerpt(what, text);
    check_text(text, names).map_err(|what| refused(&what))?;
    let caps = text.parse::<gst::Caps>();
    let caps = caps.map_err(|_| refused("caps that do not parse"))?;
    match caps.is_fixed() {
        true => Ok(caps),
        false => Err(refused("caps that are not fixed")),
    }
}

/// What is wrong with a text, and how it begins.
pub(super) fn excerpt(what: &str, text: &str) -> String {
    let end = text.floor_char_boundary(EXCERPT);
    match end == text.len() {
        true => format!("{what}: {text:?}"),
        false => format!("{what}: {:?}... ({} bytes)", &text[..end], text.len()),
    }
}

/// The text of caps, for clients to read.
///
/// # Errors
/// What is wrong where they could not read it: GStreamer writes caps that it can't read itself, or
/// reads as others, and not all that it can read comes through [`from_text`].
pub(crate) fn to_text(caps: &gst::CapsRef) -> Result<String, String> {
    let text = caps.to_string();
    let refused = |what: &str| format!("clients could not read these caps: {what}");
    let read = from_text(&text, Names::own()).map_err(|what| refused(&what))?;
    // Not all values can be compared, and equal ones may be written in two ways.
    match read.is_strictly_equal(caps) || read.to_string() == text {
        true => Ok(text),
        false => Err(refused(&excerpt(
            "caps that are others once they are read",
            &text,
        ))),
    }
}

/// Keeps from GStreamer's parser what it can't cope with.
///
/// It goes into brackets by calling itself, so some 100 kB of them are more than its stack holds.
/// Each time it looks for their end, so it reads a text as often as there are open ones. It looks
/// through all fields before it adds another. So all that opens something is counted, within
/// quotes too, for they can hold structures: no caps that any element makes come near. And it forgets no
/// name that it has read.
fn check_text(text: &str, names: &Names) -> Result<(), String> {
    if text.contains('\0') {
        return Err("caps with a zero byte".into());
    }
    let count = |bytes: &[u8]| text.bytes().filter(|byte| bytes.contains(byte)).count();
    let (parts, nested) = (count(b",;").max(count(b"()") / 2), count(b"{<["));
    if parts > MAX_PARTS || nested > MAX_NESTED {
        return Err(format!("caps with {parts} parts and {nested} brackets"));
    }
    if nested * text.len() > MAX_NESTED_BYTES.max(text.len()) {
        return Err(format!(
            "caps of {} bytes with {nested} brackets",
            text.len()
        ));
    }
    let outline = Outline::of(text);
    known::admit(&outline, names)?;
    let text = &outline.text[..];
    // It takes the name of a structure for one that is allowed.
    if !starts_with_name(text) {
        return Err("caps without a name".into());
    }
    for (at, _) in text.match_indices(';') {
        let next = text[at + 1..].trim_start();
        if !starts_with_name(next) && !next.is_empty() && !next.starts_with([']', '}', '>', ',']) {
            return Err("caps with a structure without a name".into());
        }
    }
    let mut nested = Nested::default();
    let (mut seen, mut quotes) = (0, 0);
    for (at, _) in text.match_indices(')') {
        quotes += count_quotes(&text[seen..at]);
        seen = at;
        let before = text[..at].trim_end();
        let start = before.len().saturating_sub(MAX_KIND);
        let kind = &before[before.floor_char_boundary(start)..];
        let kind = kind.rsplit(['(', ' ']).next();
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        let value = text[at + 1..].trim_start();
        // What the values of a list are, and what kind of list it is.
        let (kind, list) = kind.split_once('/').unwrap_or((&kind, ""));
        let is_any = |of: &[&str]| of.iter().any(|end| kind.ends_with(end));
        let is_good = if !["", "uniquelist"].contains(&list) {
            false
        } else if let Some(kind) = Kind::of(kind) {
            let end = outline.nested(kind, at + 1, quotes / 2, &mut nested);
            end.is_some()
        } else if is_any(&["buffer"]) {
            // Where it comes to another digit, it goes on using the memory that it has freed.
            is_hexadecimal(value)
        } else {
            // These hold others within quotes, or are names.
            !is_any(&["list", "sample", "segment", "features"])
        };
        if !is_good {
            return Err(format!("caps with a {kind} that can't be read"));
        }
    }
    // To GStreamer what is quoted here is a text like the whole.
    for (kind, text) in nested.quoted {
        check_text(&text, names)?;
        if !kind.is_kind_of(&text) {
            return Err("caps with others that can't be read".into());
        }
    }
    // The inner ones first: what it can't read within brackets, it tries to read as something else.
    for (at, _) in text.rmatch_indices('[') {
        let value = within_brackets(&text[at + 1..]);
        // Ranges are not fixed, and it expects them to end after they start.
        let kind = nested.brackets.get(&at);
        if !kind.is_some_and(|kind| kind.is_kind_of(value)) {
            return Err("caps with a range, or a structure that can't be read".into());
        }
    }
    Ok(())
}

pub(super) fn starts_with_name(text: &str) -> bool {
    text.trim_start()
        .starts_with(|first: char| first.is_ascii_alphabetic())
}

/// Whether a value, or each of a list, consists of hexadecimal digits.
fn is_hexadecimal(value: &str) -> bool {
    let mut depth = 0;
    let mut in_kind = false;
    for byte in value.bytes() {
        match byte {
            b')' if in_kind => in_kind = false,
            _ if in_kind => {}
            _ if byte.is_ascii_hexdigit() => {}
            // What follows is looked at by itself.
            b'(' if depth == 0 => return false,
            b'{' | b'<' | b'[' => depth += 1,
            b'}' | b'>' | b']' if depth > 1 => depth -= 1,
            b'}' | b'>' | b']' => return true,
            b'(' => in_kind = true,
            b',' | b';' if depth == 0 => return true,
            b',' => {}
            _ if byte.is_ascii_whitespace() => {}
            _ => return false,
        }
    }
    depth == 0
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;

    use super::*;

    fn from_text(text: &str) -> Result<gst::Caps, String> {
        super::from_text(text, Names::own())
    }

    #[test]
    fn text_that_is_no_caps_of_one_stream_is_refused_in_few_words() {
        gst::init().unwrap();
        assert!(from_text("video/x-raw, width=8").is_ok());
        let long = "video/x-raw, ä=".repeat(100_000);
        for text in ["", "!", "ANY", "a/b, c=[1,2]", "a/b\0", &long] {
            let error = from_text(text).unwrap_err();
            assert!(error.len() < 300, "{error}");
        }
    }

    #[test]
    fn caps_that_clients_could_not_read_have_no_text() {
        gst::init().unwrap();
        let caps = |value: gst::glib::SendValue| {
            let mut structure = gst::Structure::new_empty("a/b");
            structure.set_value("c", value);
            gst::Caps::from(structure)
        };
        let mut tags = gst::TagList::new();
        let title = gst::tags::Title::TAG_NAME;
        let tag = tags.make_mut();
        tag.add_generic(title, "x", gst::TagMergeMode::Append)
            .unwrap();
        let inner = gst::Structure::builder("d").field("e", "]").build();
        let empty = || gst::Buffer::new().to_send_value();
        let full = gst::Buffer::from_slice([1]).to_send_value();
        for value in [
            tags.to_send_value(),
            inner.to_send_value(),
            empty(),
            gst::Array::from_values([empty(), full]).to_send_value(),
            "[".repeat(MAX_NESTED + 1).to_send_value(),
        ] {
            let error = to_text(&caps(value)).unwrap_err();
            assert!(error.starts_with("clients could not read"), "{error}");
        }
        let good = caps("a, b; [1, 2] (list) \"\\ü".to_send_value());
        assert_eq!(from_text(&to_text(&good).unwrap()).unwrap(), good);
    }

    /// As GStreamer quotes what is more than a word.
    fn quoted(text: &str) -> String {
        let letters = text.chars().map(|letter| {
            let is_plain = letter.is_ascii_alphanumeric() || "_-+/:.".contains(letter);
            let escape = if is_plain { "" } else { "\\" };
            format!("{escape}{letter}")
        });
        format!("\"{}\"", letters.collect::<String>())
    }

    /// As an element for inference says what tensors its frames carry.
    fn tensor_groups(value: &str, is_quoted: bool, tensors: usize) -> String {
        let tensors = (0..tensors).map(|number| {
            let caps = format!(
                "tensor/strided, dims-order=(string)row-major, tensor-id=(string)out-{number}, \
                 dims=(int)< 1, 100, 4 >, type=(string)float32"
            );
            match is_quoted {
                true => format!("(GstCaps){}", quoted(&caps)),
                false => format!("(GstCaps)[{caps}]"),
            }
        });
        let tensors = tensors.collect::<Vec<_>>().join(", ");
        let value = value.replace("TENSORS", &tensors);
        format!(
            "video/x-raw, format=(string)RGB, width=(int)64, height=(int)48, \
             framerate=(fraction)30/1, tensors=(structure)[tensorgroups, ssd-out={value};]"
        )
    }

    #[test]
    fn caps_with_groups_of_tensors_come_back_as_they_were() {
        gst::init().unwrap();
        for tensors in [1, 4, 60] {
            // As GStreamer 1.28 writes and reads them, and as any does.
            let groups = |value, is_quoted| tensor_groups(value, is_quoted, tensors);
            let is_new = gst::version() >= (1, 28, 0, 0);
            for (text, is_known) in [
                (groups("(/uniquelist){ TENSORS }", true), is_new),
                (groups("(/uniquelist){ TENSORS }", false), is_new),
                (groups("< TENSORS >", true), true),
                (groups("< TENSORS >", false), true),
            ] {
                let caps = from_text(&text);
                assert_eq!(caps.is_ok(), is_known, "{caps:?}");
                let Ok(caps) = caps else { continue };
                let structure = caps.structure(0).unwrap();
                assert!(gst_video::VideoInfo::from_caps(&caps).is_ok());
                let groups = structure.get::<gst::Structure>("tensors").unwrap();
                assert_eq!(groups.name(), "tensorgroups");
                let again = from_text(&to_text(&caps).unwrap()).unwrap();
                assert!(again.is_strictly_equal(&caps), "{again}");
            }
        }
    }

    #[test]
    fn no_text_brings_in_a_name_that_does_not_count() {
        gst::init().unwrap();
        for known in ["a/b", "a", "c", "d", "x", "m:x", "caps"] {
            gst::glib::Quark::from_str(known);
        }
        let letters = |name: &str| {
            name.chars()
                .map(|one| format!("\\{one}"))
                .collect::<String>()
        };
        let octal = |name: &str| {
            let letters = name.chars();
            letters
                .map(|one| format!("\\{:03o}", one as u32))
                .collect::<String>()
        };
        let space = " ".repeat(300);
        let texts: [&dyn Fn(&str) -> String; 34] = [
            &|new| format!("a/b(\t{new}:x), c=1"),
            &|new| format!("a/b( \u{a0}{new}:x), c=1"),
            &|new| format!("a/b(m:x,\x0b{new}:x), c=1"),
            &|new| format!("a/b, c=(GstCapsFeatures{space})\"m:{new}\""),
            &|new| format!("a/b, c=(GstCaps{space}){new}"),
            &|new| format!("a/b, c=(GstCaps{space})\"{new}, d=1\""),
            &|new| format!("a/b, c=(structure{space})\"x, {new}=1\""),
            &|new| new.into(),
            &|new| format!("a/b, {new}=1"),
            &|new| format!("a/b, {new} \\ =1"),
            &|new| format!("a/b; {new}"),
            &|new| format!("a/b({new}), c=1"),
            &|new| format!("a/b(m:{new}), c=1"),
            &|new| format!("a/b(m:x,{new}), c=1"),
            &|new| format!("a/b (@{new}), c=1"),
            &|new| format!("a/b({new}"),
            &|new| format!("a/b(m\"x), {new}=1, c=\"x\""),
            &|new| format!("a/b, c=x\"y, {new}=1, d=\"z\""),
            &|new| format!("a/b, c=(GstCapsFeatures){new}"),
            &|new| format!("a/b, c=(GstCapsFeatures)\"m:x,{new}\""),
            &|new| format!("a/b, c=(GstCaps){new}"),
            &|new| format!("a/b, c=(caps)[{new}]"),
            &|new| format!("a/b, c=(caps)[x({new})]"),
            &|new| format!("a/b, c=(caps)\"{new}\""),
            &|new| format!("a/b, c=(caps)\"{}, d=1\"", letters(new)),
            &|new| format!("a/b, c=(caps)\"x, {}=1\"", letters(new)),
            &|new| format!("a/b, c=(structure)\"x, {}=1\"", octal(new)),
            &|new| format!("a/b, c=(structure)\"{}, d=1\"", octal(new)),
            &|new| format!("a/b, c=(caps)\"{}\\(m:x\\), d=1\"", letters(new)),
            &|new| format!("a/b, c=(caps)\"x\\({new}\\), d=1\""),
            &|new| format!("a/b, c=(caps)\"x\\(m:x\\,{new}\\), d=1\""),
            &|new| format!("a/b, c=(structure)[x, d=1, {new} \t=1]"),
            &|new| format!("a/b, c=(structure)<[x], \"{new}\">"),
            &|new| format!("a/b, c=(caps)\"x\\, d\\=\\(caps\\)\\\"{new}\\\"\""),
        ];
        for (number, text) in texts.into_iter().enumerate() {
            let name = format!("uncounted{number}");
            let text = text(&name);
            // Some are no caps, and others are refused. It is not to know that name in any case.
            let read = super::from_text(&text, Names::known());
            let forms = ["", "m:", "\t", "\u{a0}", "\x0b"]
                .into_iter()
                .flat_map(|before| ["", ":x"].map(|after| format!("{before}{name}{after}")));
            let is_known = |form: String| gst::glib::Quark::try_from_str(&form).is_some();
            let is_known = forms.into_iter().any(is_known);
            assert!(!is_known, "{text}: {read:?}");
        }
    }

    #[test]
    fn strings_may_be_long_and_hold_what_looks_like_a_name() {
        gst::init().unwrap();
        let long = "Caps/structure".repeat(100);
        for text in [
            format!(r#"a/b, c=(string)"{long}\=\=""#),
            format!(r#"a/b, caps=(string)"{long}\=\=""#),
            format!(r#"a/b, c=(string){long}, caps=(GstCaps)"x\,\ d\=\(int\)1""#),
        ] {
            let caps = from_text(&text).unwrap();
            assert_eq!(from_text(&to_text(&caps).unwrap()).unwrap(), caps);
        }
    }

    #[test]
    fn text_that_would_kill_or_stop_the_parser_is_refused() {
        const SPACE: &str = match str::from_utf8(&[b' '; 300]) {
            Ok(space) => space,
            Err(_) => "",
        };
        gst::init().unwrap();
        let starts = ["{", "<", "[", "(structure)[a,b=", "a=1,", "a;", "{},"];
        for part in starts
            .into_iter()
            .chain([")a", "(buffer)", "(a)", ")", "("])
        {
            let text = format!("video/x-raw,f={}", part.repeat((16 << 20) / part.len() - 8));
            let error = from_text(&text).unwrap_err();
            assert!(error.starts_with("caps with"), "{error}");
        }
        let long = "x".repeat(15 << 20);
        let text = format!(
            "video/x-raw,f={}\"{long}\"{}",
            "[".repeat(60),
            "]".repeat(60)
        );
        assert!(from_text(&text).unwrap_err().contains("60 brackets"));
        let text = format!("video/x-raw,f=<\"{long}\">");
        assert_eq!(
            from_text(&text).unwrap().structure(0).unwrap().n_fields(),
            1
        );
        assert!(from_text("a/b,c=(sample)\"x:x:x:x\"").is_err());
        assert!(from_text("a/b,c=1\0").is_err());
        // However far from its end a kind stands.
        for space in ["", " ", "\t"]
            .into_iter()
            .chain([250, 255, 256, 300].map(|len| &SPACE[..len]))
        {
            for value in [
                "(buffer_)0g",
                "(GstSample_)\"x:x:x:x\"",
                "(structure_)\"x,n=(int)[5,1]\"",
            ] {
                let value = value.replace('_', space);
                assert!(from_text(&format!("a/b,c={value}")).is_err(), "{value}");
            }
        }
        for value in ["0g", "<00,0g>", "\"00\"", "{00,(buffer)0g}", "00.", "<00"] {
            assert!(
                from_text(&format!("a/b,c=(buffer){value}")).is_err(),
                "{value}"
            );
        }
        for text in [
            "a/b,c=[1/2,1/3]",
            "-",
            "a/b;-",
            "a/b,c=(structure)[-]",
            "a/b,c=(caps)\"-\"",
            "a/b,c=(caps)\"\"",
            "a/b,c=(caps)\"a,b=[1,2]\"",
            "a/b,c=(caps)\"a,b=(buffer)0g\"",
            "a/b,c=(caps)<\"a\",\"a,b=(caps)\\\"-\\\"\">",
            "a/b,c=(caps/uniquelist){\"-\"}",
            "a/b,c=(/list){1}",
            "a/b,c=(structure)a",
            "a/b,c=(structure)<[a],[-]>",
            "a/b,c=(segment)\"a\"",
        ] {
            assert!(from_text(text).is_err(), "{text}");
        }
        let text = r#"a/b,c="[1,2];-(buffer)0g\"(sample)""#;
        assert!(from_text(text).is_ok());
        for value in ["0a0B", "<00, 11>", "00 , d=1", "< (buffer)00, (buffer)11 >"] {
            assert!(
                from_text(&format!("a/b,c=(buffer){value}")).is_ok(),
                "{value}"
            );
        }
    }
}
