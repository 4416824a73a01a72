//! Lists of tags.

use std::collections::HashSet;

use super::body::{Body, Size};
use super::types::{TagList, Value};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{InvalidValue, check};
use crate::field;
use crate::limits::{MAX_FIELDS, MAX_TAG_VALUES};
use crate::names::check_name;

impl TagList {
    /// A list without tags; `is_global` for one of all streams.
    pub fn empty(is_global: bool) -> TagList {
        TagList {
            is_global,
            tags: Vec::new(),
        }
    }

    /// A list of these tags, each with its values; `is_global` for those of all streams.
    ///
    /// # Errors
    /// [`InvalidValue`] where a tag cannot have its name or stands twice, or there are too many tags
    /// or values, or too deep ones.
    pub fn new(
        is_global: bool,
        tags: Vec<(Box<str>, Vec<Value>)>,
    ) -> Result<TagList, InvalidValue> {
        check(tags.len() <= MAX_FIELDS, "there are 4096 tags at most")?;
        let mut names = HashSet::with_capacity(tags.len());
        for (name, values) in &tags {
            check_name(name)?;
            check(names.insert(&**name), "a tag stands once in a list")?;
            check(
                values.len() <= MAX_TAG_VALUES,
                "a tag has 256 values at most",
            )?;
        }
        drop(names);
        let list = TagList { is_global, tags };
        list.size().check()?;
        Ok(list)
    }

    /// Adds a value to a tag.
    ///
    /// # Errors
    /// [`InvalidValue`] where no tag can have that name, or there are too many tags or values, or too
    /// deep ones. Then the list stays as it was.
    pub fn add(&mut self, name: &str, value: impl Into<Value>) -> Result<(), InvalidValue> {
        check_name(name)?;
        let value = value.into();
        let at = match self.tags.iter().position(|tag| *tag.0 == *name) {
            Some(at) => at,
            None => {
                check(self.tags.len() < MAX_FIELDS, "there are 4096 tags at most")?;
                self.tags.push((name.into(), Vec::new()));
                self.tags.len() - 1
            }
        };
        self.tags[at].1.push(value);
        let outcome = check(
            self.tags[at].1.len() <= MAX_TAG_VALUES,
            "a tag has 256 values at most",
        )
        .and_then(|()| self.size().check());
        if outcome.is_err() {
            self.tags[at].1.pop();
            self.tags.retain(|(_, values)| !values.is_empty());
        }
        outcome
    }

    /// Whether the tags are those of all streams.
    pub fn is_global(&self) -> bool {
        self.is_global
    }

    /// The values of a tag.
    pub fn values(&self, name: &str) -> &[Value] {
        let mut tags = self.tags();
        let values = tags.find_map(|(tag, values)| (tag == name).then_some(values));
        values.unwrap_or_default()
    }

    /// The tags, each with its values.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = (&str, &[Value])> {
        self.tags.iter().map(|(name, values)| (&**name, &**values))
    }

    /// The tags, each with its values.
    pub fn into_tags(self) -> impl ExactSizeIterator<Item = (Box<str>, Vec<Value>)> {
        self.tags.into_iter()
    }
}

impl Body for TagList {
    fn read(decoder: &mut Decoder<'_>) -> field::Result<TagList> {
        let is_global = decoder.bool()?;
        // A tag without values is not counted as a value.
        let count = decoder.count(8)?;
        check(count <= MAX_FIELDS, "there are 4096 tags at most")?;
        let mut tags = Vec::new();
        for _ in 0..count {
            tags.push((decoder.text()?.into(), Value::read_all(decoder)?));
        }
        Ok(TagList::new(is_global, tags)?)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.u32(self.is_global.into());
        encoder.count(self.tags.len())?;
        self.tags().try_for_each(|(name, values)| {
            encoder.text(name)?;
            Value::write_all(values, encoder)
        })
    }

    fn size(&self) -> Size {
        let values = self.tags().flat_map(|(_, values)| values);
        Size::around(values.map(Value::size))
    }
}
