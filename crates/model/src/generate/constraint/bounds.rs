//! What a schema may hold before anybody compiles it.
//!
//! llguidance bounds the grammar that comes out. Before that, options are multiplied with what stands
//! beside them, and patterns are compared with each other; what these may come to is bounded here.

use serde_json::Value;

/// Characters of all texts and names. OpenAI allows 120,000.
const MOST_TEXT: usize = 64 << 10;
/// Values in all, down to single numbers.
const MOST_VALUES: usize = 10_000;
/// Levels of objects and arrays within each other; a property is two.
const MOST_LEVELS: usize = 64;
/// Copies of values that multiplying options with what stands beside them may make.
const MOST_COPIES: usize = 1_000_000;
/// Comparisons of patterns for property names, each of which may take a millisecond.
const MOST_COMPARISONS: usize = 1_000;

/// Lists of schemas that hold together with what stands beside them.
const OPTIONS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// What a schema holds.
#[derive(Default)]
struct Counts {
    text: usize,
    values: usize,
    options: usize,
    references: usize,
    name_patterns: usize,
}

/// Refuses a schema that holds too much, or leads out of itself.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let mut counts = Counts::default();
    let mut open = vec![(schema, 1)];
    while let Some((value, level)) = open.pop() {
        counts.values += 1;
        if level > MOST_LEVELS {
            return Err(format!("it is more than {MOST_LEVELS} levels deep"));
        }
        match value {
            Value::String(text) => counts.text += text.len(),
            Value::Array(list) => open.extend(list.iter().map(|value| (value, level + 1))),
            Value::Object(fields) => {
                for (name, value) in fields {
                    counts.text += name.len();
                    counts.keyword(name, value)?;
                    open.push((value, level + 1));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    counts.check()
}

impl Counts {
    /// Counts what makes work. A property may have a keyword's name; it is counted all the same.
    fn keyword(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match value {
            Value::Array(list) if OPTIONS.contains(&name) => self.options += list.len(),
            Value::Object(list) if name == "patternProperties" => self.name_patterns += list.len(),
            Value::String(to) if matches!(name, "$ref" | "$dynamicRef" | "$recursiveRef") => {
                self.references += 1;
                if !to.starts_with('#') {
                    let to: String = to.chars().take(80).collect();
                    return Err(format!(
                        "its {name} {to:?} leads out of it, and nothing is fetched: put what it \
                         refers to under $defs, and refer to that by #/$defs/NAME"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let copies = self.values.saturating_mul(self.options);
        let pairs = self.name_patterns.saturating_mul(self.name_patterns);
        let comparisons = pairs.saturating_mul(1 + self.options + self.references);
        for (found, most, what) in [
            (self.text, MOST_TEXT, "bytes of names and texts"),
            (self.values, MOST_VALUES, "values"),
            (
                copies,
                MOST_COPIES,
                "values times options (allOf, anyOf, oneOf)",
            ),
            (
                comparisons,
                MOST_COMPARISONS,
                "comparisons of its patternProperties",
            ),
        ] {
            if found > most {
                return Err(format!("it has {found} {what}, and {most} is the most"));
            }
        }
        Ok(())
    }
}
