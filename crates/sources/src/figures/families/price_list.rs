//! Price lists: a board with items, coloured tags and prices.

use sample::Task;
use serde::{Deserialize, Serialize};

use super::marks::Thing;
use crate::figures::canvas::{Anchor, Area, Canvas, fill, stroke};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, decimal, int, ordinal, read, seen, word};
use crate::figures::random::{Rng8, count, pick, several, spread};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};

pub(crate) struct PriceList;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: String,
    items: Vec<String>,
    /// In cents.
    prices: Vec<i64>,
    hues: Vec<Hue>,
    /// Which items are crossed out.
    sold_out: Vec<bool>,
    header: Hue,
    mark: Thing,
}

const LISTS: &[(&str, &[&str])] = &[
    (
        "Fruit stand",
        &["apple", "pear", "melon", "mango", "lemon", "peach"],
    ),
    (
        "School shop",
        &["pen", "ruler", "glue", "book", "eraser", "brush"],
    ),
    ("Cafe", &["tea", "juice", "soup", "cake", "salad", "milk"]),
    ("Toys", &["kite", "ball", "doll", "car", "robot", "puzzle"]),
];

fn dollars(cents: i64) -> String {
    if cents % 100 == 0 {
        format!("${}", cents / 100)
    } else {
        format!("${}.{:02}", cents / 100, cents % 100)
    }
}

