//! What the plans compute that SQL has no word for, as functions that any session can register.
//!
//! | function | gives |
//! | --- | --- |
//! | `seeded_rank(seed, kind, name)` | the 64 random bits that this record draws: [`seed::derive`] |
//! | `asked(question, choices, unit)` | what makes two questions about one image the same |
//! | `text_key(number, text)` | 64 bits of a hash, to find what may be equal; not to prove it |
//!
//! They depend on their arguments alone, so a plan gives the same wherever its parts run.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, UInt64Type};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use sample::seed;

/// All of them, with a number that is raised when one comes to give other values.
pub fn all() -> Vec<(ScalarUDF, u32)> {
    [Kind::SeededRank, Kind::Asked, Kind::TextKey]
        .map(|kind| (ScalarUDF::from(Function::new(kind)), 1))
        .into()
}

/// Makes the functions known to a session.
pub fn register(context: &SessionContext) {
    for (function, _) in all() {
        context.register_udf(function);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    SeededRank,
    Asked,
    TextKey,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    kind: Kind,
    signature: Signature,
}

impl Function {
    fn new(kind: Kind) -> Function {
        let arguments = match kind {
            Kind::SeededRank | Kind::Asked => 3,
            Kind::TextKey => 2,
        };
        // Any text will do, however a plan holds it; it is cast below.
        let signature = Signature::any(arguments, Volatility::Immutable);
        Function { kind, signature }
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.kind {
            Kind::SeededRank => "seeded_rank",
            Kind::Asked => "asked",
            Kind::TextKey => "text_key",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::SeededRank | Kind::TextKey => DataType::UInt64,
            Kind::Asked => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let result = match (self.kind, arrays.as_slice()) {
            (Kind::SeededRank, [seed, kind, name]) => seeded_rank(seed, kind, name)?,
            (Kind::Asked, [question, choices, unit]) => asked(question, choices, unit)?,
            (Kind::TextKey, [number, text]) => text_key(number, text)?,
            _ => return exec_err!("{}: wrong number of arguments", self.name()),
        };
        Ok(ColumnarValue::Array(result))
    }
}

fn seeded_rank(seeds: &ArrayRef, kinds: &ArrayRef, names: &ArrayRef) -> Result<ArrayRef> {
    let seeds = cast(seeds, &DataType::UInt64)?;
    let (kinds, names) = (cast(kinds, &DataType::Utf8)?, cast(names, &DataType::Utf8)?);
    let seeds = seeds.as_primitive::<UInt64Type>().iter();
    let ranks = seeds
        .zip(kinds.as_string::<i32>())
        .zip(names.as_string::<i32>())
        .map(|((seed, kind), name)| Some(seed::derive(seed?, &[kind?, name?])));
    Ok(Arc::new(ranks.collect::<UInt64Array>()))
}

/// Between the parts of a question: the control character made for it, which no source prints.
const BETWEEN: char = '\u{1f}';

/// Words without their case and spacing, then the choices, then the unit.
fn asked(questions: &ArrayRef, choices: &ArrayRef, units: &ArrayRef) -> Result<ArrayRef> {
    let (questions, units) = (
        cast(questions, &DataType::Utf8)?,
        cast(units, &DataType::Utf8)?,
    );
    let Some(choices) = choices.as_list_opt::<i32>() else {
        return exec_err!("asked: choices must be a list of text");
    };
    let options = cast(choices.values(), &DataType::Utf8)?;
    let (questions, units, options) = (
        questions.as_string::<i32>(),
        units.as_string::<i32>(),
        options.as_string::<i32>(),
    );
    let mut result = StringBuilder::with_capacity(questions.len(), questions.value_data().len());
    let mut text = String::new();
    for row in 0..questions.len() {
        if questions.is_null(row) {
            result.append_null();
            continue;
        }
        text.clear();
        for (i, word) in questions.value(row).split_whitespace().enumerate() {
            if i > 0 {
                text.push(' ');
            }
            if word.is_ascii() {
                text.extend(word.chars().map(|c| c.to_ascii_lowercase()));
            } else {
                text.push_str(&word.to_lowercase());
            }
        }
        if choices.is_valid(row) {
            let offsets = choices.value_offsets();
            for option in offsets[row]..offsets[row + 1] {
                text.push(BETWEEN);
                text.push_str(options.value(option as usize));
            }
        }
        if units.is_valid(row) {
            text.extend([BETWEEN, BETWEEN]);
            text.push_str(units.value(row));
        }
        result.append_value(&text);
    }
    Ok(Arc::new(result.finish()))
}

fn text_key(numbers: &ArrayRef, texts: &ArrayRef) -> Result<ArrayRef> {
    let numbers = cast(numbers, &DataType::UInt64)?;
    let texts = cast(texts, &DataType::Utf8)?;
    let numbers = numbers.as_primitive::<UInt64Type>().iter();
    let keys = numbers.zip(texts.as_string::<i32>()).map(|(number, text)| {
        let mut hash = DefaultHasher::new();
        (number?, text?).hash(&mut hash);
        Some(hash.finish())
    });
    Ok(Arc::new(keys.collect::<UInt64Array>()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListBuilder, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn text(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<StringArray>())
    }

    fn key_of(question: &str, choices: &[&str], unit: Option<&str>) -> String {
        let mut list = ListBuilder::new(StringBuilder::new());
        choices.iter().for_each(|c| list.values().append_value(c));
        list.append(true);
        let choices: ArrayRef = Arc::new(list.finish());
        let result = asked(&text(&[Some(question)]), &choices, &text(&[unit])).unwrap();
        result.as_string::<i32>().value(0).to_owned()
    }

    #[test]
    fn ranks_are_those_of_the_seed_and_follow_each_argument() {
        let seeds: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 7, 7]));
        let ranks = seeded_rank(
            &seeds,
            &text(&[Some("select"), Some("select"), None]),
            &text(&[Some("a"), Some("b"), Some("c")]),
        )
        .unwrap();
        let expected = [
            Some(seed::derive(u64::MAX, &["select", "a"])),
            Some(seed::derive(7, &["select", "b"])),
            None,
        ];
        let ranks: Vec<Option<u64>> = ranks.as_primitive::<UInt64Type>().iter().collect();
        assert_eq!(ranks, expected);
    }

    #[test]
    fn questions_are_the_same_up_to_case_and_spacing_and_nothing_else() {
        let same = |a: &str, b: &str| key_of(a, &[], None) == key_of(b, &[], None);
        assert!(same("How  many\tBARS?", " how many bars? "));
        assert!(same("ÄHNLICH?", "ähnlich?"));
        assert!(!same("how many bars?", "how many bars"));
        let forms = [
            key_of("q", &[], None),
            key_of("q", &["a"], None),
            key_of("q", &["A"], None),
            key_of("q", &["a", "b"], None),
            key_of("q", &["ab"], None),
            key_of("q", &[], Some("a")),
            key_of("q", &["a"], Some("b")),
        ];
        let different: std::collections::BTreeSet<_> = forms.iter().collect();
        assert_eq!(different.len(), forms.len(), "{forms:?}");
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_asked(
            question in any::<String>(),
            choices in proptest::collection::vec(any::<String>(), 0..4),
            unit in proptest::option::of(any::<String>()),
        ) {
            let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
            let once = key_of(&question, &choices, unit.as_deref());
            let spaced = format!("  {question}\n");
            prop_assert_eq!(once, key_of(&spaced, &choices, unit.as_deref()));
        }
    }
}
