//! That all processes of a cluster are of one version.
//!
//! A plan names functions and says nothing of what they do. Two versions that are mixed give a table that
//! neither of them would, silently; so the version goes with every plan, and is compared wherever a plan is
//! opened: by the scheduler, and by each executor.

use datafusion::common::exec_err;
use datafusion::error::Result;

/// Ends every refusal, so that it is found again in what Ballista wraps around it.
pub(crate) const REMEDY: &str = "start the same version everywhere";
/// Begins every refusal.
const BEGIN: &str = "version mismatch: ";

/// Refuses unless both are the same; `here` is who compares and `there` where the other came from.
pub fn same(here: &str, ours: &str, there: &str, theirs: &str) -> Result<()> {
    if ours == theirs {
        return Ok(());
    }
    let theirs = if theirs.is_empty() {
        "no math-llava".to_owned()
    } else {
        format!("math-llava {}", printable(theirs))
    };
    exec_err!("{BEGIN}{here} is math-llava {ours}, {there} is {theirs}: {REMEDY}")
}

/// Refuses unless a function is known here in the version that the plan was made with.
pub fn same_function(here: &str, name: &str, ours: Option<u32>, theirs: u32) -> Result<()> {
    let name = printable(name);
    match ours {
        Some(ours) if ours == theirs => Ok(()),
        Some(ours) => exec_err!(
            "{BEGIN}{here} has version {ours} of {name}, the plan needs version {theirs}: {REMEDY}"
        ),
        None => exec_err!(
            "{BEGIN}{here} does not know {name}, which the plan needs: {REMEDY}, built with the same features"
        ),
    }
}

/// The refusal in a message that others wrapped.
pub fn refusal(message: &str) -> Option<&str> {
    let start = message.find(BEGIN)?;
    let rest = &message[start..];
    let end = rest.find(REMEDY)? + REMEDY.len();
    let tail = ", built with the same features";
    let end = if rest[end..].starts_with(tail) {
        end + tail.len()
    } else {
        end
    };
    Some(&rest[BEGIN.len()..end])
}

/// What came over the network, made fit for a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .take(60)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_found_again_in_what_is_wrapped_around_it() {
        assert!(same("this", "1", "that", "1").is_ok());
        let error = same("this scheduler", "0.2.0", "the plan", "0.1.0").unwrap_err();
        let wrapped = format!("Status {{ code: Internal, message: \"{error}\", more: \"x\" }}");
        assert_eq!(
            refusal(&wrapped),
            Some(
                "this scheduler is math-llava 0.2.0, the plan is math-llava 0.1.0: start the same version everywhere"
            )
        );
        assert_eq!(refusal("something else"), None);
    }

    #[test]
    fn a_function_is_refused_when_unknown_or_of_another_version() {
        assert!(same_function("here", "f", Some(2), 2).is_ok());
        let other = same_function("here", "f", Some(2), 1)
            .unwrap_err()
            .to_string();
        assert!(
            other.contains("version 2 of f") && other.contains("version 1"),
            "{other}"
        );
        let none = same_function("here", "f\u{1b}[2J", None, 1)
            .unwrap_err()
            .to_string();
        assert!(!none.contains('\u{1b}'), "{none}");
        assert!(refusal(&none).unwrap().ends_with("same features"), "{none}");
    }
}
