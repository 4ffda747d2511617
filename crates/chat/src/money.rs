//! What requests cost: prices, tokens before they are counted, and a budget that is never passed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Ledger, Reply, Request};

/// What a model's tokens cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Price {
    /// A million tokens read.
    pub input: f64,
    /// A million tokens written.
    pub output: f64,
    /// What a request in a batch costs of the price of a direct one.
    pub batch_factor: f64,
    /// For people; nothing is converted.
    pub currency: String,
}

impl Default for Price {
    fn default() -> Price {
        Price {
            input: 0.0,
            output: 0.0,
            batch_factor: 0.5,
            currency: "USD".into(),
        }
    }
}

impl Price {
    /// What is wrong with it, where something is.
    pub fn wrong(&self) -> Option<String> {
        let named = [
            ("input", self.input),
            ("output", self.output),
            ("batch_factor", self.batch_factor),
        ];
        named
            .into_iter()
            .find(|(_, value)| !value.is_finite() || *value < 0.0)
            .map(|(name, value)| format!("price.{name} = {value}: must be 0 or more"))
    }

    /// The cost of so many tokens.
    pub fn cost(&self, prompt: u64, completion: u64, batch: bool) -> f64 {
        let factor = if batch { self.batch_factor } else { 1.0 };
        (prompt as f64 * self.input + completion as f64 * self.output) / 1e6 * factor
    }

    /// The cost of a reply. Where a server counts no tokens, ours are estimated from the text.
    pub fn of(&self, reply: &Reply, prompt_estimate: u64, batch: bool) -> f64 {
        let counted = |count: u32, estimate: u64| match count {
            0 => estimate,
            count => u64::from(count),
        };
        self.cost(
            counted(reply.prompt_tokens, prompt_estimate),
            counted(reply.completion_tokens, text_tokens(&reply.text)),
            batch,
        )
    }
}

/// How many tokens an image takes of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ImageTokens {
    /// The same for every image, as LLaVA-1.5's 576.
    Fixed(u64),
    /// OpenAI's rule at high detail: the image is fitted into 2048 x 2048, then its shorter side
    /// into 768, and tiles of 512 x 512 are counted.
    Tiles {
        /// Of the whole image.
        base: u64,
        /// Of each tile.
        tile: u64,
    },
    /// Qwen2-VL's rule: patches of `size` pixels, of which `merge` x `merge` become one token, and
    /// larger images are reduced to `max` tokens.
    Patch {
        /// A patch's side in pixels.
        size: u64,
        /// Patches merged along each side.
        merge: u64,
        /// No more tokens than this.
        max: u64,
    },
}

impl Default for ImageTokens {
    /// GPT-4o's tiles.
    fn default() -> ImageTokens {
        ImageTokens::Tiles {
            base: 85,
            tile: 170,
        }
    }
}

impl ImageTokens {
    /// The tokens of an image of this size in pixels.
    pub fn of(self, width: u32, height: u32) -> u64 {
        let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
        match self {
            ImageTokens::Fixed(tokens) => tokens,
            ImageTokens::Tiles { base, tile } => {
                let fit = (2048.0 / width.max(height)).min(1.0);
                let fit = fit * (768.0 / (width.min(height) * fit)).min(1.0);
                // Half a pixel is rounding, not another tile.
                let tiles = |side: f64| ((side * fit).round() / 512.0).ceil().max(1.0) as u64;
                base + tile * tiles(width) * tiles(height)
            }
            ImageTokens::Patch { size, merge, max } => {
                let side = (size.max(1) * merge.max(1)) as f64;
                let tokens = (width / side).round().max(1.0) * (height / side).round().max(1.0);
                (tokens as u64).min(max.max(1))
            }
        }
    }
}

