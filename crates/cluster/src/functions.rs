//! The functions that processes of a cluster know, as DataFusion calls them.
//!
//! A [`Function`] of the stages becomes `NAME(arguments, item)`, both text, giving bytes; those of `select`
//! are what they are. Everything that crosses the network names its version ([`crate::versions`]).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, LargeBinaryBuilder, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use sample::workers::Function;

/// Begins what a function says is wrong with all its items, so that it is told apart from a machine that died.
pub(crate) const SAYS: &str = "math-llava function ";

/// What a process knows, and of which version it is.
#[derive(Debug, Clone)]
pub struct Functions {
    version: String,
    known: Arc<BTreeMap<String, (Arc<ScalarUDF>, u32)>>,
}

impl Functions {
    /// Those of the stages, beside those of `select`; `version` is the toolkit's.
    pub fn new(version: &str, functions: Vec<Arc<dyn Function>>) -> Functions {
        let mut known = BTreeMap::new();
        for (function, number) in select::functions::all() {
            known.insert(function.name().to_owned(), (Arc::new(function), number));
        }
        for function in functions {
            let number = function.version();
            let wrapped = Arc::new(ScalarUDF::from(Call::new(function)));
            known.insert(wrapped.name().to_owned(), (wrapped, number));
        }
        Functions {
            version: version.to_owned(),
            known: Arc::new(known),
        }
    }

    /// The toolkit's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What they are called.
    pub fn names(&self) -> Vec<&str> {
        self.known.keys().map(String::as_str).collect()
    }

    /// A function and its version.
    pub(crate) fn get(&self, name: &str) -> Option<(&Arc<ScalarUDF>, u32)> {
        self.known
            .get(name)
            .map(|(function, number)| (function, *number))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<ScalarUDF>, u32)> {
        self.known
            .values()
            .map(|(function, number)| (function, *number))
    }
}

/// What a function said, in a message that others wrapped, and quoted some times over.
pub(crate) fn said(message: &str) -> Option<String> {
    let (name, rest) = message.split_once(SAYS)?.1.split_once(": «")?;
    let (why, _) = rest.split_once('»')?;
    Some(format!("{SAYS}{name}: {}", why.replace('\\', "")))
}

struct Call {
    function: Arc<dyn Function>,
    signature: Signature,
}

impl Call {
    fn new(function: Arc<dyn Function>) -> Call {
        // Volatile: its value for a file is not to be found out while a plan is made, by the scheduler.
        let signature = Signature::any(2, Volatility::Volatile);
        Call {
            function,
            signature,
        }
    }

    fn run(&self, arguments: &str, items: &[&str]) -> Result<Vec<Vec<u8>>> {
        let name = self.function.name();
        let results = self.function.call(arguments, items);
        match results {
            Ok(results) if results.len() == items.len() => Ok(results),
            Ok(results) => exec_err!(
                "{SAYS}{name}: «{} results for {} items»",
                results.len(),
                items.len()
            ),
            Err(why) => exec_err!("{SAYS}{name}: «{}»", why.replace('»', "\"")),
        }
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.function.name(), self.function.version())
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Call) -> bool {
        self.function.name() == other.function.name()
            && self.function.version() == other.function.version()
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
        self.function.version().hash(state);
    }
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let text = |of: &DataType| {
            matches!(
                of,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
            )
        };
        if arguments.len() != 2 || !arguments.iter().all(text) {
            return plan_err!("{}(arguments, item) takes two texts", self.name());
        }
        Ok(DataType::LargeBinary)
    }

    fn invoke_with_args(&self, given: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [arguments, items] = given.args.as_slice() else {
            return exec_err!("{}(arguments, item) takes two texts", self.name());
        };
        let items = text(&items.to_array(given.number_rows)?)?;
        let arguments = match arguments {
            // A stage gives the same for all items, so they are called together.
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(arguments))) => {
                Arguments::One(arguments.clone())
            }
            other => Arguments::Each(text(&other.to_array(given.number_rows)?)?),
        };
        Ok(ColumnarValue::Array(self.each(&arguments, &items)?))
    }
}

enum Arguments {
    One(String),
    Each(StringArray),
}

impl Arguments {
    fn at(&self, row: usize) -> Option<&str> {
        match self {
            Arguments::One(arguments) => Some(arguments),
            Arguments::Each(arguments) => arguments.is_valid(row).then(|| arguments.value(row)),
        }
    }
}

impl Call {
    /// Calls the function once for each run of rows with the same arguments; a row without item or arguments
    /// has no result.
    fn each(&self, arguments: &Arguments, items: &StringArray) -> Result<ArrayRef> {
        let mut results = LargeBinaryBuilder::new();
        let mut row = 0;
        while row < items.len() {
            let shared = arguments.at(row);
            let end = (row..items.len())
                .find(|&next| arguments.at(next) != shared)
                .unwrap_or(items.len());
            let present: Vec<&str> = (row..end)
                .filter(|&at| items.is_valid(at))
                .map(|at| items.value(at))
                .collect();
            let mut called = match shared {
                Some(shared) if !present.is_empty() => self.run(shared, &present)?.into_iter(),
                _ => Vec::new().into_iter(),
            };
            for at in row..end {
                let bytes = items.is_valid(at).then(|| called.next()).flatten();
                results.append_option(bytes);
            }
            row = end;
        }
        Ok(Arc::new(results.finish()))
    }
}

fn text(array: &ArrayRef) -> Result<StringArray> {
    Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().clone())
}
