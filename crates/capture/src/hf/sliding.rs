//! Which layers see the whole past, and which only a window of it.

use super::config::{Config, FieldError};

/// Sliding windows by layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sliding {
    /// Keys that a sliding layer sees, the query's own included; 0 when no layer slides.
    window: usize,
    layers: Layers,
}

#[derive(Clone, Debug, PartialEq)]
enum Layers {
    All,
    /// Layers 0, 2, 4, ...
    Even,
    /// This layer and those after it.
    From(usize),
    /// One truth value per layer.
    Listed(Vec<bool>),
}

impl Sliding {
    /// No layer slides.
    pub(crate) const NONE: Sliding = Sliding { window: 0, layers: Layers::All };

    /// The window of layer `layer`; 0 for the whole past.
    pub(crate) fn window(&self, layer: usize) -> usize {
        let slides = match &self.layers {
            Layers::All => true,
            Layers::Even => layer.is_multiple_of(2),
            Layers::From(first) => layer >= *first,
            Layers::Listed(layers) => layers.get(layer).copied().unwrap_or(false),
        };
        if slides { self.window } else { 0 }
    }

    /// Every layer slides when `sliding_window` is given, as in Mistral.
    pub(crate) fn all_layers(config: &Config) -> Result<Sliding, FieldError> {
        Sliding::read(config, Layers::All)
    }

    /// Even layers slide unless `layer_types` says otherwise, as in Gemma 2.
    pub(crate) fn even_layers(config: &Config) -> Result<Sliding, FieldError> {
        Sliding::read(config, Layers::Even)
    }

    /// Layers from `max_window_layers` on slide, unless `layer_types` says otherwise, and only when `use_sliding_window`
    /// is set, as in Qwen: its files give a window that they do not use.
    pub(crate) fn late_layers(config: &Config) -> Result<Sliding, FieldError> {
        if !config.flag_or("use_sliding_window", false)? {
            return Ok(Sliding::NONE);
        }
        let first = config.optional_size("max_window_layers")?.unwrap_or(0);
        Sliding::read(config, Layers::From(first))
    }

    fn read(config: &Config, default: Layers) -> Result<Sliding, FieldError> {
        let Some(window) = config.optional_size("sliding_window")? else { return Ok(Sliding::NONE) };
        let Some(types) = config.optional_texts("layer_types")? else { return Ok(Sliding { window, layers: default }) };
        let expected = "one of sliding_attention and full_attention for each layer";
        if types.len() != config.size("num_hidden_layers")? {
            return Err(config.error("layer_types", expected));
        }
        let slides = |ty: &&str| match *ty {
            "sliding_attention" => Ok(true),
            "full_attention" => Ok(false),
            _ => Err(config.error("layer_types", expected)),
        };
        Ok(Sliding { window, layers: Layers::Listed(types.iter().map(slides).collect::<Result<_, _>>()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(read: fn(&Config) -> Result<Sliding, FieldError>, json: &str) -> Result<Vec<usize>, FieldError> {
        let sliding = read(&Config::parse(json.as_bytes()).expect("the JSON is valid"))?;
        Ok((0..4).map(|layer| sliding.window(layer)).collect())
    }

    #[test]
    fn each_family_slides_its_own_layers() {
        let check = |read, json, expected| assert_eq!(windows(read, json).expect("valid"), expected);
        check(Sliding::all_layers, r#"{"sliding_window": 8}"#, [8, 8, 8, 8]);
        check(Sliding::all_layers, r#"{"sliding_window": null}"#, [0; 4]);
        check(Sliding::even_layers, r#"{"sliding_window": 8}"#, [8, 0, 8, 0]);
        check(Sliding::late_layers, r#"{"sliding_window": 8, "max_window_layers": 1}"#, [0; 4]);
        let late = r#"{"sliding_window": 8, "max_window_layers": 1, "use_sliding_window": true}"#;
        check(Sliding::late_layers, late, [0, 8, 8, 8]);
    }

    #[test]
    fn layer_types_decide_where_they_are_given() {
        let listed =
            |types: &str| format!(r#"{{"sliding_window": 8, "num_hidden_layers": 2, "layer_types": {types}}}"#);
        let found = windows(Sliding::even_layers, &listed(r#"["full_attention", "sliding_attention"]"#));
        assert_eq!(found.expect("valid"), [0, 8, 0, 0]);
        assert!(windows(Sliding::even_layers, &listed(r#"["full_attention"]"#)).is_err());
        assert!(windows(Sliding::even_layers, &listed(r#"["full_attention", "chunked_attention"]"#)).is_err());
    }
}
