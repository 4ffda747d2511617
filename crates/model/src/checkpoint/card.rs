//! The model card: the `README.md` of a model's folder, as Hugging Face's hub reads it.
//!
//! It says what the model is made of and trained on, by which recipe, how well it does and how it is
//! used, so that a folder that has lost its run can still be judged. Names and numbers come from
//! runs, data sets and file names, so every text is escaped: nothing in it can be a field of the
//! front matter, a row of a table or markup.

use std::fmt::Write;
use std::path::Path;

use crate::Error;

/// What is known of a model. Every list may be empty; its section is then left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelCard {
    /// The model's name.
    pub title: String,
    /// What examples call the folder, or its name on the hub; by default the title.
    pub path: Option<String>,
    /// What it is and what it was made for, in a paragraph.
    pub summary: String,
    /// As the hub calls licences: `apache-2.0`, `llama2`. That of the base model binds.
    pub license: Option<String>,
    /// The models it was made from: hub names (`owner/name`) or folders.
    pub base_models: Vec<String>,
    /// Whether the folder is a low-rank adapter, for the first of the base models.
    pub adapter: bool,
    /// Languages, as ISO 639 codes.
    pub languages: Vec<String>,
    /// What it can be found by, besides the usual tags.
    pub tags: Vec<String>,
    /// What it was trained on.
    pub data: Vec<CardData>,
    /// The recipe: setting and value.
    pub recipe: Vec<(String, String)>,
    /// Where it comes from, the nearest first.
    pub lineage: Vec<CardAncestor>,
    /// How well it does.
    pub scores: Vec<CardScore>,
    /// What it should not be used for, and what is known to go wrong.
    pub limits: Vec<String>,
    /// Programs and their versions.
    pub versions: Vec<(String, String)>,
}

/// A set of training data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CardData {
    /// Its name; with `hub` the hub's.
    pub name: String,
    /// Whether `name` is a data set on the hub.
    pub hub: bool,
    /// Question-answer pairs of it that were trained on.
    pub pairs: u64,
    /// Images they ask about.
    pub images: u64,
    /// Where it came from, in words or as an address.
    pub source: String,
    /// Digest of the records.
    pub digest: String,
}

/// A model or a run that a model comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CardAncestor {
    /// Its part: `base decoder`, `projector alignment`.
    pub part: String,
    /// Its name, folder or run.
    pub name: String,
    /// Digest of its weights or manifest.
    pub digest: String,
}

/// A measured score.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CardScore {
    /// The benchmark.
    pub benchmark: String,
    /// Which part of it.
    pub split: String,
    /// `accuracy`, ...
    pub metric: String,
    /// In the metric's unit.
    pub value: f64,
    /// Questions asked.
    pub count: u64,
    /// Baselines, intervals, settings.
    pub note: String,
}

