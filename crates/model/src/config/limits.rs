//! What a size in a configuration can be, so that a wrong one is an error before memory is asked for.

use crate::Error;

/// No checkpoint here has more parameters; a larger claim is a broken file.
const MAX_PARAMETERS: i64 = 1 << 40;

/// Refuses sizes (name, value, most) outside 1 to the most.
pub(crate) fn check_sizes(sizes: &[(&str, i64, i64)]) -> Result<(), Error> {
    for (name, size, most) in sizes {
        if !(1..=*most).contains(size) {
            return Err(Error::Config(format!(
                "{name} is {size}, outside 1 to {most}"
            )));
        }
    }
    Ok(())
}

/// Refuses what breaks a rule.
pub(crate) fn check_rules(rules: &[(bool, &str)]) -> Result<(), Error> {
    if let Some((_, message)) = rules.iter().find(|(holds, _)| !holds) {
        return Err(Error::Config((*message).to_owned()));
    }
    Ok(())
}

/// Refuses more parameters than any checkpoint has.
pub(crate) fn check_count(parameters: i64) -> Result<(), Error> {
    if parameters > MAX_PARAMETERS {
        return Err(Error::Config(format!(
            "{parameters} parameters: beyond any checkpoint; a size in config.json is wrong"
        )));
    }
    Ok(())
}
