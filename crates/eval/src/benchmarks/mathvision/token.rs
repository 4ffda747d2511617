//! The words of LaTeX as the official evaluator's parser splits them.
//!
//! The official code reads answers with latex2sympy2 1.9.1, whose lexer takes the longest word that
//! any of its rules knows. That decides verdicts: "5 trees" is the number 5 followed by the word `tr`
//! (a matrix trace), which no expression can go on with, so it is read as 5; "5 cats" is 5 times four
//! letters, which has no value. Text is in lower case here, as it is when it is compared, and words
//! are made one at a time, since a character that no rule knows is an error only when it is reached.

/// A kind of bracket; opening and closing must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bracket {
    Paren,
    Group,
    Brace,
    BraceVisual,
    BraceCommand,
    Square,
    Brack,
    Vert,
    Floor,
    LowerCorner,
    Ceil,
    UpperCorner,
}

/// A relation between two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Assign,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// `==`, `\ne` and `\in`: parsed, but without a value.
    Other,
}

/// A function of one argument that has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Exp,
    /// To base 10 unless another is given.
    Log,
    /// Printed with the base `E`, a name that the official code cannot look up.
    Ln,
    Floor,
    Factorial,
    /// Cotangent, ceiling, determinant and others: parsed, but without a value.
    Undefined,
}

