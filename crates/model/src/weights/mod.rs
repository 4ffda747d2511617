//! Weights in: files of tensors, one or many, of any kind and under any of the published namings.
//!
//! A kind of file (safetensors, PyTorch's pickles, GGUF) says what tensors it has ([`TensorFile`]);
//! a naming says which of the model's tensors each of them is ([`names`]). Both meet here: first
//! everything is checked against [`crate::parameters::specification`] without reading a number
//! ([`plan`]), then tensors are read one at a time, straight into their final type
//! ([`Plan::read`]), so that peak memory is the weights' own size and little more.

mod folder;
mod mapped;
pub(crate) mod names;
mod pickle;
mod report;
mod safetensors;
mod torch_file;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

pub(crate) use folder::{open, weight_files};
pub(crate) use mapped::{Mapped, all_finite, element_count, fill, tensor_from_bytes, with_bytes};
pub use report::LoadReport;

use crate::Error;
use crate::parameters::{Parameter, initialise};

/// Tensors that get random values at a time; those are made as f32.
const INITIALISED_TOGETHER: usize = 16;

/// A tensor as its file describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TensorInfo {
    /// The file's name for it.
    pub name: String,
    pub shape: Vec<i64>,
    /// The type that [`TensorFile::read`] gives it in.
    pub kind: Kind,
}

/// One file that holds tensors. Opening has checked that every tensor lies within the file and has
/// the bytes that its shape needs.
pub(crate) trait TensorFile: Send + Sync {
    /// Where it is.
    fn path(&self) -> &Path;

    /// All tensors, in the order in which they lie in the file.
    fn tensors(&self) -> &[TensorInfo];

    /// Tensor `index`, whole, on the CPU, as type `kind`, and whether all its values are finite.
    fn read_as(&self, index: usize, kind: Kind) -> Result<(Tensor, bool), Error>;

    /// Tensor `index` without a copy, where its bytes are numbers as libtorch has them. It lies in
    /// the file's mapping: whoever asks must keep the file as long as the tensor.
    fn view(&self, _index: usize) -> Result<Option<Tensor>, Error> {
        Ok(None)
    }

    /// Says that tensor `index` will hardly be looked at again.
    fn give_back(&self, _index: usize) {}

    /// Tensor `index`, whole, on the CPU, in the type that its [`TensorInfo`] says.
    fn read(&self, index: usize) -> Result<Tensor, Error> {
        Ok(self.read_as(index, self.tensors()[index].kind)?.0)
    }
}

/// The model's name for a tensor of a file; `None` for buffers that are computed here.
pub(crate) type Rename<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A file, and how its names are understood.
pub(crate) struct Source<'a> {
    pub file: Box<dyn TensorFile>,
    pub rename: Rename<'a>,
}

/// How tensors are to be in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub device: Device,
    pub kind: Kind,
    /// Gives random values to tensors that no file has; without it they are an error.
    pub seed: Option<u64>,
}

/// What the files have for a model; nothing is read yet.
pub(crate) struct Plan<'a> {
    sources: Vec<Source<'a>>,
    specification: Vec<Parameter>,
    /// The model's name to (source, index of the tensor in it).
    found: HashMap<String, (usize, usize)>,
    /// Without what only reading shows.
    pub report: LoadReport,
}

/// Finds each tensor of `specification` in the files and checks shapes and types.
///
/// # Errors
/// Shapes that differ, types that are no weights, one tensor that is there twice.
pub(crate) fn plan<'a>(
    sources: Vec<Source<'a>>,
    specification: Vec<Parameter>,
) -> Result<Plan<'a>, Error> {
    let mut report = LoadReport::default();
    let mut found: HashMap<String, (usize, usize)> = HashMap::new();
    let wanted: HashMap<&str, &Parameter> =
        specification.iter().map(|p| (p.name.as_str(), p)).collect();
    for (at, source) in sources.iter().enumerate() {
        for (index, info) in source.file.tensors().iter().enumerate() {
            let Some(internal) = (source.rename)(&info.name) else {
                continue;
            };
            let Some(parameter) = wanted.get(internal.as_str()) else {
                report.unused.push(info.name.clone());
                continue;
            };
            check(source.file.path(), info, parameter)?;
            if found.insert(internal, (at, index)).is_some() {
                return Err(Error::Tensor {
                    path: source.file.path().to_owned(),
                    name: info.name.clone(),
                    detail: "is there twice, under two names or in two files".into(),
                });
            }
        }
    }
    report.unused.sort_unstable();
    for parameter in &specification {
        if found.contains_key(&parameter.name) {
            report.applied.push(parameter.name.clone());
        } else {
            report.missing.push(parameter.name.clone());
        }
    }
    Ok(Plan {
        sources,
        specification,
        found,
        report,
    })
}

