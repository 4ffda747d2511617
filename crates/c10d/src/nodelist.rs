//! Slurm's compressed lists of hosts, such as `gpu[003-006,9],login1`, as far as the first host.
//!
//! Rank 0 is on the first host of a job, and that is where the others look for it when nobody says otherwise. The
//! form is described in the manual page of `scontrol show hostnames`; prefixes may hold several brackets.

/// The first host that `list` names.
///
/// # Errors
/// What is wrong with the list.
pub(crate) fn first_host(list: &str) -> Result<String, String> {
    let mut host = String::new();
    let mut rest = list.trim();
    loop {
        let end = rest.find(['[', ']', ',']).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(end);
        if !plain.chars().all(of_a_name) {
            return Err(format!("\"{plain}\" cannot be part of a host's name"));
        }
        host.push_str(plain);
        match tail.chars().next() {
            Some('[') => {
                let inside = tail.get(1..).unwrap_or_default();
                let Some(close) = inside.find(']') else {
                    return Err("a bracket is not closed".to_owned());
                };
                host.push_str(first_number(&inside[..close])?);
                rest = &inside[close + 1..];
            }
            Some(']') => return Err("a bracket is closed that was not opened".to_owned()),
            // The end of the first entry.
            _ => break,
        }
    }
    if host.is_empty() {
        return Err("it names no host".to_owned());
    }
    Ok(host)
}

/// The first number of a bracket, with its zeros: `003` of `003-006,9`.
fn first_number(ranges: &str) -> Result<&str, String> {
    for range in ranges.split(',') {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let whole = match range.split_once('-') {
            Some((from, to)) => digits(from) && digits(to),
            None => digits(range),
        };
        if !whole {
            return Err(format!("\"{range}\" is no range of numbers"));
        }
    }
    Ok(ranges.split([',', '-']).next().unwrap_or_default())
}

fn of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_host_is_read_as_slurm_writes_it() {
        for (list, host) in [
            ("login1", "login1"),
            ("gpu[003-006,9],login1", "gpu003"),
            ("gpu[7],gpu[1-2]", "gpu7"),
            ("rack[1-2]n[08-12]", "rack1n08"),
            ("n[1-3]-ib.cluster,m", "n1-ib.cluster"),
            (" a,b ", "a"),
        ] {
            assert_eq!(first_host(list).as_deref(), Ok(host), "{list}");
        }
    }

    #[test]
    fn broken_lists_are_refused() {
        for list in [
            "",
            ",a",
            "gpu[1-2",
            "gpu]1",
            "gpu[]",
            "gpu[a-b]",
            "gpu[1-]",
            "g pu",
            "gpu[1,[2]]",
            "$(x)",
        ] {
            assert!(first_host(list).is_err(), "{list}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(list in ".{0,64}") {
            let _ = first_host(&list);
        }

        #[test]
        fn what_is_compressed_comes_back(
            prefix in "[a-z][a-z0-9-]{0,8}",
            width in 1_usize..5,
            ranges in prop::collection::vec((0_u32..9999, 0_u32..50), 1..5),
            suffix in "[a-z.]{0,4}",
            more in prop::collection::vec("[a-z]{1,5}(\\[[0-9]{1,3}\\])?", 0..3),
        ) {
            let texts: Vec<String> = ranges
                .iter()
                .map(|(from, more)| match more {
                    0 => format!("{from:0width$}"),
                    _ => format!("{from:0width$}-{:0width$}", from + more),
                })
                .collect();
            let first = format!("{prefix}{:0width$}{suffix}", ranges[0].0);
            let mut list = format!("{prefix}[{}]{suffix}", texts.join(","));
            for entry in &more {
                list.push(',');
                list.push_str(entry);
            }
            prop_assert_eq!(first_host(&list), Ok(first));
        }
    }
}