/// One word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Number(&'a str),
    Percent(&'a str),
    Add,
    Subtract,
    Multiply,
    Divide,
    Mod,
    Caret,
    Underscore,
    Bang,
    Transpose,
    Comma,
    Semicolon,
    Open(Bracket),
    Close(Bracket),
    /// `|`, which opens and closes.
    Bar,
    /// `\vert`, likewise.
    Vert,
    /// `\|`, likewise.
    Norm,
    Left,
    Right,
    MiddleLeft,
    MiddleRight,
    /// A letter, a Greek letter, another symbol, a differential: a name without a value.
    Letter,
    /// The one Greek letter that Python's `math` has a value for.
    Tau,
    Differential,
    Pi,
    /// `\infty`: a value that cannot be looked up.
    Infinity,
    /// `\partial`, which fails when it is read.
    Partial,
    Accent,
    Mathit,
    ExpE,
    Call(Function),
    /// `\gcd` and `\lcm`: whether it is the first.
    Divisor(bool),
    /// `\max` and `\min`.
    Extremum,
    OperatorName,
    /// A name that is a function inside `\operatorname{}` and a full stop elsewhere.
    Name(&'static str),
    Sqrt,
    Frac,
    Binom,
    Choose,
    Relation(Relation),
    /// Integrals, sums, products, limits and matrices: nothing with them has a value.
    Valueless,
    /// A word that no expression can go on with: a full stop, `&`, `\\`.
    Stop,
    End,
}

/// Words that are always spelled the same; the longest that fits is taken.
#[rustfmt::skip]
const WORDS: &[(&str, Token<'static>)] = {
    use Bracket as B;
    use Function as F;
    use Relation as R;
    use Token as T;
    &[
        ("+", T::Add), ("-", T::Subtract), ("*", T::Multiply), ("\\times", T::Multiply),
        ("\\cdot", T::Multiply), ("/", T::Divide), ("\\over", T::Divide), ("\\div", T::Divide),
        (":", T::Divide), ("\\mod", T::Mod), ("^", T::Caret), ("_", T::Underscore), ("!", T::Bang),
        ("'", T::Transpose), ("^{\\top}", T::Transpose), (",", T::Comma), (";", T::Semicolon),
        ("(", T::Open(B::Paren)), (")", T::Close(B::Paren)),
        ("\\lgroup", T::Open(B::Group)), ("\\rgroup", T::Close(B::Group)),
        ("{", T::Open(B::Brace)), ("}", T::Close(B::Brace)),
        ("\\{", T::Open(B::BraceVisual)), ("\\}", T::Close(B::BraceVisual)),
        ("\\lbrace", T::Open(B::BraceCommand)), ("\\rbrace", T::Close(B::BraceCommand)),
        ("[", T::Open(B::Square)), ("]", T::Close(B::Square)),
        ("\\lbrack", T::Open(B::Brack)), ("\\rbrack", T::Close(B::Brack)),
        ("|", T::Bar), ("\\vert", T::Vert), ("\\|", T::Norm),
        ("\\lvert", T::Open(B::Vert)), ("\\rvert", T::Close(B::Vert)),
        ("\\lfloor", T::Open(B::Floor)), ("\\rfloor", T::Close(B::Floor)),
        ("\\llcorner", T::Open(B::LowerCorner)), ("\\lrcorner", T::Close(B::LowerCorner)),
        ("\\lceil", T::Open(B::Ceil)), ("\\rceil", T::Close(B::Ceil)),
        ("\\ulcorner", T::Open(B::UpperCorner)), ("\\urcorner", T::Close(B::UpperCorner)),
        ("\\left", T::Left), ("\\right", T::Right), ("\\mleft", T::MiddleLeft),
        ("\\mright", T::MiddleRight),
        ("\\lim", T::Valueless), ("\\int", T::Valueless), ("\\sum", T::Valueless),
        ("\\prod", T::Valueless), ("\\begin{matrix}", T::Valueless),
        ("\\begin{pmatrix}", T::Valueless), ("\\begin{bmatrix}", T::Valueless),
        ("\\begin{vmatrix}", T::Valueless),
        ("\\end{matrix}", T::Stop), ("\\end{pmatrix}", T::Stop), ("\\end{bmatrix}", T::Stop),
        ("\\end{vmatrix}", T::Stop), ("matrix", T::Stop), ("pmatrix", T::Stop),
        ("bmatrix", T::Stop), ("vmatrix", T::Stop), ("&", T::Stop), ("\\\\", T::Stop),
        (".", T::Stop), ("\\to", T::Stop), ("\\rightarrow", T::Stop),
        ("\\longrightarrow", T::Stop), ("\\xrightarrow", T::Stop), ("<->", T::Stop),
        ("<=>", T::Stop), ("\\leftrightarrow", T::Stop),
        ("\\log", T::Call(F::Log)), ("\\ln", T::Call(F::Ln)), ("\\exp", T::Call(F::Exp)),
        ("\\sin", T::Call(F::Sin)), ("\\cos", T::Call(F::Cos)), ("\\tan", T::Call(F::Tan)),
        ("\\csc", T::Call(F::Undefined)), ("\\sec", T::Call(F::Undefined)),
        ("\\cot", T::Call(F::Undefined)), ("\\arcsin", T::Call(F::Asin)),
        ("\\arccos", T::Call(F::Acos)), ("\\arctan", T::Call(F::Atan)),
        ("\\arccsc", T::Call(F::Undefined)), ("\\arcsec", T::Call(F::Undefined)),
        ("\\arccot", T::Call(F::Undefined)), ("\\sinh", T::Call(F::Sinh)),
        ("\\cosh", T::Call(F::Cosh)), ("\\tanh", T::Call(F::Tanh)),
        ("\\arsinh", T::Call(F::Asinh)), ("\\arcosh", T::Call(F::Acosh)),
        ("\\artanh", T::Call(F::Atanh)), ("\\arcsinh", T::Call(F::Asinh)),
        ("\\arccosh", T::Call(F::Acosh)), ("\\arctanh", T::Call(F::Atanh)),
        ("\\floor", T::Call(F::Floor)), ("\\ceil", T::Call(F::Undefined)),
        ("\\det", T::Call(F::Undefined)), ("\\gcd", T::Divisor(true)),
        ("\\lcm", T::Divisor(false)), ("\\max", T::Extremum), ("\\min", T::Extremum),
        ("arsinh", T::Name("arsinh")), ("arcsinh", T::Name("arsinh")),
        ("arcosh", T::Name("arcosh")), ("arccosh", T::Name("arcosh")),
        ("artanh", T::Name("artanh")), ("arctanh", T::Name("artanh")),
        ("gcd", T::Name("gcd")), ("lcm", T::Name("lcm")), ("floor", T::Name("floor")),
        ("ceil", T::Name("")), ("eye", T::Name("")), ("zeros", T::Name("")),
        ("ones", T::Name("")), ("cols", T::Name("")), ("rows", T::Name("")),
        ("diag", T::Name("")), ("norm", T::Name("")), ("rank", T::Name("")),
        ("trace", T::Name("")), ("tr", T::Name("")), ("rref", T::Name("")),
        ("hstack", T::Name("")), ("vstack", T::Name("")), ("orth", T::Name("")),
        ("ortho", T::Name("")), ("orthogonal", T::Name("")), ("orthogonalize", T::Name("")),
        ("nullspace", T::Name("")), ("eig", T::Name("")), ("eigen", T::Name("")),
        ("diagonalize", T::Name("")), ("eigenvals", T::Name("")), ("eigenvalues", T::Name("")),
        ("eigenvects", T::Name("")), ("eigenvectors", T::Name("")), ("svd", T::Name("")),
        ("\\operatorname", T::OperatorName), ("\\sqrt", T::Sqrt), ("\\frac", T::Frac),
        ("\\binom", T::Binom), ("\\tbinom", T::Binom), ("\\dbinom", T::Binom),
        ("\\choose", T::Choose), ("\\mathit", T::Mathit), ("e", T::ExpE),
        ("\\in", T::Relation(R::Other)), ("=", T::Relation(R::Assign)),
        ("==", T::Relation(R::Other)), ("\\equiv", T::Relation(R::Other)),
        ("<", T::Relation(R::Less)), ("\\leq", T::Relation(R::LessEqual)),
        ("\\le", T::Relation(R::LessEqual)), ("\\leqslant", T::Relation(R::LessEqual)),
        (">", T::Relation(R::Greater)), ("\\geq", T::Relation(R::GreaterEqual)),
        ("\\ge", T::Relation(R::GreaterEqual)), ("\\geqslant", T::Relation(R::GreaterEqual)),
        ("!=", T::Relation(R::Other)), ("!==", T::Relation(R::Other)),
        ("\\ne", T::Relation(R::Other)), ("\\neq", T::Relation(R::Other)),
        ("\\not\\equiv", T::Relation(R::Other)),
        ("\\pi", T::Pi), ("\\partial", T::Partial), ("\\infty", T::Infinity),
        ("\\infty\\%", T::Infinity), ("\\tau", T::Tau),
    ]
};

/// Greek letters and other symbols: names without a value. A space behind them is part of them.
const SYMBOLS: &[&str] = &[
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "varpi",
    "rho",
    "varrho",
    "sigma",
    "varsigma",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "wp",
    "nabla",
    "bigstar",
    "angle",
    "nexists",
    "diagdown",
    "measuredangle",
    "eth",
    "emptyset",
    "diagup",
    "sphericalangle",
    "clubsuit",
    "varnothing",
    "complement",
    "diamondsuit",
    "imath",
    "triangledown",
    "heartsuit",
    "jmath",
    "triangle",
    "spadesuit",
    "ell",
    "hbar",
    "vartriangle",
    "hslash",
    "blacklozenge",
    "lozenge",
    "blacksquare",
    "mho",
    "blacktriangle",
    "sharp",
    "prime",
    "flat",
    "square",
    "backprime",
    "natural",
    "surd",
];

/// Accents and fonts: with what they are put on they are a name without a value.
const ACCENTS: &[&str] = &[
    "acute",
    "bar",
    "overline",
    "breve",
    "check",
    "widecheck",
    "dot",
    "ddot",
    "grave",
    "hat",
    "tilde",
    "widetilde",
    "vec",
    "overrightarrow",
    "bm",
    "boldsymbol",
    "text",
    "textit",
    "mathbb",
    "mathbin",
    "mathbf",
    "mathcal",
    "mathclap",
    "mathclose",
    "mathellipsis",
    "mathfrak",
    "mathinner",
    "mathnormal",
    "mathop",
    "mathopen",
    "mathord",
    "mathpunct",
    "mathrel",
    "mathring",
    "mathrlap",
    "mathrm",
    "mathscr",
    "mathsf",
    "mathsterling",
    "mathtt",
];

/// A character that begins no word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown;

/// The word at the start of `text`, after white space, and how many bytes both take.
pub(super) fn next(text: &str) -> Result<(Token<'_>, usize), Unknown> {
    let rest = text.trim_start_matches([' ', '\t', '\r', '\n']);
    let skipped = text.len() - rest.len();
    let Some(first) = rest.as_bytes().first() else {
        return Ok((Token::End, skipped));
    };
    let mut best = (0, Token::End);
    let mut offer = |length: usize, token| {
        // Of words of one length the earlier rule wins, and no two rules here share a spelling.
        if length > best.0 {
            best = (length, token);
        }
    };
    for &(word, token) in WORDS {
        if word.as_bytes()[0] == *first && rest.starts_with(word) {
            offer(word.len(), token);
        }
    }
    match first {
        b'0'..=b'9' | b',' | b'.' => {
            if let Some(length) = number(rest.as_bytes()) {
                if rest[length..].starts_with("\\%") {
                    offer(length + 2, Token::Percent(&rest[..length]));
                } else {
                    offer(length, Token::Number(&rest[..length]));
                }
            }
        }
        b'\\' => {
            for &name in SYMBOLS {
                if rest[1..].starts_with(name) {
                    let space = usize::from(rest[1 + name.len()..].starts_with(' '));
                    offer(1 + name.len() + space, Token::Letter);
                }
            }
            for &name in ACCENTS {
                if rest[1..].starts_with(name) {
                    offer(1 + name.len(), Token::Accent);
                }
            }
        }
        b'a'..=b'z' | b'A'..=b'Z' => {
            if *first == b'd' {
                offer(differential(rest.as_bytes()), Token::Differential);
            }
            offer(1, Token::Letter);
        }
        _ => {}
    }
    match best {
        (0, _) => Err(Unknown),
        (length, token) => Ok((token, skipped + length)),
    }
}

/// The length of a number at the start: digits with thousands in threes behind commas, or a decimal
/// fraction, which may do without digits in front.
fn number(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        text[from..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count()
    };
    let whole = digits(0);
    let mut end = whole;
    while text.get(end) == Some(&b',') && digits(end + 1) >= 3 {
        end += 4;
        // "1,2345" is 1,234 followed by 5; only three digits belong to a comma, and another comma
        // may follow at once.
        if text.get(end).is_some_and(u8::is_ascii_digit) {
            break;
        }
    }
    if text.get(end) == Some(&b'.') {
        let decimals = digits(end + 1);
        if decimals > 0 {
            return Some(end + 1 + decimals);
        }
    }
    // Without digits in front, only a decimal fraction is a number.
    (whole > 0).then_some(end)
}

/// The length of a differential at the start: `dx`, `d x`, `d\theta`; 0 where there is none.
fn differential(text: &[u8]) -> usize {
    let mut at = 1;
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    match text.get(at) {
        Some(c) if c.is_ascii_alphabetic() => at + 1,
        Some(b'\\') => {
            let name = text[at + 1..]
                .iter()
                .take_while(|c| c.is_ascii_alphabetic())
                .count();
            if name == 0 { 0 } else { at + 1 + name }
        }
        _ => 0,
    }
}
