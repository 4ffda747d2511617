//! Characters that say the same, written one way.
//!
//! Models write `×`, `²`, `½`, full-width digits and invisible marks; what reads the text afterwards knows
//! LaTeX and ASCII only. Texts that need nothing are not copied.

use std::borrow::Cow;

/// `text` in ASCII and LaTeX as far as it has mathematical meaning; other letters stay.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        if let Some(digit) = digit(c) {
            out.push(digit);
        } else if let Some((first, open)) = raised(c) {
            // A run of raised or lowered characters is one exponent or index.
            out.push_str(open);
            out.push(first);
            while let Some((next, _)) = letters
                .peek()
                .and_then(|c| raised(*c))
                .filter(|r| r.1 == open)
            {
                out.push(next);
                letters.next();
            }
            out.push('}');
        } else if c == '√' || c == '∛' || c == '∜' {
            out.push_str(match c {
                '∛' => "\\sqrt[3]",
                '∜' => "\\sqrt[4]",
                _ => "\\sqrt",
            });
            // All digits after the sign are under it, unlike after \sqrt.
            let mut under = String::new();
            while let Some(next) = letters.peek().copied() {
                let Some(next) = digit(next).or_else(|| {
                    (next.is_ascii_digit() || (next == '.' && !under.is_empty())).then_some(next)
                }) else {
                    break;
                };
                under.push(next);
                letters.next();
            }
            if under.is_empty() {
                out.push(' ');
            } else {
                out.push('{');
                out.push_str(&under);
                out.push('}');
            }
        } else {
            match sign(c) {
                Some(sign) => out.push_str(sign),
                None => out.push(c),
            }
        }
    }
    Cow::Owned(out)
}

/// Decimal digits of other scripts and forms, as ASCII.
fn digit(c: char) -> Option<char> {
    let zero = match c {
        '\u{FF10}'..='\u{FF19}' => '\u{FF10}',
        '\u{0660}'..='\u{0669}' => '\u{0660}',
        '\u{06F0}'..='\u{06F9}' => '\u{06F0}',
        '\u{0966}'..='\u{096F}' => '\u{0966}',
        '\u{1D7CE}'..='\u{1D7FF}' => {
            let value = (u32::from(c) - 0x1D7CE) % 10;
            return char::from_digit(value, 10);
        }
        _ => return None,
    };
    char::from_digit(u32::from(c) - u32::from(zero), 10)
}

/// The plain form of a superscript or subscript character, and how its run begins.
fn raised(c: char) -> Option<(char, &'static str)> {
    let up = match c {
        '⁰' => '0',
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁴'..='⁹' => char::from_digit(u32::from(c) - 0x2070, 10)?,
        '⁺' => '+',
        '⁻' => '-',
        'ⁿ' => 'n',
        'ⁱ' => 'i',
        _ => {
            let down = match c {
                '₀'..='₉' => char::from_digit(u32::from(c) - 0x2080, 10)?,
                '₊' => '+',
                '₋' => '-',
                'ₙ' => 'n',
                'ₖ' => 'k',
                'ₘ' => 'm',
                'ₐ' => 'a',
                'ₓ' => 'x',
                _ => return None,
            };
            return Some((down, "_{"));
        }
    };
    Some((up, "^{"))
}

