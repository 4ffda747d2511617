//! Rendering of chat templates as transformers renders them.
//!
//! transformers runs them through Jinja2 with trimmed blocks, Python's string methods, its own
//! `tojson` (which escapes nothing for HTML), `raise_exception`, `strftime_now`, and a
//! `{% generation %}` block that only marks the reply.
//!
//! A template is a program from the folder's author. Its steps, its output and its nesting are
//! bounded, and it sees nothing but the conversation. What is not bounded is the memory of strings
//! it builds without writing them out.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, ErrorKind};

use crate::Error;

/// Published templates have a few kilobytes.
pub(super) const MAX_SOURCE: usize = 1 << 20;
/// Steps of one rendering: a thousand turns take a tenth of it.
const FUEL: u64 = 2_000_000;
/// What a template may write besides the conversation itself.
const MAX_OUTPUT: usize = 16 << 20;
/// Values that a template nests as deeply as its steps allow are printed and dropped by recursion.
const STACK: usize = 256 << 20;

/// What a template is given.
pub(super) struct Context<'a> {
    pub messages: &'a [Message],
    pub bos: Option<String>,
    pub eos: Option<String>,
    pub reply_follows: bool,
}

/// One turn as templates see it.
pub(super) struct Message {
    pub role: &'static str,
    pub content: Content,
}

/// What is said: text alone, or a list of parts in which `None` is an image.
pub(super) enum Content {
    Text(String),
    Parts(Vec<Option<String>>),
}

impl Message {
    fn value(&self) -> Value {
        let content = match &self.content {
            Content::Text(text) => Value::from(text.as_str()),
            Content::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    None => minijinja::context! { type => "image" },
                    Some(text) => minijinja::context! { type => "text", text => text },
                })
                .collect(),
        };
        minijinja::context! { role => self.role, content => content }
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Text(text) => text.len(),
            Content::Parts(parts) => parts.iter().flatten().map(String::len).sum(),
        }
    }
}

/// Renders a template.
pub(super) fn render(source: &str, context: &Context) -> Result<String, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Config(format!("chat template: {e}"));
    if source.len() > MAX_SOURCE {
        return Err(failed(&format!("{} bytes: not a template", source.len())));
    }
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("chat template".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || render_here(source, context))
            .map_err(|e| failed(&e))?
            .join()
            .map_err(|_| failed(&"cannot be rendered"))?
            .map_err(|e| failed(&described(&e)))
    })
}

fn described(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "takes too many steps".to_owned(),
        (ErrorKind::WriteFailure, _) => "writes too much".to_owned(),
        (_, Some(detail)) => match error.line() {
            Some(line) => format!("line {line}: {detail}"),
            None => detail.to_owned(),
        },
        _ => error.to_string(),
    }
}

fn render_here(source: &str, context: &Context) -> Result<String, minijinja::Error> {
    let source = without_generation_blocks(source);
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    let _ = syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        date(&format, now.map_or(0, |since| since.as_secs()))
    });
    let messages: Vec<Value> = context.messages.iter().map(Message::value).collect();
    let token = |token: &Option<String>| match token {
        Some(token) => Value::from(token.as_str()),
        None => Value::UNDEFINED,
    };
    let variables = minijinja::context! {
        messages => messages,
        bos_token => token(&context.bos),
        eos_token => token(&context.eos),
        add_generation_prompt => context.reply_follows,
        tools => (),
        documents => (),
    };
    let conversation: usize = context.messages.iter().map(Message::bytes).sum();
    let mut out = Limited {
        bytes: Vec::new(),
        most: MAX_OUTPUT + 2 * conversation,
    };
    let template = environment.template_from_str(&source)?;
    drop(template.render_captured_to(variables, &mut out)?);
    String::from_utf8(out.bytes)
        .map_err(|e| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string()))
}

/// A buffer that refuses to grow without end.
struct Limited {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            return Err(io::Error::other("writes too much"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// transformers' own block, which writes what is in it, as a block that Jinja has.
fn without_generation_blocks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, block) = rest.split_at(start);
        out.push_str(before);
        let end = block.find("%}").map_or(block.len(), |end| end + 2);
        let (block, after) = block.split_at(end);
        let word = block.trim_matches(|c: char| "{%-+}".contains(c) || c.is_whitespace());
        match word {
            "generation" => out.push_str(&block.replace("generation", "if true")),
            "endgeneration" => out.push_str(&block.replace("endgeneration", "endif")),
            _ => out.push_str(block),
        }
        rest = after;
    }
    out + rest
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`.
fn to_json(value: &Value, options: Kwargs) -> Result<String, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    // transformers' other options leave a template's text as it is in all published ones.
    for option in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(option)?;
    }
    options.assert_all_used()?;
    let mut out = String::new();
    write_json(value, indent.map(|indent| indent.min(16)), 0, &mut out)?;
    Ok(out)
}

fn write_json(
    value: &Value,
    indent: Option<usize>,
    depth: usize,
    out: &mut String,
) -> Result<(), minijinja::Error> {
    let invalid = |detail: &str| {
        Err(minijinja::Error::new(
            ErrorKind::BadSerialization,
            detail.to_owned(),
        ))
    };
    // With an indent the text grows with the square of the depth.
    if depth > 64 {
        return invalid("tojson: nested too deeply");
    }
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&value.to_string()),
        ValueKind::String => out.push_str(&quoted(value.as_str().unwrap_or_default())),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => {
            let map = value.kind() == ValueKind::Map;
            let (open, close) = if map { ('{', '}') } else { ('[', ']') };
            out.push(open);
            let mut empty = true;
            for item in value.try_iter()? {
                if !empty {
                    out.push_str(comma);
                }
                empty = false;
                line(depth + 1, out);
                if map {
                    out.push_str(&quoted(&item.to_string()));
                    out.push_str(": ");
                    write_json(&value.get_item(&item)?, indent, depth + 1, out)?;
                } else {
                    write_json(&item, indent, depth + 1, out)?;
                }
            }
            if !empty {
                line(depth, out);
            }
            out.push(close);
        }
        _ => return invalid("tojson: not a value that JSON has"),
    }
    Ok(())
}

/// Python's `strftime` for the fields that templates use, of seconds since 1970 in UTC.
pub(super) fn date(format: &str, seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // The Gregorian calendar repeats every 400 years of 146,097 days.
    let (mut year, mut day) = (1970 + days / 146_097 * 400, days % 146_097);
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if day < length {
            break;
        }
        day -= length;
        year += 1;
    }
    let mut month = 0;
    for length in [
        31,
        if leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let month_name = MONTHS.get(month).copied().unwrap_or_default();
    let day_name = DAYS[(days % 7) as usize];
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str(&format!("{:02}", day + 1)),
            Some('m') => out.push_str(&format!("{:02}", month + 1)),
            Some('Y') => out.push_str(&year.to_string()),
            Some('y') => out.push_str(&format!("{:02}", year % 100)),
            Some('B') => out.push_str(month_name),
            Some('b') => out.push_str(&month_name[..month_name.len().min(3)]),
            Some('A') => out.push_str(day_name),
            Some('a') => out.push_str(&day_name[..3]),
            Some('H') => out.push_str(&format!("{:02}", second / 3600)),
            Some('M') => out.push_str(&format!("{:02}", second / 60 % 60)),
            Some('S') => out.push_str(&format!("{:02}", second % 60)),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}