fn check(path: &Path, info: &TensorInfo, parameter: &Parameter) -> Result<(), Error> {
    let fault = |detail: String| Error::Tensor {
        path: path.to_owned(),
        name: info.name.clone(),
        detail,
    };
    if info.shape != parameter.shape {
        return Err(fault(format!(
            "is {:?} in the file, but config.json asks for {:?}",
            info.shape, parameter.shape
        )));
    }
    if !matches!(
        info.kind,
        Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double
    ) {
        return Err(fault(format!(
            "has type {:?}: weights must be F32, F16, BF16 or F64",
            info.kind
        )));
    }
    Ok(())
}

impl Plan<'_> {
    /// The 16-bit type that all tensors have, or f32.
    pub fn kind(&self) -> Kind {
        let mut kinds = self
            .found
            .values()
            .map(|&(source, index)| self.sources[source].file.tensors()[index].kind);
        match kinds.next() {
            Some(kind @ (Kind::Half | Kind::BFloat16)) if kinds.all(|other| other == kind) => kind,
            _ => Kind::Float,
        }
    }

    /// Reads everything, in the specification's order, and says what it found. `origin` is the
    /// folder or file that messages name.
    pub fn read(
        self,
        origin: &Path,
        target: Target,
    ) -> Result<(Vec<(String, Tensor)>, LoadReport), Error> {
        self.read_but(origin, target, &mut |_, _| Ok(false))
    }

    /// [`Plan::read`] without the tensors that `takes` takes, which sees each of them on the CPU
    /// as it is read, by the model's name.
    pub fn read_but(
        self,
        origin: &Path,
        target: Target,
        takes: &mut dyn FnMut(&str, &Tensor) -> Result<bool, Error>,
    ) -> Result<(Vec<(String, Tensor)>, LoadReport), Error> {
        let mut report = self.report;
        if target.seed.is_none() {
            complete(origin, &report)?;
        }
        let order: Vec<String> = self.specification.iter().map(|p| p.name.clone()).collect();
        let missing: Vec<Parameter> = self
            .specification
            .into_iter()
            .filter(|p| !self.found.contains_key(&p.name))
            .collect();
        let mut read: HashMap<String, Tensor> = HashMap::new();
        for some in missing.chunks(INITIALISED_TOGETHER) {
            for (name, tensor) in initialise(some, target.seed.unwrap_or(0), target.device)? {
                read.insert(name, tensor.f_to_kind(target.kind)?);
            }
        }
        // In the order of the files, so that slow disks are read from front to back.
        let mut places: Vec<(&String, (usize, usize))> =
            self.found.iter().map(|(name, &at)| (name, at)).collect();
        places.sort_unstable_by_key(|&(_, at)| at);
        let bar = sample::progress::bar("load", places.len() as u64, "tensors");
        for (name, (source, index)) in places {
            sample::interrupt::check()?;
            let file = &self.sources[source].file;
            let (tensor, finite) = file.read_as(index, target.kind)?;
            if !finite {
                report.not_finite.push(name.clone());
            }
            if !takes(name, &tensor)? {
                read.insert(name.clone(), tensor.f_to_device(target.device)?);
            }
            bar.inc(1);
        }
        bar.finish();
        warn_of(&mut report, origin);
        let parameters = order
            .iter()
            .filter_map(|name| read.remove_entry(name))
            .collect();
        Ok((parameters, report))
    }
}

/// The files of a [`Plan`], of which tensors are taken one at a time.
pub(crate) struct Reader<'a> {
    plan: Plan<'a>,
    target: Target,
    not_finite: RefCell<Vec<String>>,
    /// Tensors that were shown in their files: source and index.
    shown: RefCell<VecDeque<(usize, usize)>>,
    bar: sample::progress::Bar,
}

