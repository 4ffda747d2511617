//! Every input gets a verdict, within the work that a comparison may cost.

use equal::{compare, equal, evaluate};

/// Inputs that make careless readers hang, overflow their stack or their memory.
fn hostile() -> Vec<(&'static str, String)> {
    let many = |piece: &str, times: usize| piece.repeat(times);
    vec![
        ("a tower of powers", "$10^{10^{10}}$".into()),
        ("a higher tower", "$9^{9^{9^{9^{9}}}}$".into()),
        ("a factorial of a factorial", "$((100!)!)!$".into()),
        ("a huge factorial", "$99999999!$".into()),
        ("a huge binomial", "$\\binom{10^{9}}{10^{8}}$".into()),
        ("a long sum", "$\\sum_{k=1}^{10^{12}} k!$".into()),
        (
            "sums in sums",
            "$\\sum_{a=1}^{400}\\sum_{b=1}^{400}\\sum_{c=1}^{400}\\sum_{d=1}^{400} \\sin(abcd)$".into(),
        ),
        (
            "integrals in integrals",
            "$\\int_0^1\\int_0^1\\int_0^1\\int_0^1 \\sin(xyzw) dx dy dz dw$".into(),
        ),
        ("a megabyte of digits", many("7", 1 << 20)),
        ("a megabyte of digits in dollars", format!("${}$", many("7", 1 << 20))),
        ("digits with separators", format!("1{}", many(",000", 100_000))),
        ("a megabyte of dollars", many("$", 1 << 20)),
        ("dollars and spaces", many("$ ", 1 << 19)),
        ("single dollars on lines", many("$\n", 1 << 19)),
        ("open braces", many("{", 1 << 18)),
        ("open boxes", many("\\boxed{", 100_000)),
        ("boxes", many("\\boxed{1} ", 50_000)),
        ("nested fractions", format!("${}1{}$", many("\\frac{1}{", 5_000), many("}", 5_000))),
        ("nested roots", format!("${}2{}$", many("\\sqrt{", 47), many("}", 47))),
        ("round brackets", format!("${}1{}$", many("(", 10_000), many(")", 10_000))),
        ("sets in sets", format!("${}1{}$", many("\\{1,", 40), many("\\}", 40))),
        ("groups in groups", format!("${}a,b{}$", many("{", 45), many(",c}", 45))),
        ("plus or minus", format!("${}1{}$", many("(\\pm ", 30), many(")", 30))),
        ("minus signs", format!("${}1$", many("-", 3_000))),
        ("bars", format!("${}1$", many("|", 3_000))),
        ("factorial signs", format!("$3{}$", many("!", 3_000))),
        ("percent signs", format!("$3{}$", many("%", 3_000))),
        ("primes", format!("$f{}$", many("'", 3_000))),
        ("exponents", format!("$2{}$", many("^2", 1_500))),
        ("a list", format!("${}1$", many("1,", 1_900))),
        ("a list of letters", format!("${}a$", many("a+b,", 900))),
        ("a union", format!("$(0,1){}$", many("\\cup(2,x)", 400))),
        ("answers", many("answer: $x$ ", 80_000)),
        ("final answers", many("final answer is 3/", 50_000)),
        ("numbers", many(" 1/2+", 200_000)),
        ("an expression of spaces", format!("1+{}x", many(" ", 1 << 20))),
        ("equals signs", many("x=", 300_000)),
        ("control characters", "\u{0}\u{1}\u{7f}".repeat(1000)),
        ("marks", format!("{}1{}", "\u{202E}".repeat(1000), "\u{200F}".repeat(1000))),
        ("a matrix", format!("$\\begin{{pmatrix}}{}1\\end{{pmatrix}}^8$", many("1&", 300))),
        (
            "powers of a matrix of letters",
            "$\\begin{pmatrix}a&b&c\\\\d&e&f\\\\g&h&k\\end{pmatrix}^8\\begin{pmatrix}a&b&c\\\\d&e&f\\\\g&h&k\\end{pmatrix}^8$"
                .into(),
        ),
        ("not a number", "NaN".into()),
        ("nothing over nothing", "$\\frac{0}{0}$".into()),
        ("exponents of numbers", "1e999999".into()),
        ("smallest exponents", "1e-999999".into()),
        ("empty", String::new()),
        ("a backslash", "\\".into()),
        ("an index without end", "$x_{".into()),
        ("an accent without end", "$\\overline{".into()),
        ("a root without end", "$\\sqrt[".into()),
        ("letters of all planes", "𝔸ßﬀ漢字🙂".repeat(500)),
    ]
}

#[test]
fn every_hostile_text_has_a_verdict() {
    let hostile = hostile();
    for (name, text) in &hostile {
        let verdict = compare(text, "$5$");
        assert!(!verdict.same, "{name}: {}", verdict.reason);
        assert!(!compare("$5$", text).same, "{name}");
        // Itself it is, or it has no answer.
        let _ = compare(text, text);
        let _ = evaluate(text);
    }
}

#[test]
fn towers_are_told_apart_where_arithmetic_can() {
    for (gold, prediction, same) in [
        ("$10^{10^{10}}$", "$10^{10^{10}}$", true),
        ("$10^{10^{10}}$", "$10^{10^{10}}+1$", false),
        ("$2^{10^{12}}\\cdot 2$", "$2^{10^{12}+1}$", true),
        ("$100!$", "$100\\cdot 99!$", true),
        // No digits are left in the sine; the order of terms is.
        ("$\\sin(100.1^{4})+x$", "$x+\\sin(100.1^{4})$", true),
        ("$75.1^{12}\\cos 1$", "$75.1^{12}\\cos 1+1$", false),
        ("$100!$", "$100!+1$", false),
        ("$\\binom{200}{100}$", "$\\binom{200}{100}+1$", false),
    ] {
        assert_eq!(equal(gold, prediction), same, "{gold} {prediction}");
    }
}

#[test]
fn a_hundred_levels_are_read_on_a_thread_with_a_small_stack() {
    let deep = format!("${}1{}$", "\\sqrt{(".repeat(60), ")}".repeat(60));
    let verdict = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || compare(&deep, "1").reason)
        .expect("a thread")
        .join()
        .expect("no overflow");
    assert!(!verdict.is_empty());
}
