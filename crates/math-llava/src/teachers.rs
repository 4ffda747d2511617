//! `[teachers.NAME]`: models behind servers, as a configuration names them.
//!
//! One flat section holds what the transport needs, what the dispatcher needs and what each server
//! may be asked; each part checks its own names, so a misspelt one is an error.

use anyhow::{Context, Result, bail};
use chat::http::{Http, HttpConfig};
use chat::money::Forecast;
use chat::remote::batch::{BatchConfig, Batched};
use chat::remote::{Limits, Remote, RemoteConfig};
use chat::{ChatModel, Ledger, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How requests reach the servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Chat completions, one request at a time.
    #[default]
    Chat,
    /// The Batch API: files of requests, answered within a day at a lower price.
    Batch,
}

/// A teacher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct TeacherConfig {
    /// How requests are sent.
    pub api: Api,
    /// How they are put into batches, with `api = "batch"`.
    pub batch: BatchConfig,
    /// The model and its servers.
    pub http: HttpConfig,
    /// Patience and money.
    pub remote: RemoteConfig,
    /// What each server may be asked, in the order of the servers.
    pub limits: Vec<Limits>,
}

fn names<T: Default + Serialize>() -> Vec<String> {
    match serde_json::to_value(T::default()) {
        Ok(Value::Object(map)) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Takes the fields with these names out of `from`.
fn take(from: &mut Map<String, Value>, names: &[String]) -> Value {
    let taken = names
        .iter()
        .filter_map(|name| Some((name.clone(), from.remove(name)?)));
    Value::Object(taken.collect())
}

impl TryFrom<Map<String, Value>> for TeacherConfig {
    type Error = String;

    fn try_from(mut map: Map<String, Value>) -> Result<Self, String> {
        let say = |e: serde_json::Error| e.to_string();
        let api = map.remove("api").unwrap_or_else(|| "chat".into());
        let batch = map.remove("batch").unwrap_or_else(|| Map::new().into());
        let remote = take(&mut map, &names::<RemoteConfig>());
        let mut limits = Vec::new();
        if let Some(Value::Array(endpoints)) = map.get_mut("endpoints") {
            for endpoint in endpoints {
                let Value::Object(endpoint) = endpoint else {
                    return Err("endpoints: each is a table with a url".into());
                };
                let own = take(endpoint, &names::<Limits>());
                limits.push(serde_json::from_value(own).map_err(|e| format!("endpoints: {e}"))?);
            }
        }
        Ok(TeacherConfig {
            api: serde_json::from_value(api).map_err(|e| format!("api: {e}"))?,
            batch: serde_json::from_value(batch).map_err(|e| format!("batch: {e}"))?,
            http: serde_json::from_value(Value::Object(map)).map_err(say)?,
            remote: serde_json::from_value(remote).map_err(say)?,
            limits,
        })
    }
}

impl From<TeacherConfig> for Map<String, Value> {
    fn from(config: TeacherConfig) -> Self {
        let object = |value: serde_json::Result<Value>| match value {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let mut map = object(serde_json::to_value(&config.http));
        map.extend(object(serde_json::to_value(&config.remote)));
        map.extend(object(serde_json::to_value(
            serde_json::json!({ "api": config.api }),
        )));
        if let Some(Value::Array(endpoints)) = map.get_mut("endpoints") {
            for (endpoint, limits) in endpoints.iter_mut().zip(&config.limits) {
                if let Value::Object(endpoint) = endpoint {
                    endpoint.extend(object(serde_json::to_value(limits)));
                }
            }
        }
        map
    }
}

/// A model behind servers.
pub enum Teacher {
    /// Asked request by request.
    Chat(Remote<Http>),
    /// Asked by the batch.
    Batch(Batched<Http>),
}

impl TeacherConfig {
    /// Connects to nothing yet, but looks keys up and refuses what cannot work.
    pub fn open(&self, name: &str) -> Result<Teacher> {
        let at = || format!("[teachers.{name}]");
        let http = Http::new(self.http.clone()).with_context(at)?;
        let (limits, remote) = (self.limits.clone(), self.remote.clone());
        let remote = Remote::new(&self.http.model, http, limits, remote).with_context(at)?;
        Ok(match self.api {
            Api::Chat => Teacher::Chat(remote),
            Api::Batch => {
                Teacher::Batch(Batched::new(remote, self.batch.clone()).with_context(at)?)
            }
        })
    }
}

impl Teacher {
    /// The same as every model.
    pub fn model(&self) -> &dyn ChatModel {
        match self {
            Teacher::Chat(remote) => remote,
            Teacher::Batch(batched) => batched,
        }
    }

    /// What these requests would cost.
    pub fn forecast(
        &self,
        requests: &mut dyn Iterator<Item = Request>,
        ledger: &Ledger,
    ) -> Result<Forecast> {
        Ok(match self {
            Teacher::Chat(remote) => remote.forecast(requests, ledger)?,
            Teacher::Batch(batched) => batched.forecast(requests, ledger)?,
        })
    }
}

/// Refuses a name that no section has.
pub fn find<'a>(
    teachers: &'a std::collections::BTreeMap<String, TeacherConfig>,
    name: &str,
    place: &str,
) -> Result<&'a TeacherConfig> {
    match teachers.get(name) {
        Some(teacher) => Ok(teacher),
        None if teachers.is_empty() => bail!(
            "{place} = {name:?}: there is no such teacher. \"program\" answers from the scenes of \
             drawn figures and from tables, \"none\" makes nothing, and a section [teachers.{name}] \
             with model and endpoints adds a model behind a server"
        ),
        None => {
            let names: Vec<&str> = teachers.keys().map(String::as_str).collect();
            bail!(
                "{place} = {name:?}: there is no section [teachers.{name}]; there are {}",
                names.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &str = r#"
        model = "qwen2.5-vl-72b"
        endpoints = [
            { url = "http://localhost:8000/v1", concurrency = 64 },
            { url = "http://localhost:8001/v1", requests_per_minute = 600 },
        ]
        timeout_s = 30.0
        max_budget = 25.0
        price = { input = 0.4, output = 1.2 }
    "#;

    #[test]
    fn one_flat_section_is_shared_out_to_its_parts_and_comes_back() {
        let config: TeacherConfig = toml::from_str(SECTION).unwrap();
        assert_eq!(config.http.model, "qwen2.5-vl-72b");
        assert_eq!(config.remote.max_budget, Some(25.0));
        assert_eq!(config.limits[0].concurrency, 64);
        assert_eq!(config.limits[1].requests_per_minute, 600);
        assert_eq!(config.api, Api::Chat);
        let batched = format!("{SECTION}\napi = \"batch\"\nbatch = {{ requests = 500 }}");
        let batched: TeacherConfig = toml::from_str(&batched).unwrap();
        assert_eq!((batched.api, batched.batch.requests), (Api::Batch, 500));
        assert!(matches!(batched.open("t").unwrap(), Teacher::Batch(_)));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<TeacherConfig>(&text).unwrap(),
            config
        );
        config.open("t").unwrap();
    }

    #[test]
    fn names_that_no_part_knows_and_values_that_cannot_work_are_refused() {
        for (line, word) in [
            ("timeot_s = 3", "timeot_s"),
            ("api = \"carrier\"", "carrier"),
            ("batch = { size = 3 }", "size"),
            ("price = { inptu = 1 }", "inptu"),
        ] {
            let error = toml::from_str::<TeacherConfig>(&format!("{SECTION}\n{line}"));
            let message = error.unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        let keyed = SECTION.replace("concurrency = 64", "key_env = \"NO_SUCH_VARIABLE_SET\"");
        let config: TeacherConfig = toml::from_str(&keyed).unwrap();
        let message = format!("{:#}", config.open("t").err().unwrap());
        assert!(
            message.contains("[teachers.t]") && message.contains("NO_SUCH_VARIABLE_SET"),
            "{message}"
        );
        let nobody = std::collections::BTreeMap::new();
        let none = find(&nobody, "gpt", "[synth] teacher");
        assert!(none.unwrap_err().to_string().contains("[teachers.gpt]"));
    }
}