fn sign(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{2069}'
        | '\u{FEFF}'
        | '\u{061C}'
        | '\u{00AD}' => "",
        // Currencies say as little about a number as its unit does.
        '€' | '£' | '¥' | '₹' | '₽' | '₩' | '₪' | '₫' | '฿' | '₺' | '₴' | '₦' | '₱' | '¢' => {
            ""
        }
        '\u{00A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => " ",
        '−' | '–' | '—' | '‐' | '‑' | '‒' | '﹣' | '－' => "-",
        '＋' | '﹢' => "+",
        '×' | '✕' | '✖' | '⨯' => "\\times ",
        '·' | '⋅' | '∙' | '•' | '∗' | '＊' => "\\cdot ",
        '÷' | '∕' | '⁄' | '／' => "/",
        '＝' => "=",
        '≤' | '≦' | '⩽' | '≲' => "\\le ",
        '≥' | '≧' | '⩾' | '≳' => "\\ge ",
        '＜' => "<",
        '＞' => ">",
        '≠' => "\\ne ",
        '≈' | '≃' | '≅' | '≊' => "\\approx ",
        '≡' => "\\equiv ",
        '±' => "\\pm ",
        '∓' => "\\mp ",
        '°' | 'º' | '˚' => "^{\\circ}",
        '′' | '’' | '‘' => "'",
        '″' | '“' | '”' => "\"",
        '％' => "%",
        '（' => "(",
        '）' => ")",
        '［' => "[",
        '］' => "]",
        '｛' => "{",
        '｝' => "}",
        '，' | '、' | '،' => ",",
        '；' => ";",
        '：' => ":",
        '．' => ".",
        '！' => "!",
        '＾' => "^",
        '｜' | '∣' => "|",
        '∞' => "\\infty ",
        'π' | '𝜋' => "\\pi ",
        'α' => "\\alpha ",
        'β' => "\\beta ",
        'γ' => "\\gamma ",
        'δ' => "\\delta ",
        'ε' | 'ϵ' => "\\epsilon ",
        'ζ' => "\\zeta ",
        'η' => "\\eta ",
        'θ' => "\\theta ",
        'ϑ' => "\\vartheta ",
        'ι' => "\\iota ",
        'κ' => "\\kappa ",
        'λ' => "\\lambda ",
        'μ' | 'µ' => "\\mu ",
        'ν' => "\\nu ",
        'ξ' => "\\xi ",
        'ρ' => "\\rho ",
        'σ' => "\\sigma ",
        'τ' => "\\tau ",
        'φ' => "\\phi ",
        'ϕ' => "\\varphi ",
        'χ' => "\\chi ",
        'ψ' => "\\psi ",
        'ω' => "\\omega ",
        'Γ' => "\\Gamma ",
        'Δ' | '△' => "\\Delta ",
        'Θ' => "\\Theta ",
        'Λ' => "\\Lambda ",
        'Ξ' => "\\Xi ",
        'Π' => "\\Pi ",
        'Σ' => "\\Sigma ",
        'Φ' => "\\Phi ",
        'Ψ' => "\\Psi ",
        'Ω' => "\\Omega ",
        '∑' => "\\sum ",
        '∏' => "\\prod ",
        '∫' => "\\int ",
        '∂' => "\\partial ",
        '∅' | '⌀' => "\\emptyset ",
        '∪' => "\\cup ",
        '∩' => "\\cap ",
        '∖' => "\\setminus ",
        '∈' => "\\in ",
        '∉' => "\\notin ",
        '⊂' => "\\subset ",
        '⊆' => "\\subseteq ",
        '→' => "\\to ",
        '⇒' => "\\Rightarrow ",
        '⇔' => "\\Leftrightarrow ",
        '∠' => "\\angle ",
        'ℕ' => "\\mathbb{N}",
        'ℤ' => "\\mathbb{Z}",
        'ℚ' => "\\mathbb{Q}",
        'ℝ' => "\\mathbb{R}",
        'ℂ' => "\\mathbb{C}",
        'ℙ' => "\\mathbb{P}",
        '⌊' => "\\lfloor ",
        '⌋' => "\\rfloor ",
        '⌈' => "\\lceil ",
        '⌉' => "\\rceil ",
        '½' => "\\frac{1}{2}",
        '⅓' => "\\frac{1}{3}",
        '⅔' => "\\frac{2}{3}",
        '¼' => "\\frac{1}{4}",
        '¾' => "\\frac{3}{4}",
        '⅕' => "\\frac{1}{5}",
        '⅖' => "\\frac{2}{5}",
        '⅗' => "\\frac{3}{5}",
        '⅘' => "\\frac{4}{5}",
        '⅙' => "\\frac{1}{6}",
        '⅚' => "\\frac{5}{6}",
        '⅛' => "\\frac{1}{8}",
        '⅜' => "\\frac{3}{8}",
        '⅝' => "\\frac{5}{8}",
        '⅞' => "\\frac{7}{8}",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_other_digits_become_ascii() {
        for (from, to) in [
            ("\u{200F}１２\u{200E}３", "123"),
            ("x² + y₁₀", "x^{2} + y_{10}"),
            ("√13", "\\sqrt{13}"),
            ("√(2)", "\\sqrt (2)"),
            ("x⁻¹", "x^{-1}"),
            ("٣−١", "3-1"),
            ("30°", "30^{\\circ}"),
            ("𝟗", "9"),
            ("déjà", "déjà"),
        ] {
            assert_eq!(plain(from), to, "{from}");
        }
    }
}
