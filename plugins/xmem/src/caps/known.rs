//! Names in the text of caps, which become known to GStreamer when it reads them. Pure.

use super::nested::{Kind, Outline};
use crate::values::Names;

/// Lets GStreamer know the names of structures, fields and features in a text.
///
/// # Errors
/// Where it may not know one.
pub(super) fn admit(text: &str, names: &Names) -> Result<(), String> {
    let lower_case = text.to_ascii_lowercase();
    let has_others = ["caps", "structure"]
        .iter()
        .any(|kind| lower_case.contains(kind));
    // What is quoted is a string then, which may be long, and base64, with what looks like a name.
    let outline = (!has_others).then(|| Outline::of(text));
    let text = outline.as_ref().map_or(text, |outline| &outline.text);
    match words(text).all(|word| !word.is_name() || names.admit(word.text())) {
        true => Ok(()),
        false => Err("caps with a name that is too long, or one more than there may be".into()),
    }
}

/// A word, and where it stands.
struct Word<'a> {
    within: &'a str,
    start: usize,
    end: usize,
}

/// What stands between letters that no name has.
fn words(within: &str) -> impl Iterator<Item = Word<'_>> {
    // As GStreamer has them (GST_ASCII_IS_STRING).
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+/:.".contains(byte);
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &within.as_bytes()[at..];
        let start = at + rest.iter().position(is_name)?;
        let rest = &within.as_bytes()[start..];
        let len = rest.iter().position(|byte| !is_name(byte));
        at = start + len.unwrap_or(rest.len());
        Some(Word {
            within,
            start,
            end: at,
        })
    })
}

impl<'a> Word<'a> {
    fn text(&self) -> &'a str {
        &self.within[self.start..self.end]
    }

    /// Whether GStreamer may take it for a name, however deep it is nested and how often it is quoted:
    /// that of a field, of a structure, or a feature.
    fn is_name(&self) -> bool {
        let is_space = |letter: char| letter.is_ascii_whitespace() || letter == '\\';
        let before = self.within[..self.start].trim_end_matches(is_space);
        let after = self.within[self.end..].trim_start_matches(is_space);
        if after.starts_with('=') || before.is_empty() || before.ends_with([';', '[', '"']) {
            return true;
        }
        if let Some(before) = before.strip_suffix(')') {
            let kind = before.rsplit('(').next().unwrap_or_default().trim();
            let kind = kind.to_ascii_lowercase();
            // That of a list is what its values are.
            let kind = kind.split('/').next().unwrap_or_default();
            return Kind::of(kind).is_some();
        }
        // Features stand in parentheses, as kinds of values do, and these have no colon.
        before.ends_with(['(', ',']) && self.text().contains(':')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        let names = words(text).filter(Word::is_name);
        names.map(|name| name.text()).collect()
    }

    #[test]
    fn names_of_structures_fields_and_features_are_found_at_any_depth() {
        for (text, expected) in [
            (
                "video/x-raw(memory:DMABuf, meta:Some), format = (string)NV12, width=(int)8",
                &[
                    "video/x-raw",
                    "memory:DMABuf",
                    "meta:Some",
                    "format",
                    "width",
                ][..],
            ),
            ("a/b;c/d, e=1; f", &["a/b", "c/d", "e", "f"]),
            (
                r#"a, b=(structure)[c, d=(int)1], e=(GstCaps)"f\,\ g\=\(int\)2\;""#,
                &["a", "b", "c", "d", "e", "f", "g"],
            ),
            ("a, b=(caps)c, d=< 1, 2 >", &["a", "b", "c", "d"]),
            ("ä, =x \\", &["x"][..0]),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    /// What it finds are all those that GStreamer reads.
    #[test]
    fn caps_have_no_name_that_is_not_found() {
        gst::init().unwrap();
        let inner = gst::Structure::builder("inner").field("within", 1).build();
        let caps = gst::Caps::builder("a/b").field("deeper", &inner).build();
        let caps = gst::Caps::builder("video/x-raw")
            .features(["memory:X"])
            .field(
                "structure",
                gst::Structure::builder("outer")
                    .field("inner", inner)
                    .build(),
            )
            .field("caps", gst::Array::new([caps]))
            .field("text", "some words, a=b [c]; \"d\"")
            .build();
        let text = caps.to_string();
        let found = names(&text);
        for name in [
            "video/x-raw",
            "memory:X",
            "structure",
            "outer",
            "inner",
            "within",
            "caps",
            "a/b",
            "deeper",
            "text",
        ] {
            assert!(found.contains(&name), "{name} in {text}");
        }
    }

    #[test]
    fn names_that_are_too_many_or_too_long_are_refused() {
        let few = Names::new(3);
        assert!(admit("known-x1/a, known-x2=1", &few).is_ok());
        assert!(admit("known-x1/a, known-x2=2, known-x3=3", &few).is_ok());
        assert!(admit("known-x1/a, known-x4=4", &few).is_err());
        assert!(admit("known-x1/a, known-x3=4", &few).is_ok());
        let long = "x".repeat(256);
        let result = |text: String| admit(&text, &Names::new(3));
        assert!(result(format!("known-x1/a, {long}=1")).is_err());
        assert!(result(format!("known-x1/a, known-x2=(caps)\"{long}\"")).is_err());
        // As RTP has them.
        let string = format!(r#"known-x1/a, known-x2=(string)"{long}\\=\\=", known-x3={long}"#);
        assert!(result(string).is_ok());
    }
}
