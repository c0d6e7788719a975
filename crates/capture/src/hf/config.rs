//! `config.json` with typed access: each field is absent, null, or of the type that a model needs, or an error by name.

use super::json::{object, shortened};
use serde_json::Value;
use std::collections::BTreeMap;

/// Largest size that a field may give: far above any model's, and small enough that the product of two fits anywhere.
const LARGEST_SIZE: u64 = 1 << 24;

/// A field that is missing or has a value that the architecture does not take.
#[derive(Debug, thiserror::Error)]
#[error("field `{field}` is {found}, expected {expected}")]
pub struct FieldError {
    /// The field, with the objects that it lies in: `rope_scaling.factor`.
    pub field: String,
    /// Its value, or `absent`.
    pub found: String,
    /// What the architecture takes.
    pub expected: String,
}

/// The fields of a configuration, or of an object inside it.
#[derive(Debug)]
pub(crate) struct Config {
    fields: BTreeMap<String, Value>,
    /// What stands before the fields' names in messages.
    path: String,
}

impl Config {
    /// Reads `config.json`.
    pub(super) fn parse(text: &[u8]) -> Result<Config, String> {
        Ok(Config { fields: object(text)?, path: String::new() })
    }

    /// The value of a field; absent and null are the same.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// An error about a field.
    pub(crate) fn error(&self, field: &str, expected: impl Into<String>) -> FieldError {
        let found = self.fields.get(field).map_or("absent".to_string(), |value| shortened(&value.to_string()));
        FieldError { field: format!("{}{field}", self.path), found, expected: expected.into() }
    }

    /// Converts a field; `None` when it is absent.
    fn read<'a, T>(
        &'a self,
        field: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FieldError> {
        self.get(field).map(|value| convert(value).ok_or_else(|| self.error(field, expected))).transpose()
    }

    /// A size, from 1.
    pub(crate) fn size(&self, field: &str) -> Result<usize, FieldError> {
        self.optional_size(field)?.ok_or_else(|| self.error(field, "a size"))
    }

    /// A size, from 1, if the field is there.
    pub(crate) fn optional_size(&self, field: &str) -> Result<Option<usize>, FieldError> {
        let expected = format!("a whole number from 1 to {LARGEST_SIZE}");
        let size =
            |value: &Value| value.as_u64().filter(|size| (1..=LARGEST_SIZE).contains(size)).map(|size| size as usize);
        self.read(field, &expected, size)
    }

    /// A finite number above 0, if the field is there.
    pub(crate) fn optional_number(&self, field: &str) -> Result<Option<f64>, FieldError> {
        self.read(field, "a number above 0", |value| value.as_f64().filter(|x| x.is_finite() && *x > 0.0))
    }

    /// A finite number above 0.
    pub(crate) fn number(&self, field: &str) -> Result<f64, FieldError> {
        self.optional_number(field)?.ok_or_else(|| self.error(field, "a number above 0"))
    }

    /// A finite number above 0, with the value that its absence means.
    pub(crate) fn number_or(&self, field: &str, default: f64) -> Result<f64, FieldError> {
        Ok(self.optional_number(field)?.unwrap_or(default))
    }

    /// A truth value, with the value that its absence means.
    pub(crate) fn flag_or(&self, field: &str, default: bool) -> Result<bool, FieldError> {
        Ok(self.read(field, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// A text, if the field is there.
    pub(crate) fn optional_text(&self, field: &str) -> Result<Option<&str>, FieldError> {
        self.read(field, "a text", Value::as_str)
    }

    /// An object, if the field is there.
    pub(crate) fn optional_object(&self, field: &str) -> Result<Option<Config>, FieldError> {
        let path = format!("{}{field}.", self.path);
        let fields = self.read(field, "an object", Value::as_object)?;
        Ok(fields.map(|map| Config { fields: map.iter().map(|(k, v)| (k.clone(), v.clone())).collect(), path }))
    }

    /// A list of texts, if the field is there.
    pub(crate) fn optional_texts(&self, field: &str) -> Result<Option<Vec<&str>>, FieldError> {
        self.read(field, "a list of texts", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// The entry of `table` that a text field names. Absence means `default`.
    pub(crate) fn choice_or<T: Copy>(&self, field: &str, table: &[(&str, T)], default: &str) -> Result<T, FieldError> {
        let text = self.optional_text(field)?.unwrap_or(default);
        table.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice).ok_or_else(|| {
            let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            self.error(field, known.join(", "))
        })
    }

    /// Refuses a field that has another value than `only`; absent and null are taken.
    pub(crate) fn refuse_unless(&self, field: &str, only: impl Into<Value>) -> Result<(), FieldError> {
        let only = only.into();
        // 1 and 1.0 are the same number.
        let same = |value: &Value| *value == only || (value.as_f64().is_some() && value.as_f64() == only.as_f64());
        match self.get(field) {
            Some(value) if !same(value) => Err(self.error(field, format!("{only}; nothing else is supported"))),
            _ => Ok(()),
        }
    }

    /// Refuses a field that asks for something the architecture does not do.
    pub(crate) fn refuse(&self, field: &str) -> Result<(), FieldError> {
        self.refuse_unless(field, Value::Null)
    }
}
