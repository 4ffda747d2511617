//! MMMU's thirty subjects and six domains.
//!
//! The order of the subjects is that of the official code (`CAT_SHORT2LONG` of `data_utils.py`): it
//! parses one subject after the other with one generator, so a guess depends on all guesses in
//! subjects before it.

/// Subject and domain, in the official order of subjects.
pub const SUBJECTS: [(&str, &str); 30] = [
    ("Accounting", BUSINESS),
    ("Agriculture", TECH),
    ("Architecture_and_Engineering", TECH),
    ("Art", ART),
    ("Art_Theory", ART),
    ("Basic_Medical_Science", HEALTH),
    ("Biology", SCIENCE),
    ("Chemistry", SCIENCE),
    ("Clinical_Medicine", HEALTH),
    ("Computer_Science", TECH),
    ("Design", ART),
    ("Diagnostics_and_Laboratory_Medicine", HEALTH),
    ("Economics", BUSINESS),
    ("Electronics", TECH),
    ("Energy_and_Power", TECH),
    ("Finance", BUSINESS),
    ("Geography", SCIENCE),
    ("History", HUMANITIES),
    ("Literature", HUMANITIES),
    ("Manage", BUSINESS),
    ("Marketing", BUSINESS),
    ("Materials", TECH),
    ("Math", SCIENCE),
    ("Mechanical_Engineering", TECH),
    ("Music", ART),
    ("Pharmacy", HEALTH),
    ("Physics", SCIENCE),
    ("Psychology", HUMANITIES),
    ("Public_Health", HEALTH),
    ("Sociology", HUMANITIES),
];

const ART: &str = "Art and Design";
const BUSINESS: &str = "Business";
const SCIENCE: &str = "Science";
const HEALTH: &str = "Health and Medicine";
const HUMANITIES: &str = "Humanities and Social Science";
const TECH: &str = "Tech and Engineering";

/// The subject in an id: `Art_Theory` of `validation_Art_Theory_12`; empty where there is none.
pub fn of_id(id: &str) -> &str {
    let Some((_, rest)) = id.split_once('_') else {
        return "";
    };
    rest.rsplit_once('_').map_or("", |(subject, _)| subject)
}

/// The subject's place in the official order; unknown ones come after all others.
pub fn rank(subject: &str) -> usize {
    SUBJECTS
        .iter()
        .position(|(name, _)| *name == subject)
        .unwrap_or(SUBJECTS.len())
}

/// The subject's domain.
pub fn domain(subject: &str) -> Option<&'static str> {
    SUBJECTS.get(rank(subject)).map(|(_, domain)| *domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_subject_between_split_and_number() {
        for (id, subject) in [
            ("validation_Art_1", "Art"),
            ("test_Art_Theory_12", "Art_Theory"),
            (
                "dev_Architecture_and_Engineering_5",
                "Architecture_and_Engineering",
            ),
            ("validation_1", ""),
            ("", ""),
            ("_", ""),
        ] {
            assert_eq!(of_id(id), subject, "{id:?}");
        }
    }

    #[test]
    fn subjects_come_in_alphabetical_order_and_lie_in_six_domains() {
        let names: Vec<&str> = SUBJECTS.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted());
        let sizes: Vec<usize> = [ART, BUSINESS, SCIENCE, HEALTH, HUMANITIES, TECH]
            .iter()
            .map(|domain| SUBJECTS.iter().filter(|(_, d)| d == domain).count())
            .collect();
        assert_eq!(sizes, [4, 5, 5, 5, 4, 7]);
        assert_eq!(
            (rank("Accounting"), rank("Sociology"), rank("Alchemy")),
            (0, 29, 30)
        );
        assert_eq!(
            (domain("Manage"), domain("Alchemy")),
            (Some(BUSINESS), None)
        );
    }
}