impl ModelCard {
    /// Writes the card into a model's folder.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join("README.md");
        Ok(sample::write_atomic(&path, self.markdown().as_bytes())?)
    }

    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.title)
    }

    /// The card's text.
    pub fn markdown(&self) -> String {
        let mut out = self.front_matter();
        let line = |out: &mut String, text: &str| {
            out.push_str(text);
            out.push('\n');
        };
        line(&mut out, &format!("\n# {}\n", plain(&self.title)));
        if !self.summary.is_empty() {
            line(&mut out, &format!("{}\n", plain(&self.summary)));
        }
        out.push_str(&self.usage());
        let data = self.data.iter().map(|data| {
            vec![
                plain(&data.name),
                data.pairs.to_string(),
                data.images.to_string(),
                plain(&data.source),
                plain(&data.digest),
            ]
        });
        let columns = ["Data", "Pairs", "Images", "Source", "Digest"];
        out.push_str(&table("Trained on", &columns, data.collect()));
        let pairs = |pairs: &[(String, String)]| {
            let rows = pairs
                .iter()
                .map(|(name, value)| vec![plain(name), plain(value)]);
            rows.collect::<Vec<_>>()
        };
        out.push_str(&table("Recipe", &["Setting", "Value"], pairs(&self.recipe)));
        let lineage = self
            .lineage
            .iter()
            .map(|one| vec![plain(&one.part), plain(&one.name), plain(&one.digest)]);
        let columns = ["Part", "From", "Digest"];
        out.push_str(&table("Lineage", &columns, lineage.collect()));
        let scores = self.scores.iter().map(|score| {
            vec![
                plain(&score.benchmark),
                plain(&score.split),
                plain(&score.metric),
                format!("{:.2}", score.value),
                score.count.to_string(),
                plain(&score.note),
            ]
        });
        let columns = ["Benchmark", "Split", "Metric", "Score", "Questions", "Note"];
        out.push_str(&table("Scores", &columns, scores.collect()));
        if !self.limits.is_empty() {
            line(&mut out, "## Limits\n");
            for limit in &self.limits {
                line(&mut out, &format!("- {}", plain(limit)));
            }
            out.push('\n');
        }
        let versions = pairs(&self.versions);
        out.push_str(&table("Made with", &["Program", "Version"], versions));
        let end = out.trim_end().len();
        out.truncate(end);
        out + "\n"
    }

    /// The YAML that the hub reads. Every value is a quoted string or a number.
    fn front_matter(&self) -> String {
        let mut out = String::from("---\n");
        let mut list = |name: &str, values: &[&str]| {
            if !values.is_empty() {
                let _ = writeln!(out, "{name}:");
                for value in values {
                    let _ = writeln!(out, "- {}", quoted(value));
                }
            }
        };
        fn texts(values: &[String]) -> Vec<&str> {
            values.iter().map(String::as_str).collect()
        }
        // The hub refuses a card that names what cannot be one of its repositories.
        let bases = texts(&self.base_models)
            .into_iter()
            .filter(|name| is_hub_name(name));
        list("base_model", &bases.collect::<Vec<_>>());
        let data = self
            .data
            .iter()
            .filter(|data| data.hub && is_hub_name(&data.name));
        let data = data.map(|data| data.name.as_str());
        list("datasets", &data.collect::<Vec<_>>());
        list("language", &texts(&self.languages));
        let mut tags = vec!["llava", "math-llava", "multimodal"];
        tags.extend(self.adapter.then_some("lora"));
        tags.extend(texts(&self.tags));
        list("tags", &tags);
        let license = self.license.as_deref().unwrap_or("other");
        let _ = writeln!(out, "license: {}", quoted(license));
        let library = if self.adapter { "peft" } else { "transformers" };
        let _ = writeln!(out, "library_name: {}", quoted(library));
        let _ = writeln!(out, "pipeline_tag: {}", quoted("image-text-to-text"));
        let scores: Vec<&CardScore> = self.scores.iter().filter(|s| s.value.is_finite()).collect();
        if !scores.is_empty() {
            let _ = writeln!(
                out,
                "model-index:\n- name: {}\n  results:",
                quoted(&self.title)
            );
        }
        for score in scores {
            let _ = writeln!(
                out,
                "  - task:\n      type: {}\n    dataset:\n      name: {}\n      type: {}\n      \
                 split: {}\n    metrics:\n    - type: {}\n      value: {:?}",
                quoted("image-text-to-text"),
                quoted(&score.benchmark),
                quoted(&score.benchmark),
                quoted(&score.split),
                quoted(&score.metric),
                score.value,
            );
        }
        out + "---\n"
    }

    /// How to ask it something.
    fn usage(&self) -> String {
        let base = self.base_models.first().map_or("BASE", String::as_str);
        let (ask, load) = if self.adapter {
            (
                format!("--model {} --adapter {}", shell(base), shell(self.path())),
                format!(
                    "from peft import PeftModel\n\nmodel = LlavaForConditionalGeneration\
                     .from_pretrained({base}, dtype=\"auto\")\n\
                     model = PeftModel.from_pretrained(model, {title})\n\
                     processor = AutoProcessor.from_pretrained({base})\n",
                    base = quoted(base),
                    title = quoted(self.path()),
                ),
            )
        } else {
            let title = quoted(self.path());
            (
                format!("--model {}", shell(self.path())),
                format!(
                    "\nmodel = LlavaForConditionalGeneration.from_pretrained({title}, \
                     dtype=\"auto\")\nprocessor = AutoProcessor.from_pretrained({title})\n"
                ),
            )
        };
        format!(
            "## Use\n\n```sh\nmath-llava generate {ask} --image chart.png --prompt \"Which bar is \
             tallest?\"\n```\n\n```python\nfrom PIL import Image\nfrom transformers import \
             AutoProcessor, LlavaForConditionalGeneration\n{load}\
             content = [{{\"type\": \"image\"}}, {{\"type\": \"text\", \"text\": \"Which bar is \
             tallest?\"}}]\n\
             prompt = processor.apply_chat_template([{{\"role\": \"user\", \"content\": content}}], \
             add_generation_prompt=True)\n\
             inputs = processor(images=Image.open(\"chart.png\"), text=prompt, \
             return_tensors=\"pt\")\n\
             reply = model.generate(**inputs, max_new_tokens=200)\n\
             print(processor.decode(reply[0], skip_special_tokens=True))\n```\n\n"
        )
    }
}

