//! `--set KEY=VALUE`: single values of a configuration file, changed for one run.

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

/// Puts each `a.b.c=VALUE` into the tables of `config`. VALUE is TOML; what is not is taken as text, so
/// that paths and words need no quotes.
pub fn apply(config: &mut Table, settings: &[String]) -> Result<()> {
    for setting in settings {
        let (key, value) = setting
            .split_once('=')
            .with_context(|| format!("--set {setting:?} is not KEY=VALUE"))?;
        let path: Vec<&str> = key.trim().split('.').collect();
        if path.iter().any(|name| name.is_empty()) {
            bail!("--set {setting:?}: the key is a path such as train.lr");
        }
        put(config, &path, parse(value.trim())).with_context(|| format!("--set {setting:?}"))?;
    }
    Ok(())
}

fn parse(text: &str) -> Value {
    let read: Option<Table> = toml::from_str(&format!("value = {text}")).ok();
    read.filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn put(table: &mut Table, path: &[&str], value: Value) -> Result<()> {
    let [first, rest @ ..] = path else {
        return Ok(());
    };
    if rest.is_empty() {
        table.insert((*first).to_owned(), value);
        return Ok(());
    }
    let below = table
        .entry(*first)
        .or_insert_with(|| Value::Table(Table::new()));
    match below {
        Value::Table(below) => put(below, rest, value),
        other => bail!("{first} is {}, which has nothing in it", other.type_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &[&str]) -> Result<Table> {
        let mut table: Table = toml::from_str("seed = 7\n[train]\nlr = 1e-3\n")?;
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        apply(&mut table, &settings)?;
        Ok(table)
    }

    #[test]
    fn values_are_toml_and_words_are_text() {
        let table = set(&[
            "train.lr=2e-5",
            "train.base.model=models/my-llava",
            "train.betas=[0.9, 0.95]",
            "train.packing=tree",
            "out=a=b",
            "train.tower.steps = 3",
            "grade={heads = \"shared\"}",
        ])
        .unwrap();
        let train = table["train"].as_table().unwrap();
        assert_eq!(train["lr"].as_float(), Some(2e-5));
        assert_eq!(train["base"]["model"].as_str(), Some("models/my-llava"));
        assert_eq!(train["betas"][1].as_float(), Some(0.95));
        assert_eq!(train["packing"].as_str(), Some("tree"));
        assert_eq!(train["tower"]["steps"].as_integer(), Some(3));
        assert_eq!(table["out"].as_str(), Some("a=b"));
        assert_eq!(table["grade"]["heads"].as_str(), Some("shared"));
        assert_eq!(table["seed"].as_integer(), Some(7));
    }

    #[test]
    fn what_is_no_setting_is_an_error_that_quotes_it() {
        for wrong in ["train.lr", "=3", "train..lr=3", "train.lr.peak=3"] {
            let message = format!("{:#}", set(&[wrong]).unwrap_err());
            assert!(message.contains(wrong), "{message}");
        }
    }

    #[test]
    fn a_value_cannot_bring_further_settings() {
        let table = set(&["out=1\nseed = 9"]).unwrap();
        assert_eq!(table["seed"].as_integer(), Some(7));
    }
}
