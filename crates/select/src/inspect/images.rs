//! The images of all imports, each read and decoded once, in pieces that outlast a kill.
//!
//! A piece is the images of some thousand paths; its file's name is the digest of what is asked, so
//! that an inspection that was stopped goes on with the pieces it has, whatever the order of the
//! imports, and gives the same tables as one that was not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sample::workers::{Workers, ask};
use sample::{
    IMAGES, Manifest, TableWriter, interrupt, progress, read_table, resolve_image, sha256_hex,
    write_atomic, write_table,
};

use super::fingerprint::{
    self, Fingerprint, FingerprintImage, GRID_BYTES, Look, PerceptualHasher, SIDE, Unusable,
    look_at_file, luma,
};
use super::grid::Grid;
use super::tables::{Columns, batches};
use crate::Error;

/// Images in the longest piece: seconds of work, so that syncing it to the disk is none.
const LONGEST_PIECE: usize = 2048;
/// And in the shortest.
const SHORTEST_PIECE: usize = 64;
/// Of few images there are about so many pieces, enough for many workers to end at the same time.
const PIECES: usize = 64;
/// Goes into the name of every piece: to be changed with anything that changes fingerprints.
const PIECE_VERSION: &str = "fingerprint 1";

/// An image to look at.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// How tables name it.
    pub image: String,
    /// What its bytes must be.
    pub sha256: String,
    /// The source's name.
    pub source: String,
    /// As imported, for images that cannot be read.
    pub width: u32,
    /// As imported.
    pub height: u32,
    /// Which import it belongs to.
    import: usize,
}

/// An import folder, as far as finding its images needs it.
#[derive(Debug, Clone)]
pub struct Import {
    /// The folder.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

/// All images of all imports, by path.
#[derive(Debug)]
pub struct Images {
    /// The imports, by the names of their sources.
    pub imports: Vec<Import>,
    /// The images.
    pub wanted: Vec<Wanted>,
}

impl Images {
    /// Reads the images tables of the imports.
    pub fn read(folders: &[PathBuf]) -> Result<Images, Error> {
        let mut imports = Vec::new();
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut folders = folders
            .iter()
            .map(|folder| Ok((Manifest::read(folder)?, folder)))
            .collect::<Result<Vec<_>, sample::Error>>()?;
        // By their sources, so that the order they were given in does not show in any table.
        folders.sort_by(|a, b| a.0.image_roots.keys().cmp(b.0.image_roots.keys()));
        for (import, (manifest, folder)) in folders.into_iter().enumerate() {
            let path = folder.join(IMAGES);
            let columns = ["image", "image_sha256", "source", "width", "height"];
            for batch in batches(&path, &columns)? {
                interrupt::check()?;
                let batch = batch.map_err(|e| sample::Error::format(&path, e))?;
                read_wanted(&batch, import, &mut wanted)
                    .map_err(|e| sample::Error::format(&path, e))?;
            }
            imports.push(Import {
                folder: folder.clone(),
                manifest,
            });
        }
        wanted.sort_by(|a, b| a.image.cmp(&b.image));
        if let Some(twice) = wanted.windows(2).find(|w| w[0].image == w[1].image) {
            let [a, b] = [&twice[0], &twice[1]].map(|w| imports[w.import].folder.display());
            return Err(Error::Config(format!(
                "{a} and {b} both hold the image {}: import the source into one folder",
                twice[0].image
            )));
        }
        Ok(Images { imports, wanted })
    }

    /// The image's file.
    pub fn file(&self, index: usize) -> Result<PathBuf, sample::Error> {
        let wanted = &self.wanted[index];
        let import = &self.imports[wanted.import];
        resolve_image(&import.folder, &import.manifest.image_roots, &wanted.image)
    }

    /// Images in a piece; the last one may have fewer.
    fn piece_length(&self) -> usize {
        (self.wanted.len() / PIECES).clamp(SHORTEST_PIECE, LONGEST_PIECE)
    }

    fn outside(error: &sample::Error) -> Unusable {
        ("path_outside_root".to_owned(), error.to_string())
    }

    fn look(&self, index: usize, hasher: &PerceptualHasher) -> Result<Look, Unusable> {
        let file = self.file(index).map_err(|e| Images::outside(&e))?;
        look_at_file(hasher, &file, &self.wanted[index].sha256)
    }

