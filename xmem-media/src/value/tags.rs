//! Lists of tags.

use std::collections::HashSet;

use super::{Size, Value};
use crate::error::{InvalidValue, check};
use crate::limits::{MAX_FIELDS, MAX_TAG_VALUES};
use crate::names::check_name;

/// Tags with their values, for a stream or for all streams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TagList {
    is_global: bool,
    tags: Vec<(Box<str>, Vec<Value>)>,
}

impl TagList {
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
        Size::around(list.parts())?;
        Ok(list)
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

    fn parts(&self) -> impl Iterator<Item = Size> {
        self.tags
            .iter()
            .flat_map(|(_, values)| values)
            .map(Value::size)
    }

    pub(super) fn size(&self) -> Size {
        Size::unchecked_around(self.parts())
    }
}
