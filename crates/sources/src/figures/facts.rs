//! What a scene says, as flat facts: one name and one value for everything that was drawn.

use serde_json::Value;

/// Deeper than any scene goes; a stranger's JSON may be deeper.
const DEEPEST: usize = 8;

/// The facts of a scene's JSON: `("bar.hues[0]", "red")`, `("bar.values.count", "5")`. Empty for
/// anything that is not a scene.
pub fn facts(scene: &str) -> Vec<(String, String)> {
    let Ok(Value::Object(scene)) = serde_json::from_str(scene) else {
        return Vec::new();
    };
    let Some(family) = scene.get("family").and_then(Value::as_str) else {
        return Vec::new();
    };
    let mut found = vec![("figure".to_owned(), family.to_owned())];
    for (name, value) in &scene {
        // The degradation is about the picture, not about what it shows.
        if name != "family" && name != "degradation" {
            leaves(&format!("{family}.{name}"), value, DEEPEST, &mut found);
        }
    }
    found
}

fn leaves(name: &str, value: &Value, deepest: usize, found: &mut Vec<(String, String)>) {
    if deepest == 0 {
        return;
    }
    match value {
        Value::Array(items) => {
            found.push((format!("{name}.count"), items.len().to_string()));
            for (i, item) in items.iter().enumerate() {
                leaves(&format!("{name}[{i}]"), item, deepest - 1, found);
            }
        }
        Value::Object(fields) => {
            for (field, value) in fields {
                leaves(&format!("{name}.{field}"), value, deepest - 1, found);
            }
        }
        Value::String(text) => found.push((name.to_owned(), text.clone())),
        other => found.push((name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_is_told_leaf_by_leaf_without_its_degradation() {
        let scene =
            r#"{"family":"bar","degradation":{"kind":"blur"},"hues":["red","blue"],"max":10}"#;
        let found = facts(scene);
        let has = |name: &str, value: &str| found.iter().any(|(n, v)| n == name && v == value);
        assert!(has("figure", "bar") && has("bar.hues.count", "2"));
        assert!(has("bar.hues[1]", "blue") && has("bar.max", "10"));
        assert!(!found.iter().any(|(n, _)| n.contains("degradation")));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            facts(&text);
            facts(&format!("{{\"family\":\"x\",\"a\":{text}}}"));
        }
    }
}