/// Tokens of a text before any tokeniser has seen it: four letters of the Latin script to a token,
/// two digits, one and a half of punctuation, two letters of other alphabets, and one of the scripts
/// of East Asia. Meant to be right within a third for the tokenisers of common models; what the
/// ledger knows of a model mends it ([`Ledger::calibration`]).
pub fn text_tokens(text: &str) -> u64 {
    // In twelfths of a token, so that the sum is exact.
    let twelfths: u64 = text
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | ' ' => 3,
            '0'..='9' => 6,
            c if c.is_ascii() => 8,
            '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' => 12,
            c if (c as u32) < 0x250 => 6,
            c if (c as u32) < 0x1_0000 => 8,
            _ => 24,
        })
        .sum();
    twelfths.div_ceil(12)
}

/// Tokens that a chat template puts around each turn.
const PER_TURN: u64 = 4;

/// Tokens of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Prompt {
    /// Of what is told, the schema of the reply included.
    pub text: u64,
    /// Of what is shown.
    pub images: u64,
}

impl Prompt {
    /// Estimates the tokens of a request.
    pub fn of(request: &Request, images: ImageTokens) -> Prompt {
        let turns: u64 = request
            .turns
            .iter()
            .map(|turn| text_tokens(&turn.text) + PER_TURN)
            .sum();
        let system = request
            .system
            .as_ref()
            .map_or(0, |text| text_tokens(text) + PER_TURN);
        let schema = request
            .schema
            .as_ref()
            .map_or(0, |schema| text_tokens(&schema.schema.to_string()));
        Prompt {
            text: turns + system + schema + PER_TURN,
            images: request
                .images
                .iter()
                .map(|image| images.of(image.width, image.height))
                .sum(),
        }
    }

    /// All of them.
    pub fn total(self) -> u64 {
        self.text + self.images
    }
}

/// Money that may be spent. Counts what is spent, what may have been, and what is on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    max: Option<f64>,
    spent: f64,
    in_flight: f64,
    flights: u64,
}

impl Budget {
    /// Of which `spent` is gone or may be gone already.
    pub fn new(max: Option<f64>, spent: f64) -> Budget {
        Budget {
            max,
            spent,
            in_flight: 0.0,
            flights: 0,
        }
    }

    /// Sets `worst` aside for a request; `false` where it does not fit.
    pub fn reserve(&mut self, worst: f64) -> bool {
        if let Some(max) = self.max
            && worst > 0.0
            && self.spent + self.in_flight + worst > max
        {
            return false;
        }
        self.in_flight += worst;
        self.flights += 1;
        true
    }

    /// Gives back what was set aside; `gone` of it is spent or may be.
    pub fn settle(&mut self, worst: f64, gone: f64) {
        self.flights = self.flights.saturating_sub(1);
        // Sums of many small numbers drift; none in flight is none reserved.
        self.in_flight = if self.flights == 0 {
            0.0
        } else {
            (self.in_flight - worst).max(0.0)
        };
        self.spent += gone;
    }

    /// Spent, or possibly.
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// The bound.
    pub fn max(&self) -> Option<f64> {
        self.max
    }
}

/// What is needed to say what requests will cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Of the model.
    pub price: Price,
    /// Of its images.
    pub image_tokens: ImageTokens,
    /// A prompt has at most so many times the tokens that were estimated.
    pub prompt_margin: f64,
    /// Whether the requests go in batches.
    pub batch: bool,
}

impl Rates {
    /// The most that a request with this prompt can cost, where no prompt has had more than
    /// `worst_seen` times the tokens that were estimated.
    pub fn worst(&self, prompt: Prompt, worst_seen: f64, max_tokens: u32) -> f64 {
        let tokens = prompt.total() as f64 * self.prompt_margin.max(worst_seen);
        self.price
            .cost(tokens.ceil() as u64, u64::from(max_tokens), self.batch)
    }
}

/// What requests will cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Forecast {
    /// By stage and kind.
    pub lines: Vec<Line>,
    /// In which all costs are.
    pub currency: String,
}

