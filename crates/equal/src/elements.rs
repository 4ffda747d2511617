//! Tokens as a tree: lists, sets, intervals, matrices and relations.
//!
//! `a=1,b=2` is two equations, `a=1,2,3` one with three values; `1;2` lists like `1,2`, and `1,2;3,4` lists
//! pairs. A round bracket with two entries is kept as an open interval: whether it was a point is known only
//! beside the other answer.

use crate::parse::{MOST_SIGNS, Parser};
use crate::token::Token;
use crate::tree::{Constant, Expr, Function, Relation};

/// Entries with `\pm` in one answer.
const MOST_FORKS: usize = 16;

impl Parser<'_> {
    /// The whole text.
    pub fn answer(&mut self) -> Option<Expr> {
        let groups = self.lists()?;
        let answer = assembled(groups)?;
        // `\ldots` alone, or a text of separators, is no answer.
        Some(answer)
    }

    /// Comma lists, separated by semicolons.
    fn lists(&mut self) -> Option<Vec<Vec<Expr>>> {
        let mut groups = vec![Vec::new()];
        // Whether an entry may come next; after one, a square bracket of either kind closes.
        let mut open = true;
        loop {
            match self.peek() {
                Some(Token::Sign(b',' | b'&')) => {
                    self.at += 1;
                    open = true;
                }
                Some(Token::Sign(b';') | Token::Row) => {
                    self.at += 1;
                    open = true;
                    if groups.last().is_some_and(|group| !group.is_empty()) {
                        groups.push(Vec::new());
                    }
                }
                None | Some(Token::Sign(b')' | b'}') | Token::SetClose | Token::End(_)) => break,
                Some(_) if !open => break,
                Some(_) => {
                    let element = self.element()?;
                    groups.last_mut()?.extend(element);
                    open = false;
                }
            }
        }
        if groups.len() > 1 && groups.last().is_some_and(Vec::is_empty) {
            groups.pop();
        }
        (!groups.concat().is_empty()).then_some(groups)
    }

    /// One entry; with `\pm` it is two.
    fn element(&mut self) -> Option<Vec<Expr>> {
        if self.held {
            return Some(vec![self.relation()?]);
        }
        let start = self.at;
        let outer = (self.plus, self.forked);
        (self.plus, self.forked) = (true, false);
        let first = self.relation()?;
        let forked = self.forked;
        let mut both = vec![first];
        if forked {
            // Signs inside signs would double the work at every level.
            self.forks += 1;
            if self.forks > MOST_FORKS {
                return None;
            }
            self.at = start;
            self.plus = false;
            both.push(self.relation()?);
        }
        (self.plus, self.forked) = outer;
        Some(both)
    }

    fn relation(&mut self) -> Option<Expr> {
        let mut first = self.sets()?;
        let mut rest = Vec::new();
        loop {
            match self.peek() {
                Some(Token::Relation(relation)) => {
                    self.at += 1;
                    rest.push((*relation, self.sets()?));
                }
                // The value beside a name; where there is an exact side, that.
                Some(Token::Approximately) => {
                    self.at += 1;
                    let value = self.sets()?;
                    if rest.is_empty() && is_name(&first) {
                        rest.push((Relation::Equal, value));
                    }
                }
                // What follows from it is the answer.
                Some(Token::Command(
                    "to" | "rightarrow" | "Rightarrow" | "implies" | "iff" | "Leftrightarrow"
                    | "longrightarrow" | "therefore",
                )) => {
                    self.at += 1;
                    first = self.sets()?;
                    rest.clear();
                }
                _ => break,
            }
        }
        Some(if rest.is_empty() {
            first
        } else {
            Expr::Chain(Box::new(first), rest)
        })
    }

    /// Unions, intersections and differences.
    fn sets(&mut self) -> Option<Expr> {
        let mut left = self.meet()?;
        let mut nested = 0;
        loop {
            match self.peek() {
                Some(Token::Command("cup")) => {
                    self.at += 1;
                    let right = self.meet()?;
                    left = match left {
                        Expr::Union(mut parts) => {
                            parts.push(right);
                            Expr::Union(parts)
                        }
                        other => Expr::Union(vec![other, right]),
                    };
                }
                Some(Token::Command("setminus" | "backslash")) => {
                    self.at += 1;
                    let right = self.meet()?;
                    nested += 1;
                    if nested > MOST_SIGNS {
                        return None;
                    }
                    left = Expr::Difference(Box::new(left), Box::new(right));
                }
                _ => return Some(left),
            }
        }
    }

    fn meet(&mut self) -> Option<Expr> {
        let mut left = self.sum()?;
        while let Some(Token::Command("cap")) = self.peek() {
            self.at += 1;
            let right = self.sum()?;
            left = match left {
                Expr::Intersection(mut parts) => {
                    parts.push(right);
                    Expr::Intersection(parts)
                }
                other => Expr::Intersection(vec![other, right]),
            };
        }
        Some(left)
    }

    /// What stands between `(`, `[` or `]`, already read, and its partner.
    pub fn bracket(&mut self, open: u8) -> Option<Expr> {
        self.nested(|parser| {
            parser.held = open == b'(';
            if open == b'(' && parser.take(b')') {
                return Some(Expr::Tuple(Vec::new()));
            }
            let groups = parser.lists()?;
            let close = match parser.peek() {
                Some(Token::Sign(sign @ (b')' | b']' | b'['))) => *sign,
                _ => return None,
            };
            parser.at += 1;
            let single_list = groups.len() == 1;
            let mut entries = groups.concat();
            match entries.len() {
                1 if close != b'[' && open != b']' => entries.pop(),
                2 if single_list => {
                    let (to, from) = (entries.pop()?, entries.pop()?);
                    Some(Expr::Interval {
                        from: Box::new(from),
                        to: Box::new(to),
                        from_open: open != b'[',
                        to_open: close != b']',
                    })
                }
                // [0; 1[
                2 if open != b'(' || close != b')' => {
                    let (to, from) = (entries.pop()?, entries.pop()?);
                    Some(Expr::Interval {
                        from: Box::new(from),
                        to: Box::new(to),
                        from_open: open != b'[',
                        to_open: close != b']',
                    })
                }
                0 | 1 => None,
                _ => Some(Expr::Tuple(entries)),
            }
        })
    }

    /// What stands in plain braces: a group, rarely a set.
    pub fn group(&mut self) -> Option<Expr> {
        self.nested(|parser| {
            parser.held = true;
            if parser.take(b'}') {
                // {} before an index or a factor stands for nothing.
                return None;
            }
            let groups = parser.infix_lists()?;
            parser.take(b'}').then_some(())?;
            let mut entries = groups.concat();
            match entries.len() {
                1 => entries.pop(),
                _ => Some(Expr::Set(entries)),
            }
        })
    }

    /// Lists in a group, where `{n \choose k}` and `{a \over b}` are allowed too.
    fn infix_lists(&mut self) -> Option<Vec<Vec<Expr>>> {
        // Looked for first: reading the group twice would double the work at every level.
        let mut depth = 0i32;
        let infix = self.tokens[self.at..].iter().take_while(|lexed| {
            match lexed.token {
                Token::Sign(b'{') => depth += 1,
                Token::Sign(b'}') => depth -= 1,
                _ => {}
            }
            depth >= 0
        });
        let mut level = 0i32;
        let mut found = false;
        for lexed in infix {
            match lexed.token {
                Token::Sign(b'{') => level += 1,
                Token::Sign(b'}') => level -= 1,
                Token::Command("choose" | "over" | "atop") => found |= level == 0,
                _ => {}
            }
        }
        if found {
            let top = self.sum()?;
            let Some(Token::Command(name @ ("choose" | "over" | "atop"))) = self.peek() else {
                return None;
            };
            self.at += 1;
            let bottom = self.sum()?;
            return Some(vec![vec![if *name == "over" {
                top.over(bottom)
            } else {
                Expr::Apply(Function::Binomial, vec![top, bottom])
            }]]);
        }
        self.lists()
    }

    /// What stands between `\{` and `\}`: entries, or the condition after a bar.
    pub fn set(&mut self) -> Option<Expr> {
        self.nested(|parser| {
            if parser.peek() == Some(&Token::SetClose) {
                parser.at += 1;
                return Some(Expr::Named(crate::tree::NamedSet::Empty));
            }
            parser.colon = false;
            parser.held = false;
            let mut groups = parser.lists()?;
            if matches!(parser.peek(), Some(Token::Sign(b'|' | b':'))) {
                parser.at += 1;
                parser.colon = true;
                groups = parser.lists()?;
                (parser.peek() == Some(&Token::SetClose)).then(|| parser.at += 1)?;
                return assembled(groups);
            }
            (parser.peek() == Some(&Token::SetClose)).then(|| parser.at += 1)?;
            Some(Expr::Set(groups.concat()))
        })
    }

    /// A matrix, a determinant, or lines of equations.
    pub fn environment(&mut self, name: &str) -> Option<Expr> {
        if !name.contains("matrix") && name != "array" {
            return self.nested(|parser| {
                let groups = parser.lists()?;
                matches!(parser.peek(), Some(Token::End(_))).then(|| parser.at += 1)?;
                let mut entries = groups.concat();
                match entries.len() {
                    1 => entries.pop(),
                    _ => Some(Expr::Set(entries)),
                }
            });
        }
        self.nested(|parser| {
            let mut rows = vec![Vec::new()];
            loop {
                match parser.peek()? {
                    Token::Sign(b'&') => parser.at += 1,
                    Token::Row => {
                        parser.at += 1;
                        rows.push(Vec::new());
                    }
                    Token::End(_) => {
                        parser.at += 1;
                        break;
                    }
                    Token::Command("hline") | Token::Sign(b',') => parser.at += 1,
                    _ => {
                        let entry = parser.sum()?;
                        rows.last_mut()?.push(entry);
                    }
                }
            }
            if rows.len() > 1 && rows.last().is_some_and(Vec::is_empty) {
                rows.pop();
            }
            let width = rows.first()?.len();
            if width == 0 || rows.iter().any(|row| row.len() != width) {
                return None;
            }
            let matrix = Expr::Matrix(rows);
            Some(match name {
                "vmatrix" => Expr::Apply(Function::Determinant, vec![matrix]),
                "Vmatrix" => Expr::Apply(Function::Norm, vec![matrix]),
                _ => matrix,
            })
        })
    }
}

