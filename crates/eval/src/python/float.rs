//! Python's `str(float)`, `round(float, places)` and `int(float)`.

/// `str(value)`: the shortest digits that read back as `value`, with an exponent from 1e16 on and
/// below 1e-4.
pub fn float_to_str(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = shortest(value);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let negative = if digits.starts_with('-') { "-" } else { "" };
        let figures: String = digits.chars().filter(char::is_ascii_digit).collect();
        return match usize::try_from(exponent) {
            Ok(whole) => {
                let figures = format!("{figures:0<width$}", width = whole + 2);
                let (whole, fraction) = figures.split_at(whole + 1);
                format!("{negative}{whole}.{fraction}")
            }
            Err(_) => {
                let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
                format!("{negative}0.{zeros}{figures}")
            }
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// The fewest digits that read back as `value`, in Rust's scientific form: `-1.25e-7`. Of two such
/// that are equally near Python takes the even one, where Rust takes the larger: 2^-2 above
/// 724158431401100 ends in 2 and not in 3.
fn shortest(value: f64) -> String {
    let short = format!("{value:e}");
    let digits = short
        .bytes()
        .take_while(|&b| b != b'e')
        .filter(u8::is_ascii_digit);
    // So many digits of the exact value, ties to even: nearest, where they read back.
    let even = format!("{value:.*e}", digits.count() - 1);
    if even.parse() == Ok(value) {
        even
    } else {
        short
    }
}

/// Beyond so many places no double has digits left.
const MOST_PLACES: i64 = 323;
/// Before so many places all doubles are 0.
const LEAST_PLACES: i64 = -308;

/// `round(value, places)`: the decimal nearest to the binary value, of two equally near the even one;
/// `None` where the result is too large for a float.
pub fn round(value: f64, places: i64) -> Option<f64> {
    if !value.is_finite() || places > MOST_PLACES {
        return Some(value);
    }
    if places < LEAST_PLACES {
        return Some(0.0 * value);
    }
    let rounded: f64 = match usize::try_from(places) {
        // Exact expansion, ties to even.
        Ok(places) => format!("{value:.places$}").parse().ok()?,
        Err(_) => round_whole(value, places.unsigned_abs() as usize)?,
    };
    rounded.is_finite().then_some(rounded)
}

/// `value` to a multiple of `10^zeros`, ties to even.
fn round_whole(value: f64, zeros: usize) -> Option<f64> {
    let whole = format!("{:.0}", value.abs().trunc());
    // A digit more in front, for 95 becoming 100.
    let padded = format!("{whole:0>width$}", width = whole.len().max(zeros) + 1);
    let (kept, dropped) = padded.split_at(padded.len() - zeros);
    let half = format!("5{:0<width$}", "", width = zeros - 1);
    let beyond = value.abs().fract() > 0.0;
    let odd = kept.bytes().last().is_some_and(|b| b % 2 == 1);
    let up = match dropped.cmp(half.as_str()) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => beyond || odd,
        std::cmp::Ordering::Greater => true,
    };
    let mut digits = kept.as_bytes().to_vec();
    if up {
        for digit in digits.iter_mut().rev() {
            if *digit == b'9' {
                *digit = b'0';
            } else {
                *digit += 1;
                break;
            }
        }
    }
    let text = String::from_utf8(digits).ok()?;
    let rounded: f64 = format!("{text}e{zeros}").parse().ok()?;
    Some(rounded.copysign(value))
}

/// `str(int(value))`: all digits of the whole part; `None` where Python raises, for infinities and
/// what is not a number.
pub fn int_of_float(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let whole = value.trunc();
    // Adding 0 makes -0 a 0.
    Some(format!("{:.0}", whole + 0.0))
}