/// A section with a table; nothing where there are no rows.
fn table(title: &str, columns: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut out = format!("## {title}\n\n| {} |\n", columns.join(" | "));
    out.push_str(&format!("|{}\n", " --- |".repeat(columns.len())));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out + "\n"
}

/// Whether the hub could have a repository of this name.
fn is_hub_name(name: &str) -> bool {
    let part = |part: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        (1..=96).contains(&part.len())
            && part.chars().all(inner)
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !part.ends_with(['-', '.'])
            && !part.contains("--")
            && !part.contains("..")
    };
    name.split_once('/')
        .is_some_and(|(owner, name)| part(owner) && part(name))
}

/// A text on one line, without control characters and what turns the direction of writing.
fn one_line(text: &str) -> String {
    let visible = |c: char| match c {
        c if c.is_whitespace() || c.is_control() => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        '\u{feff}' | '\u{fffe}' | '\u{ffff}' => ' ',
        c => c,
    };
    let text: String = text.chars().map(visible).collect();
    text.split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A text as Markdown that shows it as it is: every ASCII mark that could mean something is escaped,
/// and an address is no link.
fn plain(text: &str) -> String {
    let text = one_line(text);
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let first = at == 0 && "-+=.)".contains(c);
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '|' => out.push_str("&#124;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '~' | '$' | '>' | '@' | '#' => {
                out.push('\\');
                out.push(c);
            }
            _ if first => {
                out.push('\\');
                out.push(c);
            }
            // Before a space it is the mark of a list.
            '.' | ')'
                if text[..at].bytes().all(|b| b.is_ascii_digit())
                    && !text[at + 1..].starts_with(|next| next != ' ') =>
            {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// A double-quoted string of YAML, JSON and Python alike, of ASCII marks and letters only.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    let text = one_line(text);
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            // Would end the fence that code stands in.
            '`' => out.push_str("\\u0060"),
            ' '..='~' => out.push(c),
            c => {
                let mut units = [0; 2];
                if c as u32 > 0xffff {
                    // YAML has no surrogate pairs, and all three take a scalar as it is.
                    out.push(c);
                } else {
                    for unit in c.encode_utf16(&mut units) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
            }
        }
    }
    out + "\""
}

/// A word of a shell's command line.
fn shell(text: &str) -> String {
    let text = one_line(text).replace('`', "");
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(bare) {
        return text;
    }
    // After `./` a name is never taken for an option.
    let start = if text.starts_with('-') { "./" } else { "" };
    format!("'{start}{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> ModelCard {
        ModelCard {
            title: "math-llava-tiny".into(),
            summary: "A small one, for trials.".into(),
            license: Some("apache-2.0".into()),
            base_models: vec!["HuggingFaceTB/SmolLM2-135M".into(), "/data/my tower".into()],
            languages: vec!["en".into()],
            data: vec![CardData {
                name: "owner/figures".into(),
                hub: true,
                pairs: 9000,
                images: 1000,
                source: "drawn by this program".into(),
                digest: "ab12".into(),
            }],
            recipe: vec![("lr".into(), "2e-5".into())],
            lineage: vec![CardAncestor {
                part: "base decoder".into(),
                name: "smollm2".into(),
                digest: "cd34".into(),
            }],
            scores: vec![CardScore {
                benchmark: "figureqa".into(),
                split: "held out".into(),
                metric: "accuracy".into(),
                value: 61.25,
                count: 400,
                note: "majority 50.0".into(),
            }],
            limits: vec!["English only".into()],
            versions: vec![("math-llava".into(), "0.1.0".into())],
            ..ModelCard::default()
        }
    }

    /// What would harm a front matter, a table, a paragraph or a block of code.
    const HOSTILE: &str = "x\n---\nlicense: evil\n| a | b |\n```\n<script>alert(1)</script> \
                           [l](javascript:x) ![i](http://a/b) *b* \u{202e}\u{0}\u{85}\u{2028}\"'`\\ : # 😀é";

    fn hostile() -> ModelCard {
        let text = || HOSTILE.to_owned();
        ModelCard {
            title: text(),
            path: Some(text()),
            summary: text(),
            license: Some(text()),
            base_models: vec![text(), "../../x".into(), "a/b".into()],
            adapter: true,
            languages: vec![text()],
            tags: vec![text()],
            data: vec![CardData {
                name: text(),
                hub: true,
                source: text(),
                digest: text(),
                ..CardData::default()
            }],
            recipe: vec![(text(), text())],
            lineage: vec![CardAncestor {
                part: text(),
                name: text(),
                digest: text(),
            }],
            scores: vec![
                CardScore {
                    benchmark: text(),
                    split: text(),
                    metric: text(),
                    value: f64::NAN,
                    count: 0,
                    note: text(),
                },
                CardScore {
                    benchmark: text(),
                    value: 1.0,
                    ..CardScore::default()
                },
            ],
            limits: vec![text()],
            versions: vec![(text(), text())],
        }
    }

    /// The front matter's lines and the rest.
    fn parts(text: &str) -> (Vec<&str>, &str) {
        let rest = text.strip_prefix("---\n").unwrap();
        let (front, rest) = rest.split_once("\n---\n").unwrap();
        (front.lines().collect(), rest)
    }

    /// The scalar of a line of the front matter, where it has one.
    fn scalar(line: &str) -> Option<serde_json::Value> {
        let bare = line.trim_start().trim_start_matches("- ");
        let value = match bare.split_once(": ") {
            Some((key, value))
                if key
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b"_-".contains(&b)) =>
            {
                value
            }
            _ if bare.ends_with(':') => return None,
            _ => bare,
        };
        Some(serde_json::from_str(value).unwrap_or_else(|e| panic!("{line}: {e}")))
    }

    #[test]
    fn a_card_says_all_that_is_known() {
        let text = card().markdown();
        let (front, body) = parts(&text);
        for line in [
            "base_model:",
            "- \"HuggingFaceTB/SmolLM2-135M\"",
            "- \"owner/figures\"",
            "license: \"apache-2.0\"",
            "library_name: \"transformers\"",
            "pipeline_tag: \"image-text-to-text\"",
            "      value: 61.25",
        ] {
            assert!(front.contains(&line), "{line} is not in {front:#?}");
        }
        // A folder is no repository of the hub.
        assert!(!front.iter().any(|line| line.contains("my tower")));
        for part in [
            "# math-llava-tiny\n",
            "A small one, for trials.\n",
            "math-llava generate --model math-llava-tiny --image",
            "from_pretrained(\"math-llava-tiny\", dtype=\"auto\")",
            "| owner/figures | 9000 | 1000 | drawn by this program | ab12 |\n",
            "| lr | 2e-5 |\n",
            "| base decoder | smollm2 | cd34 |\n",
            "| figureqa | held out | accuracy | 61.25 | 400 | majority 50.0 |\n",
            "- English only\n",
            "| math-llava | 0.1.0 |\n",
        ] {
            assert!(body.contains(part), "{part} is not in {body}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_section() {
        let text = ModelCard {
            title: "x".into(),
            ..ModelCard::default()
        }
        .markdown();
        let sections: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(sections, ["# x", "## Use"]);
        assert!(text.contains("license: \"other\"") && !text.contains("model-index"));
    }

    #[test]
    fn no_text_is_a_field_a_row_a_link_or_the_end_of_code() {
        let text = hostile().markdown();
        let (front, body) = parts(&text);
        let wanted = one_line(HOSTILE);
        let texts: Vec<serde_json::Value> = front.iter().filter_map(|line| scalar(line)).collect();
        let same = texts.iter().filter(|value| **value == wanted.as_str());
        // Language, tag, licence, the index's name and a benchmark's two.
        assert_eq!(same.count(), 6, "{front:#?}");
        let keys: Vec<&str> = front
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(k, _)| k)
            .collect();
        assert_eq!(keys.iter().filter(|key| **key == "license").count(), 1);
        let bases: Vec<&&str> = front
            .iter()
            .skip_while(|l| **l != "base_model:")
            .skip(1)
            .collect();
        assert_eq!((*bases[0], *bases[1]), ("- \"a/b\"", "language:"));
        // Every table has rows of as many cells as its head.
        let (mut cells, mut code) = (0, false);
        for line in body.lines() {
            code ^= line.starts_with("```");
            let count = line.matches('|').count();
            match line.starts_with('|') {
                _ if code => {}
                true if cells == 0 => cells = count,
                true => assert_eq!(count, cells, "{line}"),
                false => {
                    assert_eq!(count, 0, "{line}");
                    cells = 0;
                }
            }
        }
        let fences = body.lines().filter(|line| line.starts_with("```"));
        assert_eq!(
            fences.collect::<Vec<_>>(),
            ["```sh", "```", "```python", "```"]
        );
        // What is escaped aside, nothing outside the code means anything.
        let outside: String = body.split("```").step_by(2).collect();
        let outside = outside.replace("\\]", "").replace("\\!", "");
        for mark in ["<script", "\n---", "](", "![", "\u{202e}", "\u{0}"] {
            assert!(!outside.contains(mark), "{mark:?} in {outside}");
        }
        assert!(!body.contains("\n---") && !body.contains("\nlicense"));
    }

    #[test]
    fn words_of_a_shell_stay_one_word() {
        for (text, expected) in [
            ("runs/a-b_1.0", "runs/a-b_1.0"),
            ("a b", "'a b'"),
            ("it's $(x)", "'it'\\''s $(x)'"),
            ("--force", "'./--force'"),
            ("", "''"),
        ] {
            assert_eq!(shell(text), expected);
        }
    }

    #[test]
    fn what_would_begin_a_list_or_a_heading_does_not_and_numbers_stay_as_they_are() {
        for (text, expected) in [
            ("1. one", r"1\. one"),
            ("12)", r"12\)"),
            ("0.1.0", "0.1.0"),
            ("2e-5", "2e-5"),
            ("- x", r"\- x"),
            ("# x", r"\# x"),
            ("a_b*", r"a\_b\*"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn names_of_the_hub_are_an_owner_and_a_name() {
        for (name, is) in [
            ("llava-hf/llava-1.5-7b-hf", true),
            ("gpt2", false),
            ("/data/x", false),
            ("../../x", false),
            ("a/b/c", false),
            ("a/.b", false),
            ("a/b--c", false),
        ] {
            assert_eq!(is_hub_name(name), is, "{name}");
        }
    }

    /// With the Python that `MATH_LLAVA_PYTHON` names, as the hub's own library reads it.
    #[test]
    fn the_hubs_library_reads_the_front_matter() {
        let Some(python) = std::env::var_os("MATH_LLAVA_PYTHON") else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let read = "import sys, json\nfrom huggingface_hub import ModelCard\n\
                    print(json.dumps(ModelCard.load(sys.argv[1]).data.to_dict()))";
        for (card, bases) in [(card(), "HuggingFaceTB/SmolLM2-135M"), (hostile(), "a/b")] {
            card.write(dir.path()).unwrap();
            let done = std::process::Command::new(&python)
                .args(["-c", read])
                .arg(dir.path().join("README.md"))
                .output()
                .unwrap();
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
            let data: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
            let license = one_line(card.license.as_deref().unwrap());
            assert_eq!(data["license"], license.as_str());
            let base = data["base_model"]
                .as_str()
                .or(data["base_model"][0].as_str());
            assert_eq!(base, Some(bases));
            assert_eq!(
                data["model-index"][0]["name"],
                one_line(&card.title).as_str()
            );
        }
    }
}
