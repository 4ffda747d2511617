//! What loading found, for programs and for people.

/// What loading found. Names are those of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors taken from the files.
    pub applied: Vec<String>,
    /// Tensors that no file has; they hold random values.
    pub missing: Vec<String>,
    /// Tensors in the files that the model does not have, as the file names them.
    pub unused: Vec<String>,
    /// Applied tensors that hold NaN or infinity.
    pub not_finite: Vec<String>,
    /// Tensors of the adapter that is used beside them.
    pub adapted: Vec<String>,
}

/// Names that one line shows.
const SHOWN: usize = 8;

impl std::fmt::Display for LoadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "applied {}", self.applied.len())?;
        if !self.adapted.is_empty() {
            write!(f, ", and {} of the adapter", self.adapted.len())?;
        }
        for (what, names) in [
            ("missing", &self.missing),
            ("unused", &self.unused),
            ("not finite", &self.not_finite),
        ] {
            if names.is_empty() {
                continue;
            }
            let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
            write!(f, "\n{what} {}: {}", names.len(), shown.join(", "))?;
            if names.len() > SHOWN {
                write!(f, " and {} more", names.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_is_wrong_and_counts_what_is_right() {
        let names = |n: usize| (0..n).map(|i| format!("t{i}")).collect();
        let report = LoadReport {
            applied: names(9),
            unused: names(10),
            not_finite: names(1),
            ..LoadReport::default()
        };
        assert_eq!(
            report.to_string(),
            "applied 9\nunused 10: t0, t1, t2, t3, t4, t5, t6, t7 and 2 more\nnot finite 1: t0"
        );
    }
}
