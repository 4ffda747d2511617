//! What follows from a diagram: lengths and angles by linear equations, and then, round by round,
//! what right triangles and parallels add.
//!
//! **Invariant:** a value is known only if the equations leave no other. Where they contradict each
//! other (a diagram that is wrong, or drawn otherwise than its marks say) nothing is known.

use std::collections::{BTreeMap, BTreeSet};

use super::Diagram;
use super::equation::{Equation, Key};
use super::form::{FIGURES, Form, Sum};
use super::lines::lines;

/// Below this a factor is nought: the factors are small whole numbers and what elimination makes of
/// them.
const NOUGHT: f64 = 1e-7;
/// Rounds of deduction; each must add something.
const ROUNDS: usize = 12;
/// Equations at most; beyond it a diagram is given up.
const MOST: usize = 4000;

/// A diagram with what is known about it.
pub(super) struct Known<'a> {
    diagram: &'a Diagram,
    /// Points on one line, in their order along it; two at least.
    lines: Vec<Vec<char>>,
    equations: Vec<Equation>,
    values: BTreeMap<Key, f64>,
}

impl<'a> Known<'a> {
    /// Reads the diagram with the `said` forms added; `None` where they contradict each other.
    pub fn from(diagram: &'a Diagram, said: &[Form], sums: &[(Key, Sum)]) -> Option<Known<'a>> {
        let mut known = Known {
            diagram,
            lines: lines(diagram),
            equations: Vec::new(),
            values: BTreeMap::new(),
        };
        known.along_lines();
        known.around_points();
        known.triangle_sums();
        let marked = diagram.marked.iter().filter_map(|f| Form::parse(f));
        let forms: Vec<Form> = marked.chain(said.iter().cloned()).collect();
        for form in &forms {
            known.read(form);
        }
        for (key, sum) in sums {
            known.equations.push(Equation::is(key.clone(), sum));
        }
        for _ in 0..ROUNDS {
            if known.equations.len() > MOST {
                return None;
            }
            known.solve()?;
            let before = known.equations.len();
            known.right_triangles();
            known.equal_sides();
            for form in &forms {
                known.proportions(form);
            }
            if known.equations.len() == before {
                break;
            }
        }
        let is_sound = |(key, value): (&Key, &f64)| match key {
            Key::Length(..) => *value > 0.0,
            Key::Angle(..) => *value > 0.0 && *value < 180.0 + 1e-6,
            _ => true,
        };
        known.values.iter().all(is_sound).then_some(known)
    }

    pub fn value(&self, key: &Key) -> Option<f64> {
        self.values.get(key).copied()
    }

    /// The length of a line, whatever the order of its ends.
    pub fn length(a: char, b: char) -> Key {
        Key::Length(a.min(b), a.max(b))
    }

    /// The angle at `v`; `None` unless both of its sides are drawn and differ.
    pub fn angle(&self, a: char, v: char, b: char) -> Option<Key> {
        let (a, b) = (self.ray(v, a)?, self.ray(v, b)?);
        (a != b).then(|| Key::Angle(v, a.min(b), a.max(b)))
    }

    /// The angle at a point that has only one.
    pub fn angle_at(&self, v: char) -> Option<Key> {
        match self.rays(v)[..] {
            [a, b] => self.angle(a, v, b),
            _ => None,
        }
    }

    /// The first point by name on the ray from `v` through `p`.
    fn ray(&self, v: char, p: char) -> Option<char> {
        let line = self.line_of(v, p)?;
        let at = |p| line.iter().position(|q| *q == p);
        let (from, to) = (at(v)?, at(p)?);
        let side = if to > from {
            &line[from + 1..]
        } else {
            &line[..from]
        };
        side.iter().min().copied()
    }

    fn line_of(&self, a: char, b: char) -> Option<&Vec<char>> {
        let mut both = self
            .lines
            .iter()
            .filter(|l| l.contains(&a) && l.contains(&b));
        both.next().filter(|_| a != b)
    }

    /// One point on every ray from `v`.
    fn rays(&self, v: char) -> Vec<char> {
        let others = self.lines.iter().filter(|l| l.contains(&v)).flatten();
        let rays: BTreeSet<char> = others.filter_map(|p| self.ray(v, *p)).collect();
        rays.into_iter().collect()
    }

    fn along_lines(&mut self) {
        for line in &self.lines {
            for i in 0..line.len() {
                for j in i + 1..line.len() {
                    for k in j + 1..line.len() {
                        self.equations.push(
                            Equation::default()
                                .plus(1.0, Known::length(line[i], line[j]))
                                .plus(1.0, Known::length(line[j], line[k]))
                                .plus(-1.0, Known::length(line[i], line[k])),
                        );
                    }
                }
            }
        }
    }

    /// Straight angles, and angles that are the sum of two beside each other.
    fn around_points(&mut self) {
        let points: Vec<char> = self.points();
        for v in points {
            let rays = self.rays(v);
            let at = self.diagram.at(v);
            let turn = |p: char| {
                let q = self.diagram.at(p);
                (q[1] - at[1]).atan2(q[0] - at[0])
            };
            let between = |a: char, b: char| {
                let turn = (turn(a) - turn(b)).abs();
                turn.min(std::f64::consts::TAU - turn)
            };
            let mut made = Vec::new();
            for (i, a) in rays.iter().enumerate() {
                for c in &rays[i + 1..] {
                    let Some(whole) = self.angle(*a, v, *c) else {
                        continue;
                    };
                    let is_straight = self.line_of(*a, *c).is_some_and(|l| l.contains(&v));
                    if is_straight {
                        made.push(Equation::default().plus(1.0, whole.clone()).equals(180.0));
                    }
                    for b in rays.iter().filter(|b| *b != a && *b != c) {
                        let parts = between(*a, *b) + between(*b, *c);
                        let is_between = (parts - between(*a, *c)).abs() < 1e-6 || is_straight;
                        if let (true, Some(x), Some(y)) =
                            (is_between, self.angle(*a, v, *b), self.angle(*b, v, *c))
                        {
                            made.push(
                                Equation::default()
                                    .plus(1.0, x)
                                    .plus(1.0, y)
                                    .plus(-1.0, whole.clone()),
                            );
                        }
                    }
                }
            }
            self.equations.extend(made);
        }
    }

    fn points(&self) -> Vec<char> {
        let names = self.diagram.points.keys();
        names.filter_map(|name| name.chars().next()).collect()
    }

    /// Three points, each two on a line that is drawn, not all on one.
    pub fn triangles(&self) -> Vec<[char; 3]> {
        let points = self.points();
        let mut found = Vec::new();
        for (i, a) in points.iter().enumerate() {
            for (j, b) in points.iter().enumerate().skip(i + 1) {
                for c in &points[j + 1..] {
                    let on = [(a, b), (b, c), (a, c)].map(|(p, q)| self.line_of(*p, *q));
                    if let [Some(x), Some(y), Some(z)] = on
                        && x != y
                        && y != z
                        && x != z
                    {
                        found.push([*a, *b, *c]);
                    }
                }
            }
        }
        found
    }

    fn triangle_sums(&mut self) {
        for [a, b, c] in self.triangles() {
            let angles = [
                self.angle(b, a, c),
                self.angle(a, b, c),
                self.angle(a, c, b),
            ];
            if let [Some(x), Some(y), Some(z)] = angles {
                self.equations.push(
                    Equation::default()
                        .plus(1.0, x)
                        .plus(1.0, y)
                        .plus(1.0, z)
                        .equals(180.0),
                );
            }
        }
    }

    /// What a length or measure is about.
    fn key(&self, form: &Form) -> Option<Key> {
        if let Some([of]) = form.call("LengthOf") {
            let line = of.points("Line")?;
            let [a, b] = line[..] else {
                return None;
            };
            return Some(Known::length(a, b));
        }
        let [of] = form.call("MeasureOf")? else {
            return None;
        };
        match of {
            Form::Leaf(mark) => Some(Key::Mark(mark.clone())),
            Form::Call(..) => match of.points("Angle")?[..] {
                [a, v, b] => self.angle(a, v, b),
                [v] => self.angle_at(v),
                _ => None,
            },
        }
    }

    fn read(&mut self, form: &Form) {
        if let Some([left, right]) = form.call("Equals") {
            let equation = match (self.key(left), self.key(right), right) {
                (Some(a), Some(b), _) => Some(Equation::same(a, b)),
                (Some(a), None, Form::Leaf(sum)) => Sum::parse(sum).map(|s| Equation::is(a, &s)),
                _ => None,
            };
            self.equations.extend(equation);
        } else if let Some([first, second]) = form.call("Perpendicular") {
            self.perpendicular(first, second);
        } else if let Some([first, second]) = form.call("Parallel") {
            self.parallel(first, second);
        } else {
            for name in FIGURES {
                if let Some(points) = form.points(name)
                    && let [a, b, c, d] = points[..]
                {
                    self.quadrilateral(name, [a, b, c, d]);
                }
            }
        }
    }

    /// The line that a form names.
    fn line(&self, form: &Form) -> Option<Vec<char>> {
        let points = form.points("Line")?;
        let [a, b] = points[..] else {
            return None;
        };
        self.line_of(a, b).cloned()
    }

    fn perpendicular(&mut self, first: &Form, second: &Form) {
        let (Some(one), Some(other)) = (self.line(first), self.line(second)) else {
            return;
        };
        let Some(v) = one.iter().find(|p| other.contains(p)).copied() else {
            return;
        };
        for a in one.iter().filter(|p| **p != v) {
            for b in other.iter().filter(|p| **p != v) {
                let right = self.angle(*a, v, *b);
                let right = right.map(|key| Equation::default().plus(1.0, key).equals(90.0));
                self.equations.extend(right);
            }
        }
    }

    /// Angles on one side of a line across two parallels make a straight one.
    fn parallel(&mut self, first: &Form, second: &Form) {
        let (Some(one), Some(mut other)) = (self.line(first), self.line(second)) else {
            return;
        };
        let ends = |line: &[char]| {
            let (a, b) = (
                self.diagram.at(line[0]),
                self.diagram.at(line[line.len() - 1]),
            );
            [b[0] - a[0], b[1] - a[1]]
        };
        let (u, w) = (ends(&one), ends(&other));
        if u[0] * w[0] + u[1] * w[1] < 0.0 {
            other.reverse();
        }
        let mut made = Vec::new();
        for (i, p) in one.iter().enumerate() {
            for (j, q) in other.iter().enumerate() {
                // Both rays in the direction of the lines, then both against it.
                let sides = [
                    (one.get(i + 1), other.get(j + 1)),
                    (
                        i.checked_sub(1).map(|k| &one[k]),
                        j.checked_sub(1).map(|k| &other[k]),
                    ),
                ];
                for side in sides {
                    if let (Some(r), Some(s)) = side
                        && let (Some(x), Some(y)) = (self.angle(*r, *p, *q), self.angle(*s, *q, *p))
                    {
                        made.push(Equation::default().plus(1.0, x).plus(1.0, y).equals(180.0));
                    }
                }
            }
        }
        self.equations.extend(made);
    }

    fn quadrilateral(&mut self, name: &str, [a, b, c, d]: [char; 4]) {
        let sides = [(a, b), (b, c), (c, d), (d, a)].map(|(p, q)| Known::length(p, q));
        let angles =
            [(d, a, b), (a, b, c), (b, c, d), (c, d, a)].map(|(p, v, q)| self.angle(p, v, q));
        for (i, j) in [(0, 2), (1, 3)] {
            self.equations
                .push(Equation::same(sides[i].clone(), sides[j].clone()));
            if let (Some(x), Some(y)) = (&angles[i], &angles[j]) {
                self.equations.push(Equation::same(x.clone(), y.clone()));
            }
        }
        for i in 0..4 {
            if let (Some(x), Some(y)) = (&angles[i], &angles[(i + 1) % 4]) {
                let pair = Equation::default()
                    .plus(1.0, x.clone())
                    .plus(1.0, y.clone());
                self.equations.push(pair.equals(180.0));
            }
            if let (Some(x), true) = (&angles[i], matches!(name, "Rectangle" | "Square")) {
                self.equations
                    .push(Equation::default().plus(1.0, x.clone()).equals(90.0));
            }
        }
        if matches!(name, "Rhombus" | "Square") {
            self.equations
                .push(Equation::same(sides[0].clone(), sides[1].clone()));
        }
        // The diagonals halve each other.
        let on = |p: char, q: char| self.line_of(p, q).cloned().unwrap_or_default();
        let (first, second) = (on(a, c), on(b, d));
        if let Some(m) = first.iter().find(|p| second.contains(p)).copied() {
            for (p, q) in [(a, c), (b, d)] {
                self.equations
                    .push(Equation::same(Known::length(p, m), Known::length(m, q)));
            }
        }
        if name == "Rectangle" {
            self.equations
                .push(Equation::same(Known::length(a, c), Known::length(b, d)));
        }
    }

    fn learn(&mut self, key: Key, value: f64) {
        if value.is_finite() && !self.values.contains_key(&key) {
            self.equations
                .push(Equation::default().plus(1.0, key.clone()).equals(value));
            self.values.insert(key, value);
        }
    }

    /// Pythagoras, and the sine and cosine of a known angle.
    fn right_triangles(&mut self) {
        for [x, y, z] in self.triangles() {
            for (v, p, q) in [(x, y, z), (y, x, z), (z, x, y)] {
                let right = self.angle(p, v, q).and_then(|k| self.value(&k));
                if !right.is_some_and(|r| (r - 90.0).abs() < 1e-6) {
                    continue;
                }
                let keys = [(v, p), (v, q), (p, q)].map(|(a, b)| Known::length(a, b));
                let sharp = self.angle(v, p, q).and_then(|k| self.value(&k));
                let [a, b, c] = keys.clone().map(|k| self.value(&k));
                let [leg_a, leg_b, hypotenuse] = keys;
                match (a, b, c) {
                    (Some(a), Some(b), None) => self.learn(hypotenuse.clone(), a.hypot(b)),
                    (Some(a), None, Some(c)) => self.learn(leg_b, (c * c - a * a).sqrt()),
                    (None, Some(b), Some(c)) => self.learn(leg_a.clone(), (c * c - b * b).sqrt()),
                    _ => {}
                }
                let Some(sharp) = sharp.map(f64::to_radians) else {
                    continue;
                };
                match (a, b, c) {
                    (Some(a), None, None) => self.learn(hypotenuse, a / sharp.cos()),
                    (None, Some(b), None) => self.learn(hypotenuse, b / sharp.sin()),
                    (None, None, Some(c)) => self.learn(leg_a, c * sharp.cos()),
                    _ => {}
                }
            }
        }
    }

    /// Two equal sides of a triangle have equal angles opposite, and the other way round.
    fn equal_sides(&mut self) {
        for [x, y, z] in self.triangles() {
            for (v, p, q) in [(x, y, z), (y, x, z), (z, x, y)] {
                let sides = [Known::length(v, p), Known::length(v, q)];
                let (Some(at_p), Some(at_q)) = (self.angle(v, p, q), self.angle(v, q, p)) else {
                    continue;
                };
                let [a, b] = &sides;
                if self.are_equal(a, b) && !self.are_equal(&at_p, &at_q) {
                    self.equations.push(Equation::same(at_p, at_q));
                } else if self.are_equal(&at_p, &at_q) && !self.are_equal(a, b) {
                    self.equations.push(Equation::same(a.clone(), b.clone()));
                }
            }
        }
    }

    fn are_equal(&self, a: &Key, b: &Key) -> bool {
        if let (Some(x), Some(y)) = (self.value(a), self.value(b)) {
            return (x - y).abs() < 1e-6 * x.abs().max(1.0);
        }
        let is_said = |e: &Equation| {
            e.factors.len() == 2
                && e.constant == 0.0
                && matches!((e.factors.get(a), e.factors.get(b)), (Some(x), Some(y)) if *x == -*y)
        };
        self.equations.iter().any(is_said)
    }

    /// Two parallels cut the sides of an angle in one proportion.
    fn proportions(&mut self, form: &Form) {
        let Some([first, second]) = form.call("Parallel") else {
            return;
        };
        let (Some(one), Some(other)) = (self.line(first), self.line(second)) else {
            return;
        };
        for apex in self.points() {
            if one.contains(&apex) || other.contains(&apex) {
                continue;
            }
            // Pairs of a point on each parallel, both on one line through the apex.
            let mut pairs: Vec<(char, char)> = Vec::new();
            for line in self.lines.iter().filter(|l| l.contains(&apex)) {
                let on = |of: &[char]| line.iter().find(|p| of.contains(p)).copied();
                if let (Some(p), Some(q)) = (on(&one), on(&other)) {
                    pairs.push((p, q));
                }
            }
            for (i, (p, q)) in pairs.iter().enumerate() {
                for (r, s) in &pairs[i + 1..] {
                    let near = [
                        Known::length(apex, *p),
                        Known::length(apex, *r),
                        Known::length(*p, *r),
                    ];
                    let far = [
                        Known::length(apex, *q),
                        Known::length(apex, *s),
                        Known::length(*q, *s),
                    ];
                    for a in 0..3 {
                        for b in (0..3).filter(|b| *b != a) {
                            // near[a] / far[a] = near[b] / far[b].
                            let [x, y, z] = [&near[a], &far[a], &far[b]].map(|key| self.value(key));
                            if let (Some(x), Some(y), Some(z)) = (x, y, z) {
                                self.learn(near[b].clone(), x / y * z);
                            }
                            let [x, y, z] =
                                [&near[a], &far[a], &near[b]].map(|key| self.value(key));
                            if let (Some(x), Some(y), Some(z)) = (x, y, z) {
                                self.learn(far[b].clone(), y / x * z);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Gauss and Jordan. `None` where the equations contradict each other.
    fn solve(&mut self) -> Option<()> {
        let keys: BTreeSet<&Key> = self
            .equations
            .iter()
            .flat_map(|e| e.factors.keys())
            .collect();
        let keys: Vec<Key> = keys.into_iter().cloned().collect();
        let place: BTreeMap<&Key, usize> = keys.iter().enumerate().map(|(i, k)| (k, i)).collect();
        let width = keys.len();
        let mut reduced: Vec<(usize, Vec<f64>)> = Vec::new();
        for equation in &self.equations {
            let mut row = vec![0.0; width + 1];
            for (key, factor) in &equation.factors {
                row[place[key]] += factor;
            }
            row[width] = equation.constant;
            for (pivot, other) in &reduced {
                let factor = row[*pivot];
                if factor != 0.0 {
                    subtract(&mut row, other, factor);
                }
            }
            let largest = (0..width).max_by(|a, b| row[*a].abs().total_cmp(&row[*b].abs()));
            let Some(pivot) = largest.filter(|p| row[*p].abs() > NOUGHT) else {
                // Nothing left on one side: the other must be nought as well.
                if row[width].abs() > 1e-4 {
                    return None;
                }
                continue;
            };
            let by = row[pivot];
            row.iter_mut().for_each(|x| *x /= by);
            for (_, other) in &mut reduced {
                let factor = other[pivot];
                if factor != 0.0 {
                    subtract(other, &row, factor);
                }
            }
            reduced.push((pivot, row));
        }
        for (pivot, row) in reduced {
            let is_alone = (0..width).all(|i| i == pivot || row[i].abs() <= NOUGHT);
            if is_alone {
                self.values.insert(keys[pivot].clone(), row[width]);
            }
        }
        Some(())
    }
}

fn subtract(row: &mut [f64], other: &[f64], factor: f64) {
    for (x, y) in row.iter_mut().zip(other) {
        *x -= factor * y;
        if x.abs() < NOUGHT * 1e-3 {
            *x = 0.0;
        }
    }
}