    /// Looks at every image, keeping pieces below `folder`, and writes the table. With `workers`, which
    /// must find the images under the same paths, they do the looking; the table is the same.
    pub fn fingerprint(
        &self,
        workers: Option<&dyn Workers>,
        folder: &Path,
        table: &Path,
    ) -> Result<Looks, Error> {
        std::fs::create_dir_all(folder).map_err(|e| sample::Error::io(folder, e))?;
        let bar = progress::bar("inspect", self.wanted.len() as u64, "images");
        let length = self.piece_length();
        let indices: Vec<usize> = (0..self.wanted.len()).collect();
        let pieces: Vec<Piece> = indices
            .chunks(length)
            .map(|images| Piece::new(self, images, folder))
            .collect();
        if let Some(workers) = workers {
            self.look_elsewhere(workers, &pieces, &bar)?;
        }
        let mut writer = TableWriter::create(table)?;
        let mut looks = Looks {
            piece_length: length,
            ..Looks::default()
        };
        for piece in pieces {
            interrupt::check()?;
            let rows = match self.finished_piece(&piece) {
                Some(rows) => rows,
                None => self.do_piece(&piece)?,
            };
            if workers.is_none() {
                bar.inc(piece.images.len() as u64);
            }
            for row in rows {
                looks.shapes.push(Shape {
                    width: row.width,
                    height: row.height,
                    phash: row.phash,
                });
                if let Some(fault) = &row.fault {
                    *looks
                        .faults
                        .entry((row.source.clone(), fault.clone()))
                        .or_default() += 1;
                }
                writer.push(row)?;
            }
            looks.add_grids(piece.grids)?;
        }
        writer.finish()?;
        bar.finish();
        Ok(looks)
    }

    /// Has workers do the pieces that are not done, and keeps each as it comes back.
    fn look_elsewhere(
        &self,
        workers: &dyn Workers,
        pieces: &[Piece],
        bar: &progress::Bar,
    ) -> Result<(), Error> {
        let mut todo = Vec::new();
        for piece in pieces {
            interrupt::check()?;
            match self.finished_piece(piece) {
                Some(rows) => bar.inc(rows.len() as u64),
                None => todo.push(piece),
            }
        }
        // What has no file is nothing that workers could be asked about.
        let file = |index: usize| self.file(index);
        let items = |at: usize| {
            let known = todo[at].images.iter();
            known
                .filter_map(|index| Some((*index, file(*index).ok()?)))
                .map(|(index, file)| {
                    let file =
                        std::path::absolute(&file).map_err(|e| sample::Error::io(&file, e))?;
                    fingerprint::item(&file, &self.wanted[index].sha256)
                })
                .collect()
        };
        let mut done = |at: usize, results: Vec<Vec<u8>>| {
            let mut results = results.iter();
            let mut looked = Vec::with_capacity(todo[at].images.len());
            for index in todo[at].images {
                let look = match file(*index) {
                    Err(error) => Err(Images::outside(&error)),
                    Ok(_) => match results.next() {
                        Some(result) => fingerprint::decode(result)?,
                        None => return Err(sample::Error::Workers("too few looks".into())),
                    },
                };
                looked.push(self.row(*index, look));
            }
            write_piece(todo[at], looked)?;
            bar.inc(todo[at].images.len() as u64);
            Ok(())
        };
        let function = FingerprintImage;
        Ok(ask(
            workers,
            "inspect",
            &function,
            "",
            todo.len(),
            &items,
            &mut done,
        )?)
    }

    fn piece_name(&self, piece: &[usize]) -> String {
        let mut asked = String::from(PIECE_VERSION);
        for index in piece {
            let wanted = &self.wanted[*index];
            asked.push_str(&format!(
                "\n{}\t{}\t{}",
                wanted.image, wanted.sha256, wanted.source
            ));
        }
        sha256_hex(asked.as_bytes())[..32].to_owned()
    }

    /// The rows of a piece that was done before; `None` where any part of it is missing.
    fn finished_piece(&self, piece: &Piece) -> Option<Vec<Fingerprint>> {
        let bytes = std::fs::metadata(&piece.grids).ok()?.len();
        if !piece.rows.is_file() || bytes != (piece.images.len() * GRID_BYTES) as u64 {
            return None;
        }
        let rows: Vec<Fingerprint> = read_table(&piece.rows).ok()?;
        let same = rows.len() == piece.images.len()
            && rows
                .iter()
                .zip(piece.images)
                .all(|(row, index)| row.image == self.wanted[*index].image);
        same.then_some(rows)
    }

    fn do_piece(&self, piece: &Piece) -> Result<Vec<Fingerprint>, Error> {
        let looked: Vec<(Fingerprint, Option<Grid>)> = piece
            .images
            .par_iter()
            .map_init(PerceptualHasher::new, |hasher, index| {
                interrupt::check()?;
                Ok(self.row(*index, self.look(*index, hasher)))
            })
            .collect::<Result<_, sample::Error>>()?;
        Ok(write_piece(piece, looked)?)
    }

