//! Lines of text between a test and its peers.

use std::collections::BTreeMap;
use std::fmt;

/// A line: a word and its fields, as in `received count=3 last=2 text=all the rest of the line`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The first word, which says what the line is about.
    pub word: String,
    fields: BTreeMap<String, String>,
}

impl Line {
    /// A line without fields.
    pub fn new(word: &str) -> Line {
        Line {
            word: word.into(),
            fields: BTreeMap::new(),
        }
    }

    /// Adds a field. Only the field `text` may contain spaces.
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Line {
        // A newline would start another line.
        let value = value.to_string().replace('\n', " ");
        self.fields.insert(key.into(), value);
        self
    }

    /// Parses a line.
    ///
    /// # Panics
    /// If a field has no `=`: both ends are in this crate.
    pub fn parse(line: &str) -> Line {
        let (line, text) = match line.split_once(" text=") {
            Some((line, text)) => (line, Some(text)),
            None => (line, None),
        };
        let mut words = line.split_whitespace();
        let mut parsed = Line::new(words.next().unwrap_or_default());
        for field in words {
            let (key, value) = field
                .split_once('=')
                .unwrap_or_else(|| panic!("{field:?} in {line:?} is not key=value"));
            parsed.fields.insert(key.into(), value.into());
        }
        match text {
            Some(text) => parsed.with("text", text),
            None => parsed,
        }
    }

    /// A field, if the line has it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    /// A field that must exist.
    ///
    /// # Panics
    /// If it does not.
    pub fn text(&self, key: &str) -> &str {
        self.get(key)
            .unwrap_or_else(|| panic!("no {key} in \"{self}\""))
    }

    /// A number, if the line has it.
    ///
    /// # Panics
    /// If the field is not a number.
    pub fn get_number(&self, key: &str) -> Option<u64> {
        let parse = |text: &str| {
            text.parse()
                .unwrap_or_else(|_| panic!("{key} in \"{self}\" is not a number"))
        };
        self.get(key).map(parse)
    }

    /// A number that must exist.
    ///
    /// # Panics
    /// If it does not.
    pub fn number(&self, key: &str) -> u64 {
        self.get_number(key)
            .unwrap_or_else(|| panic!("no {key} in \"{self}\""))
    }

    /// Checks that the line reports a problem of this kind, in a text with these words.
    ///
    /// # Panics
    /// If it does not.
    pub fn says(&self, kind: &str, words: &[&str]) {
        assert_eq!(self.text("kind"), kind, "{self}");
        let text = self.text("text");
        for word in words {
            assert!(text.contains(word), "{word:?} is missing in \"{text}\"");
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)?;
        let fields = self.fields.iter();
        for (key, value) in fields.filter(|(key, _)| *key != "text") {
            write!(f, " {key}={value}")?;
        }
        match self.get("text") {
            Some(text) => write!(f, " text={text}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let line = Line::new("failed")
            .with("kind", "Refused")
            .with("count", 3)
            .with("text", "no room:\nraise max-clients = 3");
        let read = Line::parse(&line.to_string());
        assert_eq!(read, line);
        assert_eq!(read.number("count"), 3);
        assert_eq!(read.text("text"), "no room: raise max-clients = 3");
        assert_eq!(read.get("missing"), None);
    }
}