/// The requests of one stage and kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Line {
    /// The stage.
    pub stage: String,
    /// The kind.
    pub kind: String,
    /// All requests.
    pub requests: u64,
    /// Settled on the ledger or equal to an earlier one: they cost nothing.
    pub known: u64,
    /// Of the others' text.
    pub text_tokens: u64,
    /// Of their images.
    pub image_tokens: u64,
    /// Expected of their replies.
    pub completion_tokens: u64,
    /// Whether that is the mean of what the ledger has, and no default.
    pub measured: bool,
    /// Expected.
    pub cost: f64,
    /// At most, each reply as long as it may be and nothing sent twice.
    pub worst: f64,
}

/// Of `max_tokens`, what a reply takes where the ledger has none of its kind.
const REPLY_SHARE: f64 = 0.25;

/// What `requests` to `model` will cost.
///
/// # Errors
/// Where the ledger cannot be read.
pub fn forecast(
    requests: &mut dyn Iterator<Item = Request>,
    digest: impl Fn(&Request) -> String,
    model: &str,
    ledger: &Ledger,
    rates: &Rates,
) -> Result<Forecast, crate::ledger::Error> {
    let calibration = ledger.calibration(model)?;
    let means = ledger.mean_completions(model)?;
    let mut lines: BTreeMap<(String, String), Line> = BTreeMap::new();
    let mut seen = std::collections::HashSet::new();
    for request in requests {
        let digest = digest(&request);
        let key = (request.tag.stage.clone(), request.tag.kind.clone());
        let mean = means.get(&key);
        let line = lines.entry(key.clone()).or_insert_with(|| Line {
            stage: key.0,
            kind: key.1,
            measured: mean.is_some(),
            ..Line::default()
        });
        line.requests += 1;
        if ledger.standing(&digest)?.settled || !seen.insert(digest) {
            line.known += 1;
            continue;
        }
        let prompt = Prompt::of(&request, rates.image_tokens);
        let max = f64::from(request.max_tokens);
        let reply = mean.copied().unwrap_or(max * REPLY_SHARE).min(max).ceil() as u64;
        let calibrated = |tokens: u64| (tokens as f64 * calibration.mean).round() as u64;
        let (text, images) = (calibrated(prompt.text), calibrated(prompt.images));
        line.text_tokens += text;
        line.image_tokens += images;
        line.completion_tokens += reply;
        line.cost += rates.price.cost(text + images, reply, rates.batch);
        line.worst += rates.worst(prompt, calibration.worst, request.max_tokens);
    }
    Ok(Forecast {
        lines: lines.into_values().collect(),
        currency: rates.price.currency.clone(),
    })
}

impl Forecast {
    /// Expected of all lines.
    pub fn cost(&self) -> f64 {
        self.lines.iter().map(|line| line.cost).sum()
    }

    /// At most, of all lines.
    pub fn worst(&self) -> f64 {
        self.lines.iter().map(|line| line.worst).sum()
    }
}

impl std::fmt::Display for Forecast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let heading = [
            "stage",
            "kind",
            "requests",
            "known",
            "text tokens",
            "image tokens",
            "reply tokens",
            "cost",
            "at most",
        ];
        let mut lines = vec![heading.map(str::to_owned).to_vec()];
        for line in &self.lines {
            let mark = if line.measured { "" } else { "~" };
            lines.push(vec![
                line.stage.clone(),
                line.kind.clone(),
                line.requests.to_string(),
                line.known.to_string(),
                line.text_tokens.to_string(),
                line.image_tokens.to_string(),
                format!("{mark}{}", line.completion_tokens),
                format!("{:.2}", line.cost),
                format!("{:.2}", line.worst),
            ]);
        }
        crate::ledger::table(f, &lines)?;
        writeln!(
            f,
            "expected {:.2} {}, at most {:.2}{}",
            self.cost(),
            self.currency,
            self.worst(),
            if self.lines.iter().all(|line| line.measured) {
                ""
            } else {
                "; ~ where no reply of the kind is known yet: a quarter of max_tokens"
            }
        )
    }
}

#[cfg(test)]
mod tests;
