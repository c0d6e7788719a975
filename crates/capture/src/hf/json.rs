//! JSON objects whose keys are unique.
//!
//! JSON readers keep the last of two equal keys in silence, so a file could show one tensor to a checker and another to
//! us. Here a repeated key is an error. Nesting is bounded by `serde_json`, memory by the text's length.

use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The fields of the object that `text` holds; nothing but white space may follow it.
pub(super) fn object(text: &[u8]) -> Result<BTreeMap<String, Value>, String> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let fields = json.deserialize_map(UniqueKeys).map_err(|e| format!("is not a JSON object: {e}"))?;
    json.end().map_err(|e| format!("goes on after its JSON object: {e}"))?;
    Ok(fields)
}

struct UniqueKeys;

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = BTreeMap<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value()?;
            if fields.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("key `{}` appears twice", shortened(&key))));
            }
        }
        Ok(fields)
    }
}

/// Text for a message: hostile files hold names of any length.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 120;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_an_error() {
        let error = object(br#"{"a": 1, "b": 2, "a": 3}"#).expect_err("`a` appears twice");
        assert!(error.contains("`a` appears twice"), "{error}");
        assert!(object(b"{} x").is_err());
        assert!(object(b"[1]").is_err());
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        let deep = format!("{{\"a\": {}", "[".repeat(1_000_000));
        assert!(object(deep.as_bytes()).is_err());
    }
}
