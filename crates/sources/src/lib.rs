//! Where samples come from: adapters for published data sets, and figures drawn here.
//!
//! A published data set is one file under [`adapters`], which reads the layout its authors publish
//! and hands over one [`adapters::Record`] after the other; [`import()`] checks each row's image and
//! writes the stage's tables. [`figures`] draws its own data set, whose answers are exact by
//! construction. A row that cannot be used becomes a reject with a reason, and never stops the
//! rows after it.

pub mod adapters;
mod choices;
pub mod figures;
mod headers;
mod import;
mod pictures;
pub mod programs;
pub mod rows;
pub mod tree;

use std::path::PathBuf;

pub use adapters::{About, SOURCES, Source, find_folder, find_source};
pub use headers::ReadPicture;
pub use import::{ImportOptions, import, import_with};

/// What can go wrong with a whole source; single rows become rejects instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Records, tables, manifests, or the operating system.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// The folder does not hold the data set it is said to hold.
    #[error("{root} does not look like {title}: looked for {looked_for}; found {found}. {hint}")]
    WrongFolder {
        /// The folder that was given.
        root: PathBuf,
        /// The data set's title.
        title: String,
        /// The files whose presence makes the data set known.
        looked_for: String,
        /// The first names in the folder.
        found: String,
        /// What to do about it.
        hint: String,
    },
    /// A split was asked for that is not there.
    #[error("{root} has no split {wanted:?} of {title}; it has {found}")]
    NoSplit {
        /// The folder that was given.
        root: PathBuf,
        /// The data set's title.
        title: String,
        /// What was asked for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// No source has this name.
    #[error("there is no source {name:?}; the sources are {known}")]
    UnknownSource {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A file that stops being of its format part of the way through, or from the start.
    #[error(
        "{path}: not the format it should be, after {rows} rows: {detail}. Is the file cut short or \
         of another data set? Download or unpack it again"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// How many rows came before.
        rows: u64,
        /// The parser's words, with line and column.
        detail: String,
    },
    /// A pickle that names what is not data. Python's own reader would have called it.
    #[error(
        "{path}: the pickle names {name}, which is not built; refused. Only plain data and numpy's \
         arrays are read: get the file from the data set's authors again, and do not open this \
         one in Python"
    )]
    Refused {
        /// The file.
        path: PathBuf,
        /// The name, `module.function`.
        name: String,
    },
    /// A setting that cannot be right.
    #[error("{0}")]
    Config(String),
}
