//! Rotary positions: how far each pair of a head's numbers turns per token, and the ways in which
//! published models stretch that to longer texts.
//!
//! Formulas as in transformers' `modeling_rope_utils.py` (4.57): linear and dynamic NTK scaling,
//! Llama 3's, and YaRN (arXiv 2309.00071). In f32 throughout, as there.

use std::f64::consts::PI;

use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::{Error, TextConfig};

/// What `rope_scaling` asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scaling {
    /// As trained.
    Plain,
    /// All positions divided by the factor.
    Linear { factor: f64 },
    /// A larger base as soon as the sequence is longer than the model's context.
    Dynamic { factor: f64 },
    /// Slow pairs divided by the factor, fast ones kept, those between in part.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    /// As Llama 3's with a ramp over the pairs, and longer queries and keys.
    Yarn {
        factor: f64,
        beta_fast: f64,
        beta_slow: f64,
        original: f64,
        truncate: bool,
        magnitude: f64,
    },
}

impl Scaling {
    /// Reads `rope_scaling`; what is not computed here, or cannot be, is refused by its name.
    pub fn of(config: &TextConfig) -> Result<Scaling, Error> {
        let Some(value) = &config.rope_scaling else {
            return Ok(Scaling::Plain);
        };
        let fields = Fields(value);
        // The older name wins where both are there, as in transformers.
        let kind = value.get("type").or_else(|| value.get("rope_type"));
        match kind.and_then(Value::as_str).unwrap_or("(absent)") {
            "default" => Ok(Scaling::Plain),
            "linear" => Ok(Scaling::Linear {
                factor: fields.required("factor")?,
            }),
            "dynamic" if config.head_dim() <= 2 => Err(Error::Config(
                "text_config.rope_scaling: dynamic scaling needs heads wider than 2".into(),
            )),
            "dynamic" => Ok(Scaling::Dynamic {
                factor: fields.required("factor")?,
            }),
            "llama3" => {
                let (low, high) = (
                    fields.required("low_freq_factor")?,
                    fields.required("high_freq_factor")?,
                );
                if low >= high {
                    return Err(Error::Config(format!(
                        "text_config.rope_scaling: high_freq_factor {high} is not above \
                         low_freq_factor {low}"
                    )));
                }
                Ok(Scaling::Llama3 {
                    factor: fields.required("factor")?,
                    low,
                    high,
                    original: fields.required("original_max_position_embeddings")?,
                })
            }
            "yarn" => fields.yarn(config),
            other => Err(Error::Config(format!(
                "text_config.rope_scaling: type {other} is not computed here; default, linear, \
                 dynamic, llama3 and yarn are"
            ))),
        }
    }
}

/// The numbers of a `rope_scaling` object.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn optional(&self, name: &str) -> Result<Option<f64>, Error> {
        let value = &self.0[name];
        match value.as_f64() {
            Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
            None if value.is_null() => Ok(None),
            _ => Err(Error::Config(format!(
                "text_config.rope_scaling.{name} is {value}, not a positive number"
            ))),
        }
    }

    fn required(&self, name: &str) -> Result<f64, Error> {
        self.optional(name)?
            .ok_or_else(|| Error::Config(format!("text_config.rope_scaling.{name} is absent")))
    }

    fn yarn(&self, config: &TextConfig) -> Result<Scaling, Error> {
        if config.rope_theta <= 1.0 {
            return Err(Error::Config(
                "text_config.rope_theta must be above 1 for YaRN".into(),
            ));
        }
        let factor = self.required("factor")?;
        let magnitude = |scale: f64| match factor {
            f if f <= 1.0 => 1.0,
            f => 0.1 * scale * f.ln() + 1.0,
        };
        let scales = (self.optional("mscale")?, self.optional("mscale_all_dim")?);
        Ok(Scaling::Yarn {
            factor,
            beta_fast: self.optional("beta_fast")?.unwrap_or(32.0),
            beta_slow: self.optional("beta_slow")?.unwrap_or(1.0),
            original: self
                .optional("original_max_position_embeddings")?
                .unwrap_or(config.max_position_embeddings as f64),
            truncate: self.0["truncate"].as_bool().unwrap_or(true),
            magnitude: match (self.optional("attention_factor")?, scales) {
                (Some(given), _) => given,
                (None, (Some(all), Some(dim))) => magnitude(all) / magnitude(dim),
                _ => magnitude(1.0),
            },
        })
    }
}

