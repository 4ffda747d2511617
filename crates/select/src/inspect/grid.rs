//! Pictures compared cell by cell.
//!
//! Two files show the same picture when they look the same everywhere, not on average: two maps may
//! differ in one small state, two tables in one digit. So a picture becomes a grid of mean colours,
//! and the distance of two grids is their greatest difference over any small window. Taking the mean
//! with its sign makes the distance forgive what re-encoding and resizing do (ringing and blur move
//! light between neighbours) and notice what is drawn differently (light that is gone).

use image::RgbImage;

use super::fingerprint::SIDE;

/// Sides of the window whose mean difference counts, in cells.
pub const WINDOW: usize = 4;
/// The longer side of the grid that decides, in cells.
pub const LONG_SIDE: u32 = 256;

/// A grid of mean colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// Cells in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// RGB by cell, row after row.
    pub cells: Vec<[u8; 3]>,
}

impl Grid {
    /// A kept grid from its bytes, row by row.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Grid {
        Grid {
            width: SIDE,
            height: SIDE,
            cells: bytes.as_chunks::<3>().0.to_vec(),
        }
    }

    /// The mean colour of each of `width` x `height` cells, every pixel counted by the share of it
    /// that lies in the cell.
    pub fn of(image: &RgbImage, width: usize, height: usize) -> Grid {
        debug_assert!((1..=256).contains(&height) && width >= 1);
        let (w, h) = (image.width() as usize, image.height() as usize);
        let bytes = image.as_raw();
        let mut cells = Vec::with_capacity(width * height);
        // Sums over the rows of one row of cells, in units of 1/height of a pixel: at most 255 * h,
        // which fits for every image that is decoded at all.
        let mut sums = vec![0u32; w * 3];
        let mut whole = vec![0u16; w * 3];
        let area = (w * h) as u64;
        for row in 0..height {
            sums.fill(0);
            let (top, bottom) = (row * h, (row + 1) * h);
            let mut waiting = 0;
            for y in top / height..bottom.div_ceil(height) {
                let pixels = &bytes[y * w * 3..(y + 1) * w * 3];
                // At most 256, so that the product below fits 16 bits.
                let share = (bottom.min((y + 1) * height) - top.max(y * height)) as u16;
                if usize::from(share) == height {
                    add_row(&mut whole, pixels);
                    waiting += 1;
                } else {
                    for (sum, byte) in sums.iter_mut().zip(pixels) {
                        *sum = sum.wrapping_add(u32::from(u16::from(*byte).wrapping_mul(share)));
                    }
                }
                if waiting == 256 {
                    settle(&mut sums, &mut whole, height);
                    waiting = 0;
                }
            }
            if waiting > 0 {
                settle(&mut sums, &mut whole, height);
            }
            for column in 0..width {
                let (left, right) = (column * w, (column + 1) * w);
                cells.push(mean(&sums, left, right, width, area));
            }
        }
        Grid {
            width,
            height,
            cells,
        }
    }

    /// The grid with `factor_x` x `factor_y` cells made one.
    pub fn coarser(&self, factor_x: usize, factor_y: usize) -> Grid {
        let (width, height) = (self.width / factor_x, self.height / factor_y);
        let count = (factor_x * factor_y) as u32;
        let mut cells = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let mut sum = [0u32; 3];
                for j in 0..factor_y {
                    let start = (y * factor_y + j) * self.width + x * factor_x;
                    for cell in &self.cells[start..start + factor_x] {
                        for (total, value) in sum.iter_mut().zip(cell) {
                            *total += u32::from(*value);
                        }
                    }
                }
                cells.push(sum.map(|s| ((s + count / 2) / count) as u8));
            }
        }
        Grid {
            width,
            height,
            cells,
        }
    }
}

/// Adds a whole row of pixels: the loop that is nearly the whole cost, in the plain form that the
/// compiler makes vector code of. 16 bits hold the sum of 257 rows.
fn add_row(whole: &mut [u16], pixels: &[u8]) {
    for (sum, byte) in whole.iter_mut().zip(pixels) {
        *sum = sum.wrapping_add(u16::from(*byte));
    }
}

/// Moves the sums of whole rows to the sums in units of 1/height.
fn settle(sums: &mut [u32], whole: &mut [u16], height: usize) {
    for (sum, rows) in sums.iter_mut().zip(whole) {
        *sum = sum.wrapping_add(u32::from(*rows).wrapping_mul(height as u32));
        *rows = 0;
    }
}

/// The mean of the pixels from `left` to `right`, both in units of 1/width of a pixel.
fn mean(sums: &[u32], left: usize, right: usize, width: usize, area: u64) -> [u8; 3] {
    let (first, last) = (left / width, right.div_ceil(width));
    let mut cell = [0u64; 3];
    for pixel in &sums.as_chunks::<3>().0[first..last] {
        for (total, sum) in cell.iter_mut().zip(pixel) {
            *total = total.wrapping_add(u64::from(*sum));
        }
    }
    // What of the first and the last pixel lies outside.
    let (before, after) = ((left % width) as u64, (last * width - right) as u64);
    let [start, end] = [first, last - 1].map(|x| &sums[x * 3..x * 3 + 3]);
    let mut mean = [0; 3];
    for channel in 0..3 {
        let inside = cell[channel] * width as u64
            - before * u64::from(start[channel])
            - after * u64::from(end[channel]);
        // A mean of bytes is a byte.
        mean[channel] = ((inside + area / 2) / area) as u8;
    }
    mean
}

