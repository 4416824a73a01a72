//! Names in the text of caps, which become known to GStreamer when it reads them. Pure.

use super::nested::Outline;
use crate::values::Names;
use xmem_media::is_feature_name;

/// Lets GStreamer know the names of structures, fields and features in a text, but for those within
/// quotes.
///
/// # Errors
/// Where it may not know one.
pub(super) fn admit(outline: &Outline, names: &Names) -> Result<(), String> {
    for word in words(&outline.text) {
        let is_structure = word.is_structure();
        if (is_structure || word.is_field()) && !names.admit(word.text()) {
            return Err("caps with a name that is too long, or one more than there may be".into());
        }
        let mut features = is_structure.then(|| word.features()).into_iter().flatten();
        // Of one that is none GStreamer makes a name before it looks.
        if !features.all(|feature| is_feature_name(feature) && names.admit(feature)) {
            return Err("caps with a feature that is none".into());
        }
    }
    Ok(())
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

/// GStreamer takes an escaped space for one.
fn is_space(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter == '\\'
}

impl<'a> Word<'a> {
    fn text(&self) -> &'a str {
        &self.within[self.start..self.end]
    }

    fn is_field(&self) -> bool {
        let after = self.within[self.end..].trim_start_matches(is_space);
        after.starts_with('=')
    }

    fn is_structure(&self) -> bool {
        let before = self.within[..self.start].trim_end_matches(is_space);
        before.is_empty() || before.ends_with([';', '['])
    }

    /// The features of a structure, in parentheses behind its name.
    fn features(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let after = self.within[self.end..].trim_start_matches(is_space);
        let features = after.strip_prefix('(').map(|rest| {
            let end = rest.find(')').unwrap_or(rest.len());
            // GStreamer takes off these spaces only, and what is left for a name.
            rest[..end].split(',').map(|one| one.trim_matches(' '))
        });
        features.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        let all = words(text).flat_map(|word| {
            let name = (word.is_structure() || word.is_field()).then(|| word.text());
            let features = word.is_structure().then(|| word.features());
            name.into_iter().chain(features.into_iter().flatten())
        });
        all.collect()
    }

    #[test]
    fn names_of_structures_fields_and_features_are_found() {
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
            ("a/b;c/d (x:y), e\\ =1; f", &["a/b", "c/d", "x:y", "e", "f"]),
            ("a, b=(structure)[c, d=(int)1]", &["a", "b", "c", "d"]),
            ("a(b", &["a", "b"]),
            ("ä, =x \\", &[]),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn names_that_are_too_many_or_too_long_are_refused() {
        let few = Names::new(3);
        let admit = |text: &str, names: &Names| admit(&Outline::of(text), names);
        assert!(admit("known-x1/a, known-x2=1", &few).is_ok());
        assert!(admit("known-x1/a, known-x2=2, known-x3=3", &few).is_ok());
        assert!(admit("known-x1/a, known-x4=4", &few).is_err());
        assert!(admit("known-x1/a, known-x3=4", &few).is_ok());
        let long = "x".repeat(256);
        let result = |text: String| admit(&text, &Names::new(3));
        assert!(result(format!("known-x1/a, {long}=1")).is_err());
        assert!(result(format!("known-x1/a({long})")).is_err());
        // As RTP has them, and what rtpgstpay makes of any caps.
        for string in [
            format!(r#"known-x1/a, known-x2=(string)"{long}\=\=", known-x3={long}"#),
            format!(r#"known-x1/a, caps=(string)"{long}\=\=", known-x3=caps"#),
        ] {
            assert!(result(string).is_ok());
        }
    }
}
