//! Rotary frequencies from a configuration: the plain ones, and the scalings that stretch them to longer contexts.
//!
//! Both forms are read: `rope_theta` with `rope_scaling` (older files), and `rope_parameters` (newer ones). Scalings that
//! are not in `KINDS` change the model's answers, so they are refused and never ignored.

use super::config::{Config, FieldError};

/// How the frequencies of rotary embedding follow from the position in a head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    /// Base of the frequencies' powers.
    theta: f64,
    scaling: Scaling,
}

#[derive(Clone, Debug, PartialEq)]
enum Scaling {
    None,
    Linear { factor: f64 },
    Llama3 { factor: f64, low: f64, high: f64, original_length: f64 },
}

#[derive(Clone, Copy)]
enum Kind {
    Default,
    Linear,
    Llama3,
}

const KINDS: &[(&str, Kind)] = &[("default", Kind::Default), ("linear", Kind::Linear), ("llama3", Kind::Llama3)];

/// The base where a configuration gives none.
const DEFAULT_THETA: f64 = 10_000.0;

impl Rope {
    /// Reads the fields of a configuration.
    pub(crate) fn read(config: &Config) -> Result<Rope, FieldError> {
        config.refuse_unless("partial_rotary_factor", 1.0)?;
        let theta = config.number_or("rope_theta", DEFAULT_THETA)?;
        let parameters = match config.optional_object("rope_parameters")? {
            Some(parameters) => Some(parameters),
            None => config.optional_object("rope_scaling")?,
        };
        let Some(parameters) = parameters else { return Ok(Rope { theta, scaling: Scaling::None }) };
        parameters.refuse_unless("partial_rotary_factor", 1.0)?;
        let theta = parameters.number_or("rope_theta", theta)?;
        // Before `rope_type` there was `type`.
        let field = if parameters.get("rope_type").is_some() { "rope_type" } else { "type" };
        if parameters.get(field).is_none() && parameters.get("rope_theta").is_none() {
            return Err(parameters.error("rope_type", "one type for all layers"));
        }
        let scaling = match parameters.choice_or(field, KINDS, "default")? {
            Kind::Default => Scaling::None,
            Kind::Linear => Scaling::Linear { factor: parameters.number("factor")? },
            Kind::Llama3 => {
                let (low, high) = (parameters.number("low_freq_factor")?, parameters.number("high_freq_factor")?);
                if high <= low {
                    return Err(
                        parameters.error("high_freq_factor", format!("a number above low_freq_factor, which is {low}"))
                    );
                }
                let original_length = parameters.number("original_max_position_embeddings")?;
                Scaling::Llama3 { factor: parameters.number("factor")?, low, high, original_length }
            }
        };
        Ok(Rope { theta, scaling })
    }

    /// Angle per position for each pair of a head of `width` elements: `width / 2` frequencies.
    ///
    /// Rounded to f32 at each step where the reference rounds: an angle is a frequency times a position of thousands.
    pub(crate) fn frequencies(&self, width: usize) -> Vec<f32> {
        let frequency = |pair: usize| {
            let exponent = (2 * pair) as f32 / width as f32;
            let power = self.theta.powf(f64::from(exponent)) as f32;
            self.scaled(f64::from(1.0 / power)) as f32
        };
        (0..width / 2).map(frequency).collect()
    }

    fn scaled(&self, frequency: f64) -> f64 {
        match self.scaling {
            Scaling::None => frequency,
            Scaling::Linear { factor } => frequency / factor,
            // Short waves stay, long ones are stretched, those between are blended.
            Scaling::Llama3 { factor, low, high, original_length } => {
                let turns = original_length * frequency / std::f64::consts::TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Rope, FieldError> {
        Rope::read(&Config::parse(json.as_bytes()).expect("the JSON is valid"))
    }

    #[test]
    fn both_forms_of_the_fields_mean_the_same() {
        let old = read(r#"{"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}"#).expect("valid");
        let new =
            read(r#"{"rope_parameters": {"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0}}"#).expect("valid");
        assert_eq!(old, new);
        assert_eq!(old.frequencies(4), [0.5, (1.0 / 5e5f64.sqrt() as f32) / 2.0]);
        assert_eq!(read("{}").expect("valid").frequencies(2), [1.0]);
    }

    #[test]
    fn llama3_keeps_short_waves_and_stretches_long_ones() {
        let rope = read(
            r#"{"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192}, "rope_theta": 500000.0}"#,
        );
        let (scaled, plain) =
            (rope.expect("valid").frequencies(64), read(r#"{"rope_theta": 5e5}"#).expect("valid").frequencies(64));
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[31], plain[31] / 8.0);
        assert!(scaled.iter().zip(&plain).any(|(s, p)| *s < *p && *s > *p / 8.0));
    }

    #[test]
    fn other_scalings_are_refused_by_name() {
        let error = read(r#"{"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}"#).expect_err("not supported");
        assert_eq!(error.field, "rope_scaling.rope_type");
        assert_eq!(error.found, "\"yarn\"");
        let error =
            read(r#"{"rope_parameters": {"full_attention": {}, "sliding_attention": {}}}"#).expect_err("nested");
        assert_eq!(error.field, "rope_parameters.rope_type");
        assert!(read(r#"{"partial_rotary_factor": 0.5}"#).is_err());
        assert!(read(r#"{"rope_scaling": {"rope_type": "linear", "factor": 0}}"#).is_err());
    }
}
