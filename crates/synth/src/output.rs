//! What the stage writes: the training set as tables and as LLaVA's JSON.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use sample::{
    IMAGES, ImageRow, MadePair, Manifest, PAIRS, REJECTS, Reject, SAMPLES, Sample, Stage,
    TableWriter, llava,
};

use crate::Error;
use crate::request::Subject;

/// File name of the training set in the form of MathV360K.
pub const TRAIN_JSON: &str = "train.json";

/// The stage's files while they are written, image by image.
pub struct Output {
    samples: TableWriter<Sample>,
    images: TableWriter<ImageRow>,
    rejects: TableWriter<Reject>,
    pairs: TableWriter<MadePair>,
    json: BufWriter<File>,
    json_path: PathBuf,
    json_temporary: PathBuf,
    original: u64,
    made: u64,
}

impl Output {
    /// Starts the files.
    pub fn create(stage: &Stage) -> Result<Output, Error> {
        let json_temporary = stage.path("train.json.tmp");
        let json =
            File::create(&json_temporary).map_err(|e| sample::Error::io(&json_temporary, e))?;
        Ok(Output {
            samples: TableWriter::create(&stage.path(SAMPLES))?,
            images: TableWriter::create(&stage.path(IMAGES))?,
            rejects: TableWriter::create(&stage.path(REJECTS))?,
            pairs: TableWriter::create(&stage.path(PAIRS))?,
            json: BufWriter::new(json),
            json_path: stage.path(TRAIN_JSON),
            json_temporary,
            original: 0,
            made: 0,
        })
    }

    /// Adds an image with the questions it came with.
    pub fn original(&mut self, subject: &Subject) -> Result<(), Error> {
        self.images.push(subject.image.clone())?;
        for sample in &subject.samples {
            self.sample(sample.clone())?;
            self.original += 1;
        }
        Ok(())
    }

    /// Adds a new pair about the image added last.
    pub fn pair(&mut self, sample: Sample) -> Result<(), Error> {
        self.sample(sample)?;
        self.made += 1;
        Ok(())
    }

    /// Adds what became of a pair, kept or not.
    pub fn made(&mut self, pair: MadePair) -> Result<(), Error> {
        Ok(self.pairs.push(pair)?)
    }

    /// Adds a reject.
    pub fn reject(&mut self, reject: Reject) -> Result<(), Error> {
        Ok(self.rejects.push(reject)?)
    }

    fn sample(&mut self, sample: Sample) -> Result<(), Error> {
        let before: &[u8] = if self.original + self.made == 0 {
            b"[\n"
        } else {
            b",\n"
        };
        let entry = serde_json::to_vec(&llava::entry(&sample))
            .map_err(|e| sample::Error::format(&self.json_path, e))?;
        self.json
            .write_all(before)
            .and_then(|()| self.json.write_all(&entry))
            .map_err(|e| sample::Error::io(&self.json_temporary, e))?;
        Ok(self.samples.push(sample)?)
    }

    /// Ends the files and gives them their names.
    pub fn finish(mut self, stage: &Stage) -> Result<Manifest, Error> {
        let io = |e| sample::Error::io(&self.json_temporary, e);
        let end: &[u8] = if self.original + self.made == 0 {
            b"[]\n"
        } else {
            b"\n]\n"
        };
        self.json.write_all(end).map_err(io)?;
        let file = self.json.into_inner().map_err(|e| io(e.into_error()))?;
        file.sync_all().map_err(io)?;
        std::fs::rename(&self.json_temporary, &self.json_path)
            .map_err(|e| sample::Error::io(&self.json_path, e))?;
        let mut manifest = Manifest::new(stage.key().clone());
        manifest.count("samples", self.samples.finish()?);
        manifest.count("images", self.images.finish()?);
        manifest.count("rejects", self.rejects.finish()?);
        self.pairs.finish()?;
        manifest.count("original", self.original);
        manifest.count("made", self.made);
        Ok(manifest)
    }
}