/// Lists as one answer.
fn assembled(groups: Vec<Vec<Expr>>) -> Option<Expr> {
    if groups.len() > 1 && groups.iter().any(|group| group.len() > 1) {
        return Some(Expr::Set(
            groups
                .into_iter()
                .map(|mut group| match group.len() {
                    1 => group.swap_remove(0),
                    _ => Expr::Tuple(group),
                })
                .collect(),
        ));
    }
    let mut entries = groups.concat();
    if entries.len() < 2 {
        return entries.pop();
    }
    // x = 1, 2, 3 and x = 1, x = 2: one name with several values.
    if let Some(Expr::Chain(name, first)) = entries.first()
        && let [(Relation::Equal | Relation::In, _)] = first.as_slice()
        && is_name(name)
    {
        let name = name.clone();
        let values: Option<Vec<Expr>> = entries
            .iter()
            .enumerate()
            .map(|(at, entry)| match entry {
                Expr::Chain(other, rest) => match rest.as_slice() {
                    [(Relation::Equal | Relation::In, value)] if *other == name => {
                        Some((at, true, value.clone()))
                    }
                    _ => None,
                },
                value => Some((at, false, value.clone())),
            })
            .collect::<Option<Vec<_>>>()
            .filter(|values| {
                // x=1, 2, x=3 is neither.
                values.iter().all(|v| v.1) || !values.iter().skip(1).any(|v| v.1)
            })
            .map(|values| values.into_iter().map(|v| v.2).collect());
        if let Some(values) = values {
            return Some(Expr::Chain(
                name,
                vec![(Relation::Equal, Expr::Set(values))],
            ));
        }
    }
    Some(Expr::Set(entries))
}

/// Whether `expr` names something: letters, and what is built of letters alone (`AB`, `f(2)`, `\sin A`).
///
/// An equation with a name on its left is an assignment: `x = 5` answers as 5 does.
pub(crate) fn is_name(expr: &Expr) -> bool {
    match expr {
        Expr::Symbol(_) | Expr::Call(..) | Expr::Constant(Constant::E) => true,
        Expr::Pow(base, power) => {
            is_name(base) && power.plain_integer() == Some(&num_bigint::BigInt::from(-1))
        }
        Expr::Apply(Function::Root | Function::Factorial | Function::Binomial, _) => false,
        Expr::Apply(Function::Log, parts) => parts.first().is_some_and(is_name),
        Expr::Add(parts) | Expr::Mul(parts) | Expr::Tuple(parts) | Expr::Apply(_, parts) => {
            !parts.is_empty() && parts.iter().all(is_name)
        }
        Expr::Ratio(parts) => parts.iter().all(is_name),
        Expr::Interval {
            from,
            to,
            from_open: true,
            to_open: true,
        } => is_name(from) && is_name(to),
        _ => false,
    }
}