impl<'a> Plan<'a> {
    /// For taking tensors one at a time.
    ///
    /// # Errors
    /// Tensors that no file has.
    pub fn reader(self, origin: &Path, target: Target) -> Result<Reader<'a>, Error> {
        complete(origin, &self.report)?;
        Ok(Reader {
            bar: sample::progress::bar("load", self.found.len() as u64, "tensors"),
            plan: self,
            target,
            not_finite: RefCell::default(),
            shown: RefCell::default(),
        })
    }
}

impl Reader<'_> {
    /// A tensor by the model's name for it. It may lie in the file's mapping: it is valid as long as
    /// what [`Reader::finish`] gives.
    pub fn read(&self, name: &str) -> Result<Tensor, Error> {
        /// Tensors of one layer, which are stacked and packed together.
        const IN_USE: usize = 8;
        let at = self.plan.found.get(name);
        let &(source, index) = at.ok_or_else(|| Error::Config(format!("no tensor {name}")))?;
        let file = &self.plan.sources[source].file;
        let seen = match file.tensors()[index].kind == self.target.kind {
            true => file.view(index)?,
            false => None,
        };
        let (tensor, finite) = match seen {
            Some(tensor) => {
                let mut shown = self.shown.borrow_mut();
                shown.push_back((source, index));
                if shown.len() > IN_USE
                    && let Some((source, index)) = shown.pop_front()
                {
                    self.plan.sources[source].file.give_back(index);
                }
                let finite = all_finite(&tensor)?;
                (tensor, finite)
            }
            None => file.read_as(index, self.target.kind)?,
        };
        if !finite {
            self.not_finite.borrow_mut().push(name.to_owned());
        }
        self.bar.inc(1);
        Ok(tensor.f_to_device(self.target.device)?)
    }

    /// What was found, once all has been read, and the files that tensors may lie in. `origin` is
    /// the folder or file that messages name.
    pub fn finish(self, origin: &Path) -> (Vec<Box<dyn TensorFile>>, LoadReport) {
        self.bar.finish();
        for (source, index) in self.shown.into_inner() {
            self.plan.sources[source].file.give_back(index);
        }
        let mut report = self.plan.report;
        report.not_finite = self.not_finite.into_inner();
        warn_of(&mut report, origin);
        let files = self.plan.sources.into_iter().map(|source| source.file);
        (files.collect(), report)
    }
}

fn warn_of(report: &mut LoadReport, origin: &Path) {
    report.not_finite.sort_unstable();
    report.not_finite.dedup();
    for name in &report.not_finite {
        sample::progress::note(&format!(
            "warning: {}: tensor {name} holds NaN or infinite values",
            origin.display()
        ));
    }
}

/// The tensors of `specification`, in its order, as f32, from a folder's weight files; those that
/// no file has get the random values of `seed`.
pub(crate) fn read_weights(
    dir: &Path,
    specification: Vec<Parameter>,
    rename: Rename,
    seed: u64,
    device: Device,
) -> Result<(Vec<(String, Tensor)>, LoadReport), Error> {
    let sources = open_all(&weight_files(dir)?, rename)?;
    let target = Target {
        device,
        kind: Kind::Float,
        seed: Some(seed),
    };
    plan(sources, specification)?.read(dir, target)
}

/// Opens files whose names are all understood in one way.
pub(crate) fn open_all<'a>(
    files: &[PathBuf],
    rename: Rename<'a>,
) -> Result<Vec<Source<'a>>, Error> {
    files
        .iter()
        .map(|path| {
            sample::interrupt::check()?;
            Ok(Source {
                file: folder::open(path)?,
                rename,
            })
        })
        .collect()
}

/// Refuses a folder that lacks a tensor of the model.
pub(crate) fn complete(dir: &Path, report: &LoadReport) -> Result<(), Error> {
    let Some(first) = report.missing.first() else {
        return Ok(());
    };
    Err(Error::Weights {
        path: dir.to_owned(),
        detail: format!(
            "{} of the model's tensors are in none of its weight files, the first is {first}: the \
             folder is incomplete or of another model",
            report.missing.len()
        ),
    })
}
