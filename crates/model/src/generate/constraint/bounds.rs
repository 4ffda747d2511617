//! What a schema may hold before anybody compiles it.
//!
//! llguidance bounds the grammar that comes out. On the way there it multiplies options with what
//! stands beside them, compares patterns of names with each other, and takes the derivative of patterns
//! that hold together as the product of theirs, in one step that no bound interrupts: of forty plain
//! patterns that took gigabytes. What these may come to is bounded here, from the text alone.

use serde_json::{Map, Value};

/// Bytes of all texts and names. OpenAI allows 120,000 characters.
const MOST_TEXT: usize = 64 << 10;
/// Values in all, down to single numbers.
const MOST_VALUES: usize = 10_000;
/// Levels of objects and arrays within each other; a property is two.
const MOST_LEVELS: usize = 64;
/// Copies of values that multiplying options with what stands beside them may make.
const MOST_COPIES: usize = 200_000;
/// Comparisons of patterns for property names, each of which may take a millisecond.
const MOST_COMPARISONS: usize = 1_000;
/// Patterns and formats, each of which is tried for a millisecond or less.
const MOST_PATTERNS: usize = 200;
/// Patterns and formats where parts of the schema hold together: then any of them may meet.
const MOST_MEETING: usize = 2;
/// The largest `multipleOf`, its decimal point left out: numbers are told by their remainders, each of
/// which is a state, and above some ten million the arithmetic overflows.
const MOST_REMAINDERS: f64 = 10_000.0;
/// Bytes of a pattern.
const LONGEST_PATTERN: usize = 1_000;

/// Keywords whose schemas or values hold together with what stands beside them.
const APPLIED: [&str; 5] = ["anyOf", "oneOf", "$ref", "enum", "const"];
/// Keywords that may bring a pattern along, by themselves or further down.
const CARRIERS: [&str; 8] = [
    "pattern",
    "format",
    "properties",
    "additionalProperties",
    "items",
    "additionalItems",
    "prefixItems",
    "patternProperties",
];

/// What a schema holds.
#[derive(Default)]
struct Counts {
    text: usize,
    values: usize,
    options: usize,
    chosen: usize,
    references: usize,
    name_patterns: usize,
    patterns: usize,
    multiples: usize,
    /// Whether parts hold together somewhere.
    meeting: bool,
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
                counts.meeting |= holds_together(fields);
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

/// Whether a value must obey several parts of this object at once.
fn holds_together(fields: &Map<String, Value>) -> bool {
    let all_of = fields.get("allOf").and_then(Value::as_array);
    let applied = APPLIED.iter().filter(|name| fields.contains_key(**name));
    let carries = CARRIERS.iter().any(|name| fields.contains_key(*name));
    let parts = all_of.map_or(0, Vec::len) + applied.count() + usize::from(carries);
    parts > 1 || fields.contains_key("patternProperties")
}

impl Counts {
    /// Counts what makes work. A property may have a keyword's name; it is counted all the same.
    fn keyword(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match (name, value) {
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => self.options += list.len(),
            ("enum", Value::Array(list)) => self.chosen += list.len(),
            ("patternProperties", Value::Object(list)) => {
                self.name_patterns += list.len();
                list.keys().try_for_each(|pattern| short(pattern))?;
            }
            ("pattern", Value::String(pattern)) => {
                self.patterns += 1;
                short(pattern)?;
            }
            ("format", Value::String(_)) => self.patterns += 1,
            ("multipleOf", Value::Number(number)) => {
                self.multiples += 1;
                if !number.as_f64().is_some_and(has_few_remainders) {
                    return Err(format!(
                        "its multipleOf is {number}, and above 0 up to {MOST_REMAINDERS} without its \
                         decimal point is what can be told"
                    ));
                }
            }
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to)) => {
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
        let (meeting, multiples, tried) = match self.meeting {
            true => {
                let beside = 1 + self.options + self.chosen + self.references;
                let tried = self.patterns.saturating_mul(beside);
                (self.patterns, self.multiples, tried)
            }
            false => (0, 0, self.patterns),
        };
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
            (
                meeting,
                MOST_MEETING,
                "patterns and formats while parts of it hold together (as under allOf, or beside \
                 anyOf and $ref)",
            ),
            (multiples, 1, "multipleOf while parts of it hold together"),
            (
                tried,
                MOST_PATTERNS,
                "patterns and formats, times what each is beside",
            ),
        ] {
            if found > most {
                return Err(format!("it has {found} {what}, and {most} is the most"));
            }
        }
        Ok(())
    }
}

fn has_few_remainders(number: f64) -> bool {
    let mut whole = number;
    // As llguidance counts digits; what no decimal is grows until it is too large.
    while whole.fract() != 0.0 && whole <= MOST_REMAINDERS {
        whole *= 10.0;
    }
    number >= 1e-6 && whole <= MOST_REMAINDERS
}

fn short(pattern: &str) -> Result<(), String> {
    if pattern.len() <= LONGEST_PATTERN {
        return Ok(());
    }
    let begin: String = pattern.chars().take(40).collect();
    Err(format!(
        "its pattern {begin:?}... has {} bytes, and {LONGEST_PATTERN} is the most",
        pattern.len()
    ))
}
