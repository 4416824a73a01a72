//! Settings of a role, as `key=value` words.

use std::collections::BTreeMap;

pub struct Settings(BTreeMap<String, String>);

impl Settings {
    pub fn parse(words: impl Iterator<Item = String>) -> Settings {
        let pair = |word: String| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        Settings(words.filter_map(pair).collect())
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn number(&self, key: &str) -> Option<u64> {
        self.text(key)?.parse().ok()
    }
}
