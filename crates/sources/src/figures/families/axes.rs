//! The axes that charts share: panel, grid lines, ticks and their labels.

use crate::figures::canvas::{Anchor, Area, Canvas, fill, stroke};
use crate::figures::typeface;

/// From values to positions along one axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    low: f32,
    high: f32,
    from: f32,
    to: f32,
}

impl Scale {
    pub fn at(&self, value: f32) -> f32 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }
}

/// The plot area of a chart, with its value axis drawn.
pub(crate) struct Plot {
    pub area: Area,
    pub scale: Scale,
}

fn tick_size(canvas: &Canvas) -> f32 {
    (canvas.look.text - 1.0).max(12.0)
}

/// Draws a chart whose values run upwards from 0 to `max`, with a tick every `step`; leaves room
/// below for one line of labels.
pub(crate) fn upwards(canvas: &mut Canvas, room: Area, max: i64, step: i64) -> Plot {
    let look = canvas.look;
    let size = tick_size(canvas);
    let widest = typeface::extent(look.face, &max.to_string()).width * size;
    let area = Area::new(
        room.left + widest + 6.0,
        room.top + size * 0.4,
        room.right - 2.0,
        room.bottom - look.text - 6.0,
    );
    let scale = Scale {
        low: 0.0,
        high: max as f32,
        from: area.bottom,
        to: area.top,
    };
    canvas.rect(area, fill(look.panel));
    let mut value = 0;
    while value <= max {
        let y = scale.at(value as f32);
        if look.show_grid && value > 0 {
            canvas.line((area.left, y), (area.right, y), stroke(look.grid, 1.0));
        }
        canvas.line((area.left - 3.0, y), (area.left, y), stroke(look.ink, 1.2));
        let at = (area.left - 5.0, y);
        canvas.text(
            at,
            Anchor::End,
            size,
            look.face,
            look.ink,
            &value.to_string(),
        );
        value += step.max(1);
    }
    frame(canvas, area);
    Plot { area, scale }
}

/// Draws a chart whose values run to the right from 0 to `max`; leaves room at the left for
/// labels as wide as the widest of `labels`.
pub(crate) fn rightwards(
    canvas: &mut Canvas,
    room: Area,
    max: i64,
    step: i64,
    labels: &[String],
) -> Plot {
    let look = canvas.look;
    let size = tick_size(canvas);
    let widest = labels
        .iter()
        .map(|l| typeface::extent(look.face, l).width * look.text)
        .fold(0.0f32, f32::max);
    let area = Area::new(
        room.left + widest + 6.0,
        room.top,
        room.right - size * 0.9,
        room.bottom - size - 4.0,
    );
    let scale = Scale {
        low: 0.0,
        high: max as f32,
        from: area.left,
        to: area.right,
    };
    canvas.rect(area, fill(look.panel));
    let mut value = 0;
    while value <= max {
        let x = scale.at(value as f32);
        if look.show_grid && value > 0 {
            canvas.line((x, area.top), (x, area.bottom), stroke(look.grid, 1.0));
        }
        canvas.line(
            (x, area.bottom),
            (x, area.bottom + 3.0),
            stroke(look.ink, 1.2),
        );
        let at = (x, area.bottom + 4.0 + size * 0.45);
        canvas.text(
            at,
            Anchor::Middle,
            size,
            look.face,
            look.ink,
            &value.to_string(),
        );
        value += step.max(1);
    }
    frame(canvas, area);
    Plot { area, scale }
}

/// Draws a plane with both axes from `low` to `high`, through the origin or along the edges.
pub(crate) fn plane(canvas: &mut Canvas, room: Area, low: i64, high: i64) -> (Area, Scale, Scale) {
    let look = canvas.look;
    let size = tick_size(canvas);
    let crossing = low < 0;
    let area = if crossing {
        room.inset(2.0)
    } else {
        Area::new(
            room.left + size * 1.5,
            room.top + 4.0,
            room.right - 6.0,
            room.bottom - size - 3.0,
        )
    };
    let (l, h) = (low as f32, high as f32);
    let x = Scale {
        low: l,
        high: h,
        from: area.left,
        to: area.right,
    };
    let y = Scale {
        low: l,
        high: h,
        from: area.bottom,
        to: area.top,
    };
    canvas.rect(area, fill(look.panel));
    for value in low..=high {
        let (px, py) = (x.at(value as f32), y.at(value as f32));
        let line = stroke(look.grid, 1.0);
        if look.show_grid || crossing {
            canvas.line((px, area.top), (px, area.bottom), line);
            canvas.line((area.left, py), (area.right, py), line);
        }
    }
    let (ox, oy) = if crossing {
        (x.at(0.0), y.at(0.0))
    } else {
        (area.left, area.bottom)
    };
    let axis = stroke(look.ink, look.line);
    canvas.line((area.left, oy), (area.right, oy), axis);
    canvas.line((ox, area.bottom), (ox, area.top), axis);
    (area, x, y)
}

/// Writes the numbers of a [`plane`], over what was drawn in it since.
pub(crate) fn plane_numbers(
    canvas: &mut Canvas,
    (area, x, y): (Area, Scale, Scale),
    low: i64,
    high: i64,
    step: i64,
) {
    let size = tick_size(canvas);
    let crossing = low < 0;
    let (ox, oy) = if crossing {
        (x.at(0.0), y.at(0.0))
    } else {
        (area.left, area.bottom)
    };
    let mut value = low;
    while value <= high {
        let (px, py) = (x.at(value as f32), y.at(value as f32));
        // On crossing axes the numbers at the origin and at the very ends are left out.
        if !crossing || (value != 0 && value != low && value != high) {
            let text = value.to_string();
            let below = (px, oy + 4.0 + size * 0.45);
            canvas.rimmed(below, Anchor::Middle, size, &text);
            if !crossing || value != 0 {
                canvas.rimmed((ox - 5.0, py), Anchor::End, size, &text);
            }
        }
        value += step.max(1);
    }
}

/// Two axes, or a closed frame where the look has one.
fn frame(canvas: &mut Canvas, area: Area) {
    let look = canvas.look;
    if look.framed {
        canvas.rect(area, stroke(look.ink, look.line));
    } else {
        let corner = (area.left, area.bottom);
        let points = [(area.left, area.top), corner, (area.right, area.bottom)];
        canvas.polyline(&points, stroke(look.ink, look.line));
    }
}

/// A legend of coloured squares in one line, centred at the top of `room`; returns what is left.
pub(crate) fn legend(
    canvas: &mut Canvas,
    room: Area,
    entries: &[(crate::figures::palette::Colour, String)],
) -> Area {
    let look = canvas.look;
    let (square, gap, size) = (11.0, 12.0, look.text);
    let widths: Vec<f32> = entries
        .iter()
        .map(|(_, t)| typeface::extent(look.face, t).width * size)
        .collect();
    let total: f32 =
        widths.iter().map(|w| w + square + 4.0).sum::<f32>() + gap * (entries.len() as f32 - 1.0);
    let mut x = (room.left + room.right - total) / 2.0;
    let y = room.top + size * 0.55;
    for ((colour, text), width) in entries.iter().zip(widths) {
        let half = square / 2.0;
        canvas.rect(Area::new(x, y - half, x + square, y + half), fill(*colour));
        canvas.label((x + square + 4.0, y), Anchor::Start, text);
        x += square + 4.0 + width + gap;
    }
    Area::new(room.left, y + size * 0.6 + 4.0, room.right, room.bottom)
}
