//! A drawing surface that writes SVG and remembers where text lies.
//!
//! Every text box is kept while a figure is laid out, measured from the typeface, together with
//! the marks that text must keep clear of. [`Canvas::fits`] then says whether the layout can stand:
//! no text over another, none over a mark it must keep clear of, none over the edge. A figure that
//! does not fit is laid out again.

use std::fmt::{Display, Write};

use super::palette::{Colour, Look};
use super::typeface::{self, Face};

/// Text keeps this far from the edge and from other text, in canvas units.
const CLEARANCE: f32 = 1.0;

/// A rectangle, y downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

impl Area {
    pub fn new(left: f32, top: f32, right: f32, bottom: f32) -> Area {
        Area {
            left,
            top,
            right,
            bottom,
        }
    }

    pub fn width(&self) -> f32 {
        self.right - self.left
    }

    pub fn height(&self) -> f32 {
        self.bottom - self.top
    }

    pub fn centre(&self) -> (f32, f32) {
        (
            (self.left + self.right) / 2.0,
            (self.top + self.bottom) / 2.0,
        )
    }

    /// Smaller by `by` on each side.
    pub fn inset(&self, by: f32) -> Area {
        Area::new(
            self.left + by,
            self.top + by,
            self.right - by,
            self.bottom - by,
        )
    }

    pub fn meets(&self, other: &Area) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn meets_segment(&self, a: (f32, f32), b: (f32, f32)) -> bool {
        // Clips the segment's parameter range by each side in turn (Liang and Barsky).
        let (mut enter, mut leave) = (0.0f32, 1.0f32);
        let sides = [
            (a.0 - b.0, a.0 - self.left),
            (b.0 - a.0, self.right - a.0),
            (a.1 - b.1, a.1 - self.top),
            (b.1 - a.1, self.bottom - a.1),
        ];
        for (direction, distance) in sides {
            if direction.abs() < 1e-6 {
                if distance < 0.0 {
                    return false;
                }
            } else if direction < 0.0 {
                enter = enter.max(distance / direction);
            } else {
                leave = leave.min(distance / direction);
            }
        }
        enter <= leave
    }
}

/// Which point of a text its position names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Fill and outline of a mark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    fill: Option<Colour>,
    opacity: f32,
    stroke: Option<(Colour, f32)>,
    dashed: bool,
}

/// Filled, without outline.
pub(crate) fn fill(colour: Colour) -> Paint {
    Paint {
        fill: Some(colour),
        opacity: 1.0,
        stroke: None,
        dashed: false,
    }
}

/// Outline alone.
pub(crate) fn stroke(colour: Colour, width: f32) -> Paint {
    Paint {
        fill: None,
        opacity: 1.0,
        stroke: Some((colour, width)),
        dashed: false,
    }
}

impl Paint {
    pub fn edged(mut self, colour: Colour, width: f32) -> Paint {
        self.stroke = Some((colour, width));
        self
    }

    /// With an outline where the look has outlines.
    pub fn in_look(self, look: &Look) -> Paint {
        if look.outlined {
            self.edged(look.ink, 1.2)
        } else {
            self
        }
    }

    pub fn faint(mut self, opacity: f32) -> Paint {
        self.opacity = opacity;
        self
    }

    pub fn dashed(mut self) -> Paint {
        self.dashed = true;
        self
    }
}

impl Display for Paint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fill {
            Some(colour) => write!(f, " fill=\"{colour}\"")?,
            None => write!(f, " fill=\"none\"")?,
        }
        if self.opacity < 1.0 {
            write!(f, " fill-opacity=\"{:.2}\"", self.opacity)?;
        }
        if let Some((colour, width)) = self.stroke {
            write!(f, " stroke=\"{colour}\" stroke-width=\"{width:.1}\"")?;
            write!(f, " stroke-linejoin=\"round\" stroke-linecap=\"round\"")?;
        }
        if self.dashed {
            write!(f, " stroke-dasharray=\"5 4\"")?;
        }
        Ok(())
    }
}