/// The decoder's rotary positions.
pub(crate) struct Rope {
    scaling: Scaling,
    theta: f64,
    head_dim: i64,
    /// The model's context, beyond which dynamic scaling begins.
    context: i64,
    /// [head_dim / 2], f32: radians per token.
    frequencies: Tensor,
}

impl Rope {
    pub fn new(config: &TextConfig, device: Device) -> Result<Rope, Error> {
        let scaling = Scaling::of(config)?;
        let (theta, head_dim) = (config.rope_theta, config.head_dim());
        let plain = Tensor::f_pow_scalar(theta, &exponents(head_dim, device)?)?
            .f_to_kind(Kind::Float)?
            .f_reciprocal()?;
        let frequencies = match scaling {
            Scaling::Plain | Scaling::Dynamic { .. } => plain,
            Scaling::Linear { factor } => plain.f_div_scalar(factor)?,
            Scaling::Llama3 { .. } | Scaling::Yarn { .. } => {
                let stretched: Vec<f32> = Vec::<f32>::try_from(&plain)?
                    .into_iter()
                    .enumerate()
                    .map(|(pair, f)| stretch(scaling, theta, head_dim, pair, f64::from(f)) as f32)
                    .collect();
                Tensor::f_from_slice(&stretched)?.f_to_device(device)?
            }
        };
        Ok(Rope {
            scaling,
            theta,
            head_dim,
            context: config.max_position_embeddings,
            frequencies,
        })
    }

    /// Cosines and sines for `positions` [batch, tokens]: [batch, 1, tokens, head_dim] each.
    pub fn turns(&self, positions: &Tensor, kind: Kind) -> Result<(Tensor, Tensor), Error> {
        let dynamic;
        let frequencies = match self.scaling {
            Scaling::Dynamic { factor } => {
                dynamic = self.dynamic(positions, factor)?;
                &dynamic
            }
            _ => &self.frequencies,
        };
        let angles = positions
            .f_to_kind(Kind::Float)?
            .f_unsqueeze(-1)?
            .f_mul(frequencies)?; // [batch, tokens, head_dim / 2]
        let angles = Tensor::f_cat(&[&angles, &angles], -1)?.f_unsqueeze(1)?;
        let (mut cos, mut sin) = (angles.f_cos()?, angles.f_sin()?);
        if let Scaling::Yarn { magnitude, .. } = self.scaling {
            cos = cos.f_mul_scalar_(magnitude)?;
            sin = sin.f_mul_scalar_(magnitude)?;
        }
        Ok((cos.f_to_kind(kind)?, sin.f_to_kind(kind)?))
    }

    /// Frequencies for sequences as long as those of `positions`, [batch, 1, head_dim / 2]. Each row
    /// has its own, so that a batch gives what its rows give alone; transformers takes the longest
    /// row's for all. Keys in a cache stay as they were turned, here and there.
    fn dynamic(&self, positions: &Tensor, factor: f64) -> Result<Tensor, Error> {
        let longest: Vec<i64> = Vec::try_from(positions.f_amax([-1], false)?)?;
        let (context, width) = (self.context as f64, self.head_dim as f64);
        let bases: Vec<f32> = longest
            .into_iter()
            .map(|last| {
                let tokens = last.saturating_add(1).max(self.context) as f64;
                let growth = factor * tokens / context - (factor - 1.0);
                (self.theta * growth.powf(width / (width - 2.0))) as f32
            })
            .collect();
        let device = positions.device();
        let bases = Tensor::f_from_slice(&bases)?
            .f_to_device(device)?
            .f_reshape([-1, 1, 1])?;
        Ok(bases
            .f_pow(&exponents(self.head_dim, device)?)?
            .f_reciprocal()?)
    }
}

/// What Llama 3's scaling divides the frequency of each pair by, `[head_dim / 2]`; `None` under other
/// scalings.
pub(crate) fn llama3_divisors(config: &TextConfig) -> Result<Option<Vec<f32>>, Error> {
    let scaling = Scaling::of(config)?;
    if !matches!(scaling, Scaling::Llama3 { .. }) {
        return Ok(None);
    }
    let (theta, head_dim) = (config.rope_theta, config.head_dim());
    let divisor = |pair: i64| {
        let plain = theta.powf(-2.0 * pair as f64 / head_dim as f64);
        (plain / stretch(scaling, theta, head_dim, pair as usize, plain)) as f32
    };
    Ok(Some((0..head_dim / 2).map(divisor).collect()))
}

