//! A contact sheet: figures of every family side by side, each with a question and its answer.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::FiguresConfig;
use super::canvas::{Anchor, Canvas};
use super::draw::{Drawn, draw, render};
use super::palette::{Colour, Look};
use super::typeface::{Face, extent};

/// Pixels of a cell, and of the figure in it.
const CELL: u32 = 250;
const FIGURE: u32 = 176;
/// Figures of each family.
const EACH: u64 = 2;

/// Draws the sheet with so many cells in a row.
///
/// # Errors
/// A string that says which figure could not be drawn.
pub fn contact_sheet(seed: u64, columns: u32) -> Result<RgbImage, String> {
    let columns = columns.clamp(1, 20);
    let config = FiguresConfig {
        degraded: 0.0,
        split: "sheet".to_owned(),
        ..FiguresConfig::default()
    };
    let mut cells = Vec::new();
    for (family, _) in super::families() {
        for number in 0..EACH {
            let figure = draw(&config, seed, family, number)?;
            cells.push((caption(&figure)?, figure));
        }
    }
    let rows = u32::try_from(cells.len()).unwrap_or(0).div_ceil(columns);
    let mut sheet = RgbImage::from_pixel(columns * CELL, rows * CELL, Rgb([255, 255, 255]));
    for (i, (caption, figure)) in (0u32..).zip(cells) {
        let (x, y) = (i % columns * CELL, i / columns * CELL);
        let (w, h) = figure.image.dimensions();
        let scale = (f64::from(CELL - 16) / f64::from(w)).min(f64::from(FIGURE) / f64::from(h));
        let side = |v: u32| ((f64::from(v) * scale).round() as u32).max(1);
        let (w, h) = (side(w), side(h));
        let small = imageops::resize(&figure.image, w, h, FilterType::CatmullRom);
        let left = x + (CELL - w) / 2;
        let top = y + 6;
        let frame = RgbImage::from_pixel(w + 2, h + 2, Rgb([205, 205, 210]));
        imageops::replace(&mut sheet, &frame, i64::from(left) - 1, i64::from(top) - 1);
        imageops::replace(&mut sheet, &small, i64::from(left), i64::from(top));
        imageops::replace(
            &mut sheet,
            &caption,
            i64::from(x),
            i64::from(y + FIGURE + 10),
        );
    }
    Ok(sheet)
}

/// Family, a question and its answer, in up to four lines.
fn caption(figure: &Drawn) -> Result<RgbImage, String> {
    let look = Look::plain();
    // In canvas units the cell is as wide as any canvas.
    let unit = Canvas::LONG_SIDE / CELL as f32;
    let mut canvas = Canvas::sized(Canvas::LONG_SIDE, (CELL - FIGURE - 12) as f32 * unit, look);
    let (size, width) = (12.5, Canvas::LONG_SIDE - 16.0);
    let mut y = 9.0;
    let mut put = |canvas: &mut Canvas, face: Face, colour: Colour, text: &str| {
        canvas.text((8.0, y), Anchor::Start, size, face, colour, text);
        y += 17.0;
    };
    let title = format!("{} ({})", figure.family, figure.task.name());
    put(&mut canvas, Face::SansBold, Colour(90, 90, 100), &title);
    if let Some(q) = figure.questions.first() {
        let mut text = q.question.clone();
        if !q.choices.is_empty() {
            text.push_str(&format!(" [{}]", q.choices.join(", ")));
        }
        let mut lines: Vec<String> = vec![String::new()];
        for word in text.split_whitespace() {
            let last = lines.len() - 1;
            let longer = format!(
                "{}{}{word}",
                lines[last],
                if lines[last].is_empty() { "" } else { " " }
            );
            if extent(Face::Sans, &longer).width * size > width && !lines[last].is_empty() {
                lines.push(word.to_owned());
            } else {
                lines[last] = longer;
            }
        }
        for line in lines.iter().take(3) {
            put(&mut canvas, Face::Sans, Colour::BLACK, line);
        }
        let unit = q
            .unit
            .as_deref()
            .map(|u| format!(" {u}"))
            .unwrap_or_default();
        let answer = format!("{}{unit}", q.answer.text());
        put(&mut canvas, Face::SansBold, Colour(20, 110, 50), &answer);
    }
    render(&canvas, CELL)
}