    fn row(&self, index: usize, look: Result<Look, Unusable>) -> (Fingerprint, Option<Grid>) {
        let wanted = &self.wanted[index];
        let mut row = Fingerprint {
            image: wanted.image.clone(),
            image_sha256: wanted.sha256.clone(),
            source: wanted.source.clone(),
            width: wanted.width,
            height: wanted.height,
            fault: None,
            detail: None,
            phash: None,
        };
        match look {
            Ok(look) => {
                row.width = look.width;
                row.height = look.height;
                row.phash = Some(look.phash);
                (row, Some(look.grid))
            }
            Err((reason, detail)) => {
                row.fault = Some(reason);
                row.detail = Some(detail);
                (row, None)
            }
        }
    }
}

/// Images that are looked at together, and where that is kept.
struct Piece<'a> {
    images: &'a [usize],
    rows: PathBuf,
    grids: PathBuf,
}

impl<'a> Piece<'a> {
    fn new(all: &Images, images: &'a [usize], folder: &Path) -> Piece<'a> {
        let name = all.piece_name(images);
        Piece {
            images,
            rows: folder.join(format!("{name}.parquet")),
            grids: folder.join(format!("{name}.grids")),
        }
    }
}

fn write_piece(
    piece: &Piece,
    looked: Vec<(Fingerprint, Option<Grid>)>,
) -> Result<Vec<Fingerprint>, sample::Error> {
    let mut grids = Vec::with_capacity(looked.len() * GRID_BYTES);
    let mut rows = Vec::with_capacity(looked.len());
    for (row, grid) in looked {
        rows.push(row);
        match grid {
            Some(grid) => grids.extend(grid.cells.iter().flatten()),
            None => grids.resize(grids.len() + GRID_BYTES, 0),
        }
    }
    // The table last: a piece with a table is finished.
    write_atomic(&piece.grids, &grids)?;
    write_table(&piece.rows, &rows)?;
    Ok(rows)
}

fn read_wanted(
    batch: &arrow::array::RecordBatch,
    import: usize,
    wanted: &mut Vec<Wanted>,
) -> Result<(), String> {
    let columns = Columns(batch);
    let (image, sha256) = (columns.text("image")?, columns.text("image_sha256")?);
    let source = columns.text("source")?;
    let (width, height) = (columns.u32("width")?, columns.u32("height")?);
    for row in 0..batch.num_rows() {
        wanted.push(Wanted {
            image: image.value(row).to_owned(),
            sha256: sha256.value(row).to_owned(),
            source: source.value(row).to_owned(),
            width: width.value(row),
            height: height.value(row),
            import,
        });
    }
    Ok(())
}

/// Size and hash of an image, as far as finding pairs needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// None where the image cannot be used.
    pub phash: Option<u64>,
}

/// What was seen: sizes and hashes in memory, grids in the pieces' files.
#[derive(Debug, Default)]
pub struct Looks {
    /// In the order of the images.
    pub shapes: Vec<Shape>,
    /// Source and reason to count.
    pub faults: BTreeMap<(String, String), u64>,
    /// Brightness of the quarters' quarters, to tell most pairs apart without a file.
    pub coarse: Vec<[u8; COARSE]>,
    grids: Vec<PathBuf>,
    /// Images in each of those but the last.
    piece_length: usize,
}

/// Cells of the coarsest look.
pub const COARSE: usize = 16;

impl Looks {
    fn add_grids(&mut self, path: PathBuf) -> Result<(), sample::Error> {
        let bytes = std::fs::read(&path).map_err(|e| sample::Error::io(&path, e))?;
        self.coarse.extend(
            bytes
                .chunks_exact(GRID_BYTES)
                .map(|b| coarse(&Grid::of_bytes(b))),
        );
        self.grids.push(path);
        Ok(())
    }

    /// An image's grid, read from its piece.
    pub fn grid(&self, index: usize) -> Result<Grid, sample::Error> {
        // Opened each time: ten million images are five thousand pieces, more than may be open at once.
        let path = &self.grids[index / self.piece_length];
        let mut bytes = vec![0; GRID_BYTES];
        File::open(path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(
                    ((index % self.piece_length) * GRID_BYTES) as u64,
                ))?;
                file.read_exact(&mut bytes)
            })
            .map_err(|e| sample::Error::io(path, e))?;
        Ok(Grid::of_bytes(&bytes))
    }
}

/// The brightness of 4 x 4 cells.
pub fn coarse(grid: &Grid) -> [u8; COARSE] {
    let cells = grid.coarser(SIDE / 4, SIDE / 4).cells;
    let mut coarse = [0; COARSE];
    for (to, cell) in coarse.iter_mut().zip(&cells) {
        *to = luma(cell);
    }
    coarse
}