/// The greatest mean difference of a channel over any `window` x `window` cells, 0 to 255. Both
/// grids must have the same sides.
pub fn distance(a: &Grid, b: &Grid, window: usize) -> f64 {
    debug_assert_eq!((a.width, a.height), (b.width, b.height));
    let (width, height) = (a.width, a.height);
    let (kw, kh) = (window.min(width), window.min(height));
    let mut greatest = 0i32;
    // Sums over the cells above and left of each corner.
    let stride = width + 1;
    let mut corner = vec![0i32; stride * (height + 1)];
    for channel in 0..3 {
        for y in 0..height {
            let mut row = 0;
            for x in 0..width {
                let at = y * width + x;
                row += i32::from(a.cells[at][channel]) - i32::from(b.cells[at][channel]);
                corner[(y + 1) * stride + x + 1] = corner[y * stride + x + 1] + row;
            }
        }
        for y in kh..=height {
            for x in kw..=width {
                let sum = corner[y * stride + x]
                    - corner[(y - kh) * stride + x]
                    - corner[y * stride + x - kw]
                    + corner[(y - kh) * stride + x - kw];
                greatest = greatest.max(sum.abs());
            }
        }
    }
    f64::from(greatest) / (kw * kh) as f64
}

/// How different two decoded pictures look, 0 to 255.
///
/// Both are brought to half the smaller one's sides, and to `LONG_SIDE` pixels at most: finer cells would
/// show what the resize filter did, coarser ones would lose digits.
pub fn picture_distance(a: &RgbImage, b: &RgbImage) -> f64 {
    let width = a.width().min(b.width());
    let height = a.height().min(b.height());
    let scale = (f64::from(LONG_SIDE) / f64::from(width.max(height))).min(0.5);
    let cells = |side: u32| ((f64::from(side) * scale).round() as usize).max(WINDOW);
    let (width, height) = (cells(width), cells(height));
    distance(
        &Grid::of(a, width, height),
        &Grid::of(b, width, height),
        WINDOW,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use proptest::prelude::*;

    fn noise(width: u32, height: u32, seed: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let v = (x + 7)
                .wrapping_mul(2_654_435_761)
                .wrapping_add((y + 3).wrapping_mul(40_503))
                .wrapping_mul(seed | 1);
            Rgb([(v >> 8) as u8, (v >> 16) as u8, (v >> 24) as u8])
        })
    }

    #[test]
    fn a_cell_is_the_mean_of_its_pixels_and_their_shares() {
        // Three columns in two cells: the middle one counts half in each.
        let image = RgbImage::from_fn(3, 1, |x, _| Rgb([[0, 100, 200][x as usize]; 3]));
        let grid = Grid::of(&image, 2, 1);
        assert_eq!(grid.cells, vec![[33; 3], [167; 3]]);
        // More cells than pixels repeat them.
        let grid = Grid::of(&image, 6, 2);
        assert_eq!(
            grid.cells[..6],
            [[0; 3], [0; 3], [100; 3], [100; 3], [200; 3], [200; 3]]
        );
    }

    #[test]
    fn a_small_spot_counts_in_full_however_large_the_picture() {
        let plain = RgbImage::from_pixel(400, 300, Rgb([255; 3]));
        let mut spot = plain.clone();
        for y in 100..110 {
            for x in 200..210 {
                spot.put_pixel(x, y, Rgb([255, 0, 255]));
            }
        }
        assert!(picture_distance(&plain, &spot) > 100.0);
    }

    #[test]
    fn colours_of_the_same_brightness_differ() {
        let red = RgbImage::from_pixel(50, 50, Rgb([200, 50, 50]));
        let green = RgbImage::from_pixel(50, 50, Rgb([50, 126, 50]));
        assert!(picture_distance(&red, &green) > 100.0);
    }

    proptest! {
        #[test]
        fn equal_pictures_have_distance_zero_and_the_distance_has_no_direction(
            w in 8u32..90, h in 8u32..90, w2 in 8u32..90, h2 in 8u32..90, seed: u32,
        ) {
            let (a, b) = (noise(w, h, seed), noise(w2, h2, seed ^ 99));
            prop_assert_eq!(picture_distance(&a, &a.clone()), 0.0);
            prop_assert_eq!(picture_distance(&a, &b), picture_distance(&b, &a));
        }

        #[test]
        fn cells_keep_the_mean(w in 8u32..70, h in 8u32..70, seed: u32) {
            let image = noise(w, h, seed);
            let grid = Grid::of(&image, 16, 16);
            let mean = |values: &mut dyn Iterator<Item = u8>| {
                let all: Vec<f64> = values.map(f64::from).collect();
                all.iter().sum::<f64>() / all.len() as f64
            };
            let of_pixels = mean(&mut image.pixels().map(|p| p[0]));
            let of_cells = mean(&mut grid.cells.iter().map(|c| c[0]));
            prop_assert!((of_pixels - of_cells).abs() < 0.6, "{} {}", of_pixels, of_cells);
        }
    }
}