/// 2i / head_dim for each pair i, f32.
fn exponents(head_dim: i64, device: Device) -> Result<Tensor, Error> {
    Ok(
        Tensor::f_arange_start_step(0, head_dim, 2, (Kind::Float, device))?
            .f_div_scalar(head_dim as f64)?,
    )
}

/// What Llama 3's scaling and YaRN make of the frequency of one pair.
fn stretch(scaling: Scaling, theta: f64, head_dim: i64, pair: usize, frequency: f64) -> f64 {
    match scaling {
        Scaling::Llama3 {
            factor,
            low,
            high,
            original,
        } => {
            let turns = original * frequency / (2.0 * PI);
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - kept) * frequency / factor + kept * frequency
        }
        Scaling::Yarn {
            factor,
            beta_fast,
            beta_slow,
            original,
            truncate,
            ..
        } => {
            let width = head_dim as f64;
            // The pair that turns this often within the original context.
            let turning =
                |times: f64| width * (original / (times * 2.0 * PI)).ln() / (2.0 * theta.ln());
            let (mut first, mut last) = (turning(beta_fast), turning(beta_slow));
            if truncate {
                (first, last) = (first.floor(), last.ceil());
            }
            (first, last) = (first.max(0.0), last.min(width - 1.0));
            if first == last {
                last += 0.001;
            }
            let interpolated = ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0);
            interpolated * frequency / factor + (1.0 - interpolated) * frequency
        }
        Scaling::Plain | Scaling::Linear { .. } | Scaling::Dynamic { .. } => frequency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalings_that_cannot_be_computed_are_refused_by_name() {
        let cases = [
            (
                json!({"rope_type": "longrope", "factor": 4.0}),
                "type longrope",
            ),
            (json!({"factor": 4.0}), "type (absent)"),
            (json!({"type": "linear"}), "rope_scaling.factor is absent"),
            (
                json!({"type": "dynamic", "factor": 0}),
                "rope_scaling.factor is 0",
            ),
            (
                json!({"type": "linear", "factor": "2"}),
                "rope_scaling.factor is \"2\"",
            ),
            (
                json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                       "high_freq_factor": 4, "original_max_position_embeddings": 64}),
                "high_freq_factor 4",
            ),
            (
                json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                       "high_freq_factor": 4}),
                "original_max_position_embeddings is absent",
            ),
            (
                json!({"rope_type": "yarn", "factor": -1}),
                "rope_scaling.factor is -1",
            ),
        ];
        for (value, message) in cases {
            let config = TextConfig {
                rope_scaling: Some(value),
                ..TextConfig::default()
            };
            let refused = Scaling::of(&config).unwrap_err().to_string();
            assert!(refused.contains(message), "{refused}");
        }
    }

    #[test]
    fn dynamic_scaling_turns_each_row_as_if_it_were_alone() {
        let config = TextConfig {
            hidden_size: 16,
            num_attention_heads: 2,
            max_position_embeddings: 8,
            rope_scaling: Some(json!({"rope_type": "dynamic", "factor": 2.0})),
            ..TextConfig::default()
        };
        let rope = Rope::new(&config, Device::Cpu).unwrap();
        let short = Tensor::arange(4, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let long = &short + 20;
        let (both, _) = rope
            .turns(&Tensor::cat(&[&short, &long], 0), Kind::Float)
            .unwrap();
        for (row, positions) in [short, long].iter().enumerate() {
            let (alone, _) = rope.turns(positions, Kind::Float).unwrap();
            assert!(both.get(row as i64).equal(&alone.get(0)));
        }
        let plain = Rope::new(
            &TextConfig {
                rope_scaling: None,
                ..config
            },
            Device::Cpu,
        )
        .unwrap();
        let ids = Tensor::arange(8, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let (cos, _) = rope.turns(&ids, Kind::Float).unwrap();
        let (wanted, _) = plain.turns(&ids, Kind::Float).unwrap();
        let off = (cos - wanted).abs().max().double_value(&[]);
        assert!(off < 1e-5, "within the context nothing changes: {off}");
    }
}