impl Figure for PriceList {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "price_list"
    }

    fn task(&self) -> Task {
        Task::Mwp
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let n = count(rng, 2, 6);
        let (title, names) = pick(rng, LISTS);
        // Whole dollars, or quarters of a dollar.
        let step = pick(rng, &[100, 100, 25]);
        let prices = spread(rng, n, 1, 12, 1)
            .into_iter()
            .map(|p| p * step)
            .collect();
        let mut hues = Hue::some(rng, n + 1);
        let header = hues.pop().unwrap_or(Hue::Blue);
        let gone = count(rng, 0, (n - 1).min(3));
        let mut sold_out: Vec<bool> = (0..n).map(|i| i < gone).collect();
        sold_out = several(rng, &sold_out, n);
        Scene {
            title: title.to_owned(),
            items: several(rng, names, n)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            prices,
            hues,
            sold_out,
            header,
            mark: pick(rng, &[Thing::Ball, Thing::Star, Thing::Gift, Thing::Apple]),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let n = s.items.len();
        expect((2..=6).contains(&n), "2 to 6 items")?;
        expect(
            s.prices.len() == n && s.hues.len() == n && s.sold_out.len() == n,
            "price, hue and state for each item",
        )?;
        expect(
            s.prices.iter().all(|p| (1..=100_000).contains(p)),
            "prices from 0.01 to 1000",
        )?;
        expect(
            distinct(&s.items) && distinct(&s.prices) && distinct(&s.hues),
            "distinct entries",
        )?;
        expect(
            s.items.iter().chain([&s.title]).all(|t| plain(t)),
            "plain texts",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        let cents = s.prices.iter().any(|p| p % 100 != 0);
        Load {
            objects: s.items.len(),
            relations: 1 + usize::from(s.sold_out.contains(&true)),
            computation: if cents { 3 } else { 1 },
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, _: &mut Rng8) {
        let look = canvas.look;
        let board = canvas.area().inset(10.0);
        canvas.rounded(board, 8.0, fill(Colour::WHITE).edged(look.ink, look.line));
        let head = Area::new(board.left, board.top, board.right, board.top + 32.0);
        let colour = look.hue(s.header);
        canvas.rounded(head, 8.0, fill(colour).edged(look.ink, look.line));
        let at = head.centre();
        canvas.text(
            at,
            Anchor::Middle,
            look.title(),
            look.bold,
            colour.contrast(),
            &s.title,
        );
        let top = head.bottom + 4.0;
        let height = (board.bottom - top - 4.0) / s.items.len() as f32;
        for (i, item) in s.items.iter().enumerate() {
            let y = top + height * (i as f32 + 0.5);
            let r = (height * 0.42).min(15.0);
            let x = board.left + 14.0 + r;
            s.mark.draw(canvas, (x, y), r, look.hue(s.hues[i]));
            let name = canvas.label((board.left + 56.0, y), Anchor::Start, item);
            let price = dollars(s.prices[i]);
            let end = canvas.strong(
                (board.right - 14.0, y),
                Anchor::End,
                look.text + 1.0,
                &price,
            );
            if look.show_grid && i > 0 {
                let line = y - height / 2.0;
                let rule = stroke(look.grid, 1.0);
                canvas.line((board.left + 8.0, line), (board.right - 8.0, line), rule);
            }
            if s.sold_out[i] {
                let cross = stroke(Colour(200, 30, 30), 3.0);
                canvas.line((name.left - 3.0, y), (end.right + 3.0, y), cross);
            } else if !look.framed {
                let dots = stroke(look.grid, 1.5).dashed();
                canvas.line((name.right + 8.0, y + 4.0), (end.left - 8.0, y + 4.0), dots);
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.items.len();
        let names: Vec<String> = s.hues.iter().map(|h| h.name().to_owned()).collect();
        let pool = Hue::pool(&s.hues);
        let gone = s.sold_out.iter().filter(|g| **g).count();
        let money = |cents: i64| decimal(cents as f64 / 100.0, 2);
        let mut all = vec![
            seen(
                "items",
                int(n),
                [
                    "How many items are on the list?",
                    "What is the number of items on the list?",
                    "Number of items?",
                ],
            )
            .near_misses()
            .measures("the number of items"),
            seen(
                "header_colour",
                word(s.header.name()),
                [
                    "What colour is the header of the list?",
                    "Which colour does the title bar have?",
                    "Header colour?",
                ],
            )
            .among(s.header.others()),
            seen(
                "sold_out",
                int(gone),
                [
                    "How many items are crossed out?",
                    "Items that are sold out are crossed out. How many are sold out?",
                    "Crossed out items?",
                ],
            )
            .measures("the number of items that are crossed out"),
            seen(
                "still_there",
                int(n - gone),
                [
                    "How many items are not crossed out?",
                    "Items that are crossed out are sold out. How many can you still buy?",
                    "Items not crossed out?",
                ],
            )
            .steps(2)
            .measures("the number of items that are not crossed out"),
        ];
        for (i, name) in names.iter().enumerate() {
            let place = ordinal(i);
            all.push(
                seen(
                    "mark_colour",
                    word(&**name),
                    [
                        format!("What colour is the picture of the {place} item from the top?"),
                        format!("Counting from the top, which colour marks the {place} item?"),
                        format!("Colour of {place} item?"),
                    ],
                )
                .among(pool.clone()),
            );
            let (item, price) = (&s.items[i], s.prices[i]);
            all.push(
                read(
                    "price",
                    money(price),
                    [
                        format!("How much does the {item} cost?"),
                        format!("What is the price of the {item}?"),
                        format!("Price of {item}?"),
                    ],
                )
                .unit("$")
                .near_misses(),
            );
            let times = 2 + i as i64 % 3;
            all.push(
                read(
                    "several",
                    money(price * times),
                    [
                        format!(
                            "One {item} costs as the list says. How much do {times} of them cost?"
                        ),
                        format!("What do you pay for {times} times the {item}?"),
                        format!("{times} times {item}?"),
                    ],
                )
                .unit("$")
                .steps(2)
                .near_misses(),
            );
            let other = (i + 1) % n;
            all.push(
                read(
                    "together",
                    money(price + s.prices[other]),
                    [
                        format!(
                            "How much do the {item} and the {} cost together?",
                            s.items[other]
                        ),
                        format!(
                            "You buy the {item} and the {}. What do you pay?",
                            s.items[other]
                        ),
                        format!("{item} plus {}?", s.items[other]),
                    ],
                )
                .unit("$")
                .steps(3)
                .near_misses(),
            );
            let note = if price < 500 { 500 } else { 2000 };
            if price < note {
                all.push(
                    read(
                        "change",
                        money(note - price),
                        [
                            format!(
                                "You pay the {item} with ${}. How much change do you get?",
                                note / 100
                            ),
                            format!("What is left of ${} after buying the {item}?", note / 100),
                            format!("Change from ${} for {item}?", note / 100),
                        ],
                    )
                    .unit("$")
                    .steps(3)
                    .near_misses(),
                );
            }
        }
        let dear = (0..n).max_by_key(|i| s.prices[*i]).unwrap_or(0);
        let cheap = (0..n).min_by_key(|i| s.prices[*i]).unwrap_or(0);
        for (template, which, what) in [
            ("dearest", dear, "most expensive"),
            ("cheapest", cheap, "cheapest"),
        ] {
            all.push(
                read(
                    template,
                    word(&*s.items[which]),
                    [
                        format!("Which item is the {what}?"),
                        format!("What is the {what} item on the list?"),
                        format!("{what} item?"),
                    ],
                )
                .steps(2)
                .among(s.items.clone()),
            );
        }
        all
    }
}
