//! The embedded typefaces: how wide a text is, and its outlines as SVG path data.
//!
//! Text enters a figure as outlines of DejaVu glyphs, never as characters left to the renderer to
//! set. So a figure looks the same on every machine, the boxes that the layout is checked on are
//! the boxes that are drawn, and no shaping is repeated for every figure.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::LazyLock;

use skrifa::instance::{LocationRef, Size};
use skrifa::outline::{DrawSettings, OutlinePen};
use skrifa::{FontRef, MetadataProvider};

/// An embedded face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    Sans,
    SansBold,
    Serif,
    SerifBold,
}

/// Characters that figures may use; another one shows as a question mark.
const EXTRA: &str = "°×÷−π²√·…–£€≤≥½→";

struct Glyph {
    /// In ems.
    advance: f32,
    /// Lowest and highest point above the base line, in ems; zero for blanks.
    bottom: f32,
    top: f32,
    /// Relative path commands, in thousandths of an em, y downwards.
    path: String,
}

static FACES: LazyLock<[HashMap<char, Glyph>; 4]> = LazyLock::new(|| {
    [
        glyphs(dejavu::sans::regular()),
        glyphs(dejavu::sans::bold()),
        glyphs(dejavu::serif::regular()),
        glyphs(dejavu::serif::bold()),
    ]
});

/// Extent of a text of size 1: width, and what lies above and below the base line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extent {
    pub width: f32,
    pub top: f32,
    pub bottom: f32,
}

fn glyph(face: Face, c: char) -> Option<&'static Glyph> {
    let table = &FACES[face as usize];
    table.get(&c).or_else(|| table.get(&'?'))
}

/// Measures `text` at size 1.
pub(crate) fn extent(face: Face, text: &str) -> Extent {
    let mut all = Extent {
        width: 0.0,
        top: 0.0,
        bottom: 0.0,
    };
    for g in text.chars().filter_map(|c| glyph(face, c)) {
        all.width += g.advance;
        all.top = all.top.max(g.top);
        all.bottom = all.bottom.min(g.bottom);
    }
    all
}

/// Path data of `text`, in thousandths of an em from the start of its base line.
pub(crate) fn outline(face: Face, text: &str) -> String {
    let mut path = String::new();
    let mut pen = 0.0f32;
    for g in text.chars().filter_map(|c| glyph(face, c)) {
        if !g.path.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(path, "M{} 0", (pen * 1000.0).round());
            path.push_str(&g.path);
        }
        pen += g.advance;
    }
    path
}

fn glyphs(data: &'static [u8]) -> HashMap<char, Glyph> {
    let Ok(font) = FontRef::new(data) else {
        return HashMap::new();
    };
    let whole = LocationRef::default();
    let em = f32::from(font.metrics(Size::unscaled(), whole).units_per_em.max(1));
    let advances = font.glyph_metrics(Size::unscaled(), whole);
    let outlines = font.outline_glyphs();
    let characters = (' '..='~').chain(EXTRA.chars());
    let mut table = HashMap::new();
    for c in characters {
        let Some(id) = font.charmap().map(c) else {
            continue;
        };
        let mut pen = Pen::new(1000.0 / em);
        if let Some(outline) = outlines.get(id) {
            // A glyph that cannot be drawn stays blank.
            let _ = outline.draw(DrawSettings::unhinted(Size::unscaled(), whole), &mut pen);
        }
        let advance = advances.advance_width(id).unwrap_or(0.0) / em;
        let (bottom, top) = (pen.bottom / 1000.0, pen.top / 1000.0);
        table.insert(
            c,
            Glyph {
                advance,
                bottom,
                top,
                path: pen.path,
            },
        );
    }
    table
}

/// Collects an outline as relative commands, so that it can stand anywhere.
struct Pen {
    scale: f32,
    path: String,
    at: (i32, i32),
    start: (i32, i32),
    bottom: f32,
    top: f32,
}

impl Pen {
    fn new(scale: f32) -> Self {
        Pen {
            scale,
            path: String::new(),
            at: (0, 0),
            start: (0, 0),
            bottom: 0.0,
            top: 0.0,
        }
    }

    fn point(&mut self, x: f32, y: f32) -> (i32, i32) {
        let (x, y) = (x * self.scale, y * self.scale);
        self.bottom = self.bottom.min(y);
        self.top = self.top.max(y);
        (x.round() as i32, -y.round() as i32)
    }

    fn push(&mut self, command: char, points: &[(i32, i32)]) {
        self.path.push(command);
        for (x, y) in points {
            // Writing to a String cannot fail.
            let _ = write!(self.path, "{} {} ", x - self.at.0, y - self.at.1);
        }
        if let Some(last) = points.last() {
            self.at = *last;
        }
    }
}

impl OutlinePen for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let p = self.point(x, y);
        self.push('m', &[p]);
        self.start = p;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let p = self.point(x, y);
        self.push('l', &[p]);
    }

    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        let points = [self.point(cx, cy), self.point(x, y)];
        self.push('q', &points);
    }

    fn curve_to(&mut self, cx: f32, cy: f32, dx: f32, dy: f32, x: f32, y: f32) {
        let points = [self.point(cx, cy), self.point(dx, dy), self.point(x, y)];
        self.push('c', &points);
    }

    fn close(&mut self) {
        self.path.push('z');
        self.at = self.start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_face_has_every_character_that_figures_use() {
        for face in [Face::Sans, Face::SansBold, Face::Serif, Face::SerifBold] {
            let table = &FACES[face as usize];
            for c in ('!'..='~').chain(EXTRA.chars()) {
                assert!(!table[&c].path.is_empty(), "{face:?} lacks {c:?}");
            }
        }
    }

    #[test]
    fn widths_add_up_and_descenders_reach_below() {
        let (a, g) = (extent(Face::Sans, "A"), extent(Face::Sans, "g"));
        let both = extent(Face::Sans, "Ag");
        assert!((both.width - a.width - g.width).abs() < 1e-6);
        assert!(a.bottom > -0.03 && both.bottom < -0.15, "{both:?}");
        assert!(both.top > 0.7);
    }
}
