//! Tables: named rows and columns of whole numbers, with shading.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Anchor, Area, Canvas, fill, stroke};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, int, list, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, several, spread};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};

pub(crate) struct Table;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: Option<String>,
    rows: Vec<String>,
    columns: Vec<String>,
    /// One list per row.
    cells: Vec<Vec<i64>>,
    header: Hue,
    /// The row with a coloured background, and its colour.
    marked: Option<(usize, Hue)>,
}

const ROWS: &[&[&str]] = &[
    &["Ann", "Ben", "Eva", "Leo", "Mia", "Tom"],
    &["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
    &["Oak", "Pine", "Elm", "Ash", "Fir", "Yew"],
    &["Cat", "Dog", "Cow", "Hen", "Pig", "Fox"],
];
const COLUMNS: &[&[&str]] = &[
    &["Red", "Blue", "Pink", "Gold"],
    &["May", "June", "July", "Aug"],
    &["Math", "Art", "Sport", "Music"],
];

impl Figure for Table {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "table"
    }

    fn task(&self) -> Task {
        Task::Fqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let rows = count(rng, 2, 6);
        let columns = count(rng, 1, 4);
        let names = pick(rng, ROWS);
        let heads = pick(rng, COLUMNS);
        // Distinct within a column, so that each has one largest cell.
        let by_column: Vec<Vec<i64>> = (0..columns).map(|_| spread(rng, rows, 1, 29, 1)).collect();
        let hues = Hue::some(rng, 2);
        Scene {
            title: chance(rng, 0.4)
                .then(|| pick(rng, &["Points", "Tickets", "Cards", "Results"]).to_owned()),
            rows: several(rng, names, rows)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            columns: heads
                .iter()
                .take(columns)
                .map(|h| (*h).to_owned())
                .collect(),
            cells: (0..rows)
                .map(|r| by_column.iter().map(|c| c[r]).collect())
                .collect(),
            header: hues[0],
            marked: chance(rng, 0.7).then(|| (count(rng, 0, rows - 1), hues[1])),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let (r, c) = (s.rows.len(), s.columns.len());
        expect(
            (2..=6).contains(&r) && (1..=4).contains(&c),
            "2 to 6 rows, 1 to 4 columns",
        )?;
        expect(
            s.cells.len() == r && s.cells.iter().all(|row| row.len() == c),
            "a full table",
        )?;
        expect(
            s.cells.iter().flatten().all(|v| (0..1000).contains(v)),
            "cells from 0 to 999",
        )?;
        expect(distinct(&s.rows) && distinct(&s.columns), "distinct names")?;
        expect(
            s.rows
                .iter()
                .chain(&s.columns)
                .chain(&s.title)
                .all(|t| plain(t)),
            "plain texts",
        )?;
        expect(
            s.marked.is_none_or(|(row, _)| row < r),
            "a marked row that exists",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        Load {
            objects: s.rows.len() * s.columns.len() / 2,
            relations: s.columns.len(),
            computation: 1,
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, _: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.headed(s.title.as_deref());
        let (rows, columns) = (s.rows.len() as f32 + 1.0, s.columns.len() as f32 + 1.0);
        let height = (room.height() / rows).min(40.0);
        let width = (room.width() / columns).min(110.0);
        let left = room.centre().0 - width * columns / 2.0;
        let top = room.centre().1 - height * rows / 2.0;
        let whole = Area::new(left, top, left + width * columns, top + height * rows);
        let band = |r: usize| {
            let y = top + height * r as f32;
            Area::new(whole.left, y, whole.right, y + height)
        };
        let head = look.hue(s.header);
        canvas.rect(whole, fill(Colour::WHITE));
        canvas.rect(band(0), fill(head));
        if let Some((row, hue)) = s.marked {
            canvas.rect(
                band(row + 1),
                fill(look.hue(hue).towards(Colour::WHITE, 0.25)),
            );
        }
        let rule = stroke(look.ink, 1.2);
        for r in 1..=s.rows.len() {
            let y = top + height * r as f32;
            canvas.line((whole.left, y), (whole.right, y), rule);
        }
        for c in 1..=s.columns.len() {
            let x = left + width * c as f32;
            canvas.line((x, whole.top), (x, whole.bottom), rule);
        }
        canvas.rect(whole, stroke(look.ink, look.line));
        let centre = |r: usize, c: usize| {
            (
                left + width * (c as f32 + 0.5),
                top + height * (r as f32 + 0.5),
            )
        };
        let size = look.text;
        for (c, name) in s.columns.iter().enumerate() {
            let at = centre(0, c + 1);
            canvas.text(at, Anchor::Middle, size, look.bold, head.contrast(), name);
        }
        for (r, name) in s.rows.iter().enumerate() {
            let marked = s.marked.filter(|(row, _)| *row == r);
            let ink = marked.map_or(look.ink, |(_, h)| {
                look.hue(h).towards(Colour::WHITE, 0.25).contrast()
            });
            canvas.text(centre(r + 1, 0), Anchor::Middle, size, look.bold, ink, name);
            for (c, value) in s.cells[r].iter().enumerate() {
                let at = centre(r + 1, c + 1);
                canvas.text(at, Anchor::Middle, size, look.face, ink, &value.to_string());
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let (r, c) = (s.rows.len(), s.columns.len());
        let mut all = vec![
            seen(
                "rows",
                int(r),
                [
                    "How many rows does the table have below its header?",
                    "Without the header, what is the number of rows of the table?",
                    "Number of rows below header?",
                ],
            )
            .near_misses()
            .measures("the number of rows below the header"),
            seen(
                "columns",
                int(c + 1),
                [
                    "How many columns does the table have, the names included?",
                    "What is the number of columns of the table, with the column of names?",
                    "Number of columns?",
                ],
            )
            .near_misses()
            .measures("the number of columns"),
            seen(
                "header_colour",
                word(s.header.name()),
                [
                    "What colour is the header of the table?",
                    "Which colour does the top row of the table have?",
                    "Header colour?",
                ],
            )
            .among(s.header.others()),
            seen(
                "has_marked",
                yes(s.marked.is_some()),
                [
                    "Is there a coloured row below the header?",
                    "Below the header, does the table have a row with a coloured background?",
                    "Coloured row below header?",
                ],
            ),
        ];
        // The share of tables with a marked row is not a half, so this one is asked only of some.
        if r % 2 == 1 {
            all.pop();
        }
        if let Some((row, hue)) = s.marked {
            all.push(
                seen(
                    "marked_colour",
                    word(hue.name()),
                    [
                        "What colour is the marked row below the header?",
                        "Which colour does the highlighted row have?",
                        "Marked row's colour?",
                    ],
                )
                .among(hue.others()),
            );
            all.push(
                seen(
                    "marked_row",
                    int(row + 1),
                    [
                        "Which row below the header is highlighted? Count from the top.",
                        "Counting rows below the header, what is the number of the coloured row?",
                        "Number of highlighted row?",
                    ],
                )
                .measures("the number of the highlighted row"),
            );
            all.push(
                read(
                    "marked_name",
                    word(&*s.rows[row]),
                    [
                        "What is the name of the highlighted row?",
                        "Which name stands in the coloured row below the header?",
                        "Name of highlighted row?",
                    ],
                )
                .among(s.rows.clone()),
            );
        }
        for (i, name) in s.rows.iter().enumerate() {
            for (j, head) in s.columns.iter().enumerate() {
                let value = s.cells[i][j];
                all.push(
                    read(
                        "cell",
                        int(value),
                        [
                            format!("What number does {name} have for {head}?"),
                            format!("Which number stands in row {name} and column {head}?"),
                            format!("{name}, {head}?"),
                        ],
                    )
                    .steps(2)
                    .near_misses()
                    .measures(format!("the number of {name} for {head}")),
                );
            }
            if c > 1 {
                let sum: i64 = s.cells[i].iter().sum();
                all.push(
                    read(
                        "row_sum",
                        int(sum),
                        [
                            format!("What is the sum of the numbers of {name}?"),
                            format!("What do all numbers in row {name} add up to?"),
                            format!("Sum of {name}?"),
                        ],
                    )
                    .steps(3)
                    .near_misses(),
                );
                all.push(
                    read(
                        "row_list",
                        list(s.cells[i].iter().map(i64::to_string)),
                        [
                            format!("List the numbers of {name} from left to right."),
                            format!("Which numbers stand in row {name}, in order?"),
                            format!("Numbers of {name}?"),
                        ],
                    )
                    .steps(2),
                );
            }
        }
        for (j, head) in s.columns.iter().enumerate() {
            let key = |i: &usize| s.cells[*i][j];
            let top = (0..r).max_by_key(key).unwrap_or(0);
            if s.cells
                .iter()
                .filter(|row| row[j] == s.cells[top][j])
                .count()
                == 1
            {
                all.push(
                    read(
                        "column_best",
                        word(&*s.rows[top]),
                        [
                            format!("Who or what has the largest number for {head}?"),
                            format!("In which row is the largest number of column {head}?"),
                            format!("Largest {head}?"),
                        ],
                    )
                    .steps(2)
                    .among(s.rows.clone()),
                );
            }
            let low = (0..r).min_by_key(key).unwrap_or(0);
            all.push(
                read(
                    "column_range",
                    int(s.cells[top][j] - s.cells[low][j]),
                    [
                        format!("What is the difference between the largest and the smallest number for {head}?"),
                        format!("By how much do the largest and the smallest number in column {head} differ?"),
                        format!("Range of {head}?"),
                    ],
                )
                .steps(3)
                .near_misses(),
            );
        }
        all
    }
}