enum Mark {
    Box(Area),
    /// With half its width.
    Segment((f32, f32), (f32, f32), f32),
}

/// The drawing surface: the longer side is 320 units.
pub(crate) struct Canvas {
    pub width: f32,
    pub height: f32,
    pub look: Look,
    body: String,
    texts: Vec<Area>,
    marks: Vec<Mark>,
    unplaced: bool,
}

impl Canvas {
    pub const LONG_SIDE: f32 = 320.0;

    pub fn new(look: Look) -> Canvas {
        let aspect = look.aspect.clamp(0.5, 2.0);
        let (width, height) = if aspect >= 1.0 {
            (Self::LONG_SIDE, (Self::LONG_SIDE / aspect).round())
        } else {
            ((Self::LONG_SIDE * aspect).round(), Self::LONG_SIDE)
        };
        Canvas::sized(width, height, look)
    }

    /// A canvas of another size.
    pub fn sized(width: f32, height: f32, look: Look) -> Canvas {
        Canvas {
            width,
            height,
            look,
            body: String::with_capacity(16 << 10),
            texts: Vec::new(),
            marks: Vec::new(),
            unplaced: false,
        }
    }

    /// The whole surface.
    pub fn area(&self) -> Area {
        Area::new(0.0, 0.0, self.width, self.height)
    }

