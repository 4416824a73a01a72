//! Structures: a name, and fields.

use std::collections::HashSet;

use super::body::{Body, Size};
use super::types::{FromValue, Structure, Value};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{InvalidValue, check};
use crate::field;
use crate::limits::MAX_FIELDS;
use crate::names::{check_name, check_structure_name};

impl Structure {
    /// A structure without fields.
    ///
    /// # Errors
    /// [`InvalidValue`] where no structure can have that name.
    pub fn new(name: &str) -> Result<Structure, InvalidValue> {
        check_structure_name(name)?;
        Ok(Structure {
            name: name.into(),
            fields: Vec::new(),
        })
    }

    /// A structure with these fields.
    ///
    /// # Errors
    /// [`InvalidValue`] where it cannot have one of the names, a name stands twice, or there are too
    /// many fields or values, or too deep ones.
    pub fn from_fields(
        name: &str,
        fields: Vec<(Box<str>, Value)>,
    ) -> Result<Structure, InvalidValue> {
        let mut structure = Structure::new(name)?;
        let mut names = HashSet::with_capacity(fields.len().min(MAX_FIELDS));
        for (name, _) in &fields {
            check_name(name)?;
            check(names.insert(&**name), "a field stands once in a structure")?;
        }
        drop(names);
        structure.fields = fields;
        structure.check_size()?;
        Ok(structure)
    }

    /// Sets a field, in the place that it has, or else after the others.
    ///
    /// # Errors
    /// [`InvalidValue`] where it cannot have that name, or there are too many fields or values, or
    /// too deep ones. Then the structure stays as it was.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> Result<(), InvalidValue> {
        check_name(name)?;
        let value = value.into();
        let at = self.fields.iter().position(|field| *field.0 == *name);
        let before = match at {
            Some(at) => Some((at, std::mem::replace(&mut self.fields[at].1, value))),
            None => {
                self.fields.push((name.into(), value));
                None
            }
        };
        let outcome = self.check_size();
        if outcome.is_err() {
            match before {
                Some((at, before)) => self.fields[at].1 = before,
                None => drop(self.fields.pop()),
            }
        }
        outcome
    }

    /// Sets a field; for structures that are built in one expression.
    ///
    /// # Errors
    /// As [`set`](Structure::set).
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Result<Structure, InvalidValue> {
        self.set(name, value)?;
        Ok(self)
    }

    /// Removes a field, and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.fields.iter().position(|field| *field.0 == *name)?;
        Some(self.fields.remove(at).1)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a field.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let mut fields = self.fields();
        fields.find_map(|(field, value)| (field == name).then_some(value))
    }

    /// The value of a field as a type; `None` where there is no such field, or its value is of another
    /// type.
    pub fn get<'a, T: FromValue<'a>>(&'a self, name: &str) -> Option<T> {
        self.value(name)?.get()
    }

    /// The fields, in their order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.fields.iter().map(|(name, value)| (&**name, value))
    }

    /// The fields, in their order.
    pub fn into_fields(self) -> impl ExactSizeIterator<Item = (Box<str>, Value)> {
        self.fields.into_iter()
    }

    /// Whether each field has a single value.
    pub fn is_fixed(&self) -> bool {
        self.fields().all(|(_, value)| value.is_fixed())
    }

    fn check_size(&self) -> Result<(), InvalidValue> {
        check(
            self.fields.len() <= MAX_FIELDS,
            "a structure has 4096 fields at most",
        )?;
        self.size().check()
    }
}

impl Body for Structure {
    fn read(decoder: &mut Decoder<'_>) -> field::Result<Structure> {
        let name = decoder.text()?;
        // The shortest field has a name of one byte, and a value without any.
        let mut fields = Vec::new();
        for _ in 0..decoder.count(13)? {
            fields.push((decoder.text()?.into(), Value::read(decoder)?));
        }
        Ok(Structure::from_fields(name, fields)?)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.text(&self.name)?;
        encoder.count(self.fields.len())?;
        self.fields().try_for_each(|(name, value)| {
            encoder.text(name)?;
            value.write(encoder)
        })
    }

    fn size(&self) -> Size {
        Size::around(self.fields().map(|(_, value)| value.size()))
    }
}