    /// The SVG document, `scale` pixels a unit.
    pub fn svg(&self, scale: f32) -> String {
        let (w, h) = (self.width, self.height);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
             viewBox=\"0 0 {w} {h}\"><rect width=\"{w}\" height=\"{h}\" fill=\"{}\"/>{}</svg>",
            (w * scale).round(),
            (h * scale).round(),
            self.look.paper,
            self.body
        )
    }

    /// Adds SVG elements.
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(element);
    }

    pub fn rect(&mut self, a: Area, paint: Paint) {
        self.rounded(a, 0.0, paint);
    }

    pub fn rounded(&mut self, a: Area, radius: f32, paint: Paint) {
        self.add(format_args!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{radius:.1}\"{paint}/>",
            a.left,
            a.top,
            a.width().max(0.0),
            a.height().max(0.0)
        ));
    }

    pub fn circle(&mut self, centre: (f32, f32), radius: f32, paint: Paint) {
        self.add(format_args!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"{paint}/>",
            centre.0, centre.1
        ));
    }

    pub fn ellipse(&mut self, centre: (f32, f32), rx: f32, ry: f32, turn: f32, paint: Paint) {
        self.add(format_args!(
            "<ellipse rx=\"{rx:.1}\" ry=\"{ry:.1}\" transform=\"translate({:.1} {:.1}) rotate({turn:.0})\"{paint}/>",
            centre.0, centre.1
        ));
    }

    pub fn line(&mut self, a: (f32, f32), b: (f32, f32), paint: Paint) {
        self.polyline(&[a, b], paint);
    }

    pub fn polyline(&mut self, points: &[(f32, f32)], paint: Paint) {
        self.shape(points, false, paint);
    }

    pub fn polygon(&mut self, points: &[(f32, f32)], paint: Paint) {
        self.shape(points, true, paint);
    }

    fn shape(&mut self, points: &[(f32, f32)], closed: bool, paint: Paint) {
        let mut d = String::with_capacity(points.len() * 14);
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
        }
        if closed {
            d.push('Z');
        }
        self.path(&d, paint);
    }

    pub fn path(&mut self, d: &str, paint: Paint) {
        self.add(format_args!("<path d=\"{d}\"{paint}/>"));
    }

    /// A pie slice from one angle to another, in turns clockwise from the top.
    pub fn sector(&mut self, c: (f32, f32), radius: f32, from: f32, to: f32, paint: Paint) {
        if to - from > 0.999 {
            self.circle(c, radius, paint);
            return;
        }
        let (a, b) = (around(c, radius, from), around(c, radius, to));
        let large = i32::from(to - from > 0.5);
        self.path(
            &format!(
                "M{:.1} {:.1}L{:.1} {:.1}A{radius:.1} {radius:.1} 0 {large} 1 {:.1} {:.1}Z",
                c.0, c.1, a.0, a.1, b.0, b.1
            ),
            paint,
        );
    }

    /// A line with a filled head at its end.
    pub fn arrow(&mut self, a: (f32, f32), b: (f32, f32), colour: Colour, width: f32) {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy).max(1e-3);
        let (ux, uy) = (dx / length, dy / length);
        let head = (width * 3.6).min(length);
        let neck = (b.0 - ux * head, b.1 - uy * head);
        self.line(a, neck, stroke(colour, width));
        let half = head * 0.55;
        let points = [
            b,
            (neck.0 - uy * half, neck.1 + ux * half),
            (neck.0 + uy * half, neck.1 - ux * half),
        ];
        self.polygon(&points, fill(colour));
    }

    /// Text must keep clear of this area.
    pub fn keep_clear(&mut self, area: Area) {
        self.marks.push(Mark::Box(area));
    }

    /// Text must keep clear of this line of the given width.
    pub fn keep_clear_of_line(&mut self, a: (f32, f32), b: (f32, f32), width: f32) {
        self.marks.push(Mark::Segment(a, b, width / 2.0));
    }

    /// Where a text would lie whose middle (in height) is at `at`.
    pub fn text_area(
        &self,
        at: (f32, f32),
        anchor: Anchor,
        size: f32,
        face: Face,
        text: &str,
    ) -> Area {
        let extent = typeface::extent(face, text);
        let width = extent.width * size;
        let left = match anchor {
            Anchor::Start => at.0,
            Anchor::Middle => at.0 - width / 2.0,
            Anchor::End => at.0 - width,
        };
        // Set by the height of capitals, so that labels in a row share a base line.
        let base = at.1 + 0.36 * size;
        Area::new(
            left,
            base - extent.top * size,
            left + width,
            base - extent.bottom * size,
        )
    }

    /// Writes text whose middle (in height) is at `at`; returns where it lies.
    pub fn text(
        &mut self,
        at: (f32, f32),
        anchor: Anchor,
        size: f32,
        face: Face,
        colour: Colour,
        text: &str,
    ) -> Area {
        let area = self.text_area(at, anchor, size, face, text);
        let path = typeface::outline(face, text);
        let base = at.1 + 0.36 * size;
        self.add(format_args!(
            "<path transform=\"translate({:.1} {base:.1}) scale({:.5})\" fill=\"{colour}\" d=\"{path}\"/>",
            area.left,
            size / 1000.0
        ));
        self.texts.push(area);
        area
    }

    /// Small text that reads across lines: with a rim in the colour behind it.
    pub fn rimmed(&mut self, at: (f32, f32), anchor: Anchor, size: f32, text: &str) -> Area {
        let look = self.look;
        let area = self.text_area(at, anchor, size, look.face, text);
        let path = typeface::outline(look.face, text);
        self.add(format_args!(
            "<path transform=\"translate({:.1} {:.1}) scale({:.5})\" stroke=\"{}\" stroke-width=\"{:.0}\" stroke-linejoin=\"round\" d=\"{path}\"/>",
            area.left,
            at.1 + 0.36 * size,
            size / 1000.0,
            look.panel,
            5000.0 / size,
        ));
        self.text(at, anchor, size, look.face, look.ink, text)
    }

    /// Running text in the look's face and ink.
    pub fn label(&mut self, at: (f32, f32), anchor: Anchor, text: &str) -> Area {
        let look = self.look;
        self.text(at, anchor, look.text, look.face, look.ink, text)
    }

    /// Bold text in the look's ink.
    pub fn strong(&mut self, at: (f32, f32), anchor: Anchor, size: f32, text: &str) -> Area {
        let look = self.look;
        self.text(at, anchor, size, look.bold, look.ink, text)
    }

    /// A title line at the top; returns the area below it.
    pub fn headed(&mut self, title: Option<&str>) -> Area {
        let margin = 8.0;
        let mut top = margin;
        if let Some(title) = title {
            let look = self.look;
            let mut size = look.title();
            // A long title is set smaller rather than cut.
            let width = typeface::extent(look.bold, title).width * size;
            if width > self.width - 12.0 {
                size *= (self.width - 12.0) / width;
            }
            let y = margin + size * 0.5;
            self.text(
                (self.width / 2.0, y),
                Anchor::Middle,
                size,
                look.bold,
                look.ink,
                title,
            );
            top = y + size * 0.5 + 6.0;
        }
        Area::new(margin, top, self.width - margin, self.height - margin)
    }

    /// Writes `text` close to `point`, on the first side that is free; `first` is the direction to
    /// try first, in turns clockwise from the top. Marks the layout as unfit where none is free.
    pub fn label_near(&mut self, point: (f32, f32), first: f32, size: f32, text: &str) {
        let look = self.look;
        let extent = typeface::extent(look.bold, text);
        let (half_w, half_h) = (extent.width * size / 2.0, size * 0.36);
        for distance in [5.0, 8.0, 12.0] {
            for turn in [
                0.0, 0.06, -0.06, 0.12, -0.12, 0.2, -0.2, 0.3, -0.3, 0.4, -0.4, 0.5,
            ] {
                let (dx, dy) = around((0.0, 0.0), 1.0, first + turn);
                let at = (
                    point.0 + dx * (distance + half_w),
                    point.1 + dy * (distance + half_h),
                );
                let area = self.text_area(at, Anchor::Middle, size, look.bold, text);
                if self.is_free(&area) {
                    self.text(at, Anchor::Middle, size, look.bold, look.ink, text);
                    return;
                }
            }
        }
        self.unplaced = true;
    }

    fn is_free(&self, area: &Area) -> bool {
        let wide = area.inset(-CLEARANCE);
        let edge = self.area();
        wide.left >= edge.left
            && wide.top >= edge.top
            && wide.right <= edge.right
            && wide.bottom <= edge.bottom
            && !self.texts.iter().any(|t| t.meets(&wide))
            && !self.marks.iter().any(|m| match m {
                Mark::Box(a) => a.meets(&wide),
                Mark::Segment(a, b, half) => wide.inset(-half).meets_segment(*a, *b),
            })
    }

    /// Where the texts lie.
    #[cfg(test)]
    pub fn texts(&self) -> &[Area] {
        &self.texts
    }

    /// Declares that something could not be laid out.
    pub fn give_up(&mut self) {
        self.unplaced = true;
    }

    /// Whether no text meets another, none meets a mark it keeps clear of, and none leaves the
    /// canvas.
    pub fn fits(&self) -> bool {
        let edge = self.area().inset(CLEARANCE);
        !self.unplaced
            && self.texts.iter().enumerate().all(|(i, t)| {
                t.left >= edge.left
                    && t.top >= edge.top
                    && t.right <= edge.right
                    && t.bottom <= edge.bottom
                    && !self.texts[..i]
                        .iter()
                        .any(|other| other.meets(&t.inset(-CLEARANCE)))
                    && !self.marks.iter().any(|m| match m {
                        Mark::Box(a) => a.meets(t),
                        Mark::Segment(a, b, half) => t.inset(-half).meets_segment(*a, *b),
                    })
            })
    }
}

/// The point at `turn` (in turns, clockwise from the top) on a circle.
pub(crate) fn around(centre: (f32, f32), radius: f32, turn: f32) -> (f32, f32) {
    let angle = turn * std::f32::consts::TAU;
    (
        centre.0 + radius * angle.sin(),
        centre.1 - radius * angle.cos(),
    )
}
