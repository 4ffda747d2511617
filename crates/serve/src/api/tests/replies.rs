//! Whole answers: what OpenAI's clients find in them, and what reaches the model.

use super::*;
use crate::scripted::Heard;

/// An answer with what differs from call to call put aside: its name and when it was made.
fn steady(answer: &Answer) -> String {
    let json = answer.json();
    let id = json["id"].as_str().unwrap();
    let created = json["created"].as_u64().unwrap();
    let fingerprint = json["system_fingerprint"].as_str().unwrap();
    assert!(created > 1_700_000_000, "{created}");
    assert!(fingerprint.starts_with("fp_"), "{fingerprint}");
    answer
        .text
        .replace(id, "ID")
        .replace(&created.to_string(), "NOW")
        .replace(fingerprint, "FP")
}

#[tokio::test]
async fn a_conversation_is_answered_word_for_word_in_openais_form() {
    let router = served(vec![echo()]);
    let answer = posted(&router, CHAT, &asking(json!({}))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(
        answer.json()["id"]
            .as_str()
            .unwrap()
            .starts_with("chatcmpl-")
    );
    assert_eq!(
        steady(&answer),
        concat!(
            r#"{"id":"ID","object":"chat.completion","created":NOW,"model":"echo","#,
            r#""system_fingerprint":"FP","choices":[{"index":0,"message":{"role":"assistant","#,
            r#""content":"one two","refusal":null},"logprobs":null,"finish_reason":"stop"}],"#,
            r#""usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4,"#,
            r#""prompt_tokens_details":{"cached_tokens":0}}}"#,
        )
    );
}

#[tokio::test]
async fn a_completion_is_answered_word_for_word_in_openais_form() {
    let router = served(vec![echo()]);
    let body = json!({ "prompt": "one two", "logprobs": 1, "max_tokens": 2 });
    let answer = posted(&router, PLAIN, &body).await;
    assert!(answer.json()["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(
        steady(&answer),
        concat!(
            r#"{"id":"ID","object":"text_completion","created":NOW,"model":"echo","#,
            r#""system_fingerprint":"FP","choices":[{"text":"one two","index":0,"logprobs":{"#,
            r#""tokens":["one ","two"],"token_logprobs":[-0.25,-0.25],"#,
            r#""top_logprobs":[{"one ":-0.25},{"two":-0.25}],"text_offset":[0,4]},"#,
            r#""finish_reason":"length"}],"usage":{"prompt_tokens":2,"completion_tokens":2,"#,
            r#""total_tokens":4,"prompt_tokens_details":{"cached_tokens":0}}}"#,
        )
    );
}

#[tokio::test]
async fn tokens_come_with_their_bytes_and_the_likeliest_in_their_place() {
    let router = served(vec![echo()]);
    let body = json!({
        "messages": [{ "role": "user", "content": "π" }],
        "logprobs": true,
        "top_logprobs": 2,
    });
    let choice = posted(&router, CHAT, &body).await.json()["choices"][0].clone();
    assert_eq!(
        choice["logprobs"],
        json!({
            "content": [{
                "token": "π",
                "bytes": [0xcf, 0x80],
                "logprob": -0.25,
                "top_logprobs": [
                    { "token": "π", "bytes": [0xcf, 0x80], "logprob": -0.25 },
                    { "token": "other1 ", "bytes": b"other1 ", "logprob": -2.0 },
                ],
            }],
            "refusal": null,
        })
    );
}

#[tokio::test]
async fn several_replies_and_several_prompts_are_numbered_through() {
    let model = ScriptedModel::new("echo", |heard| format!("{} {}", heard.text, heard.choice));
    let limits = ScheduleLimits::default();
    let router = served(vec![own(model, limits, Faults::default())]);
    let texts = |answer: &Answer, field: &str| -> Vec<(u64, String)> {
        let json = answer.json();
        let choices = json["choices"].as_array().unwrap();
        let one = |choice: &Value| {
            let text = choice.pointer(field).unwrap().as_str().unwrap();
            (choice["index"].as_u64().unwrap(), text.to_owned())
        };
        choices.iter().map(one).collect()
    };
    let numbered = |texts: &[&str]| -> Vec<(u64, String)> {
        (0..)
            .zip(texts.iter().map(|text| (*text).to_owned()))
            .collect()
    };

    let chat = posted(&router, CHAT, &asking(json!({ "n": 3 }))).await;
    let three = ["one two 0", "one two 1", "one two 2"];
    assert_eq!(texts(&chat, "/message/content"), numbered(&three));
    assert_eq!(chat.json()["usage"]["prompt_tokens"], 2);
    assert_eq!(chat.json()["usage"]["completion_tokens"], 9);

    let body = json!({ "prompt": ["a", "b"], "n": 2, "best_of": 2 });
    let plain = posted(&router, PLAIN, &body).await;
    assert_eq!(
        texts(&plain, "/text"),
        numbered(&["a 0", "a 1", "b 0", "b 1"])
    );
    assert_eq!(plain.json()["usage"]["prompt_tokens"], 2);
    assert_eq!(plain.json()["usage"]["completion_tokens"], 8);
}

#[tokio::test]
async fn a_reply_ends_at_its_limit_or_at_a_stop_string() {
    let router = served(vec![echo()]);
    for (more, content, finish) in [
        (json!({}), "one two", "stop"),
        (json!({ "max_tokens": 1 }), "one ", "length"),
        (json!({ "max_completion_tokens": 1 }), "one ", "length"),
        (
            json!({ "max_tokens": 1, "max_completion_tokens": 1 }),
            "one ",
            "length",
        ),
        (json!({ "stop": "two" }), "one ", "stop"),
        (json!({ "stop": ["x", "ne"] }), "o", "stop"),
        (
            json!({ "stop": null, "max_tokens": null, "n": null }),
            "one two",
            "stop",
        ),
    ] {
        let json = posted(&router, CHAT, &asking(more.clone())).await.json();
        let choice = &json["choices"][0];
        assert_eq!(choice["message"]["content"], content, "{more}");
        assert_eq!(choice["finish_reason"], finish, "{more}");
    }
    let twenty = vec!["word"; 20].join(" ");
    let json = posted(&router, PLAIN, &json!({ "prompt": twenty }))
        .await
        .json();
    assert_eq!(json["usage"]["completion_tokens"], 16);
}

#[tokio::test]
async fn fields_that_change_nothing_are_taken() {
    let router = served(vec![echo()]);
    for more in [
        json!({ "model": null }),
        json!({ "user": "u", "store": true, "metadata": { "a": "b" }, "service_tier": "auto" }),
        json!({ "reasoning_effort": "low", "parallel_tool_calls": true, "prompt_cache_key": "k" }),
        json!({ "tools": [], "tool_choice": "none", "functions": [], "function_call": "auto" }),
        json!({ "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {} }),
        json!({ "modalities": ["text"], "response_format": { "type": "text" } }),
        json!({ "never_heard_of": { "a": [1, 2] } }),
        json!({ "logprobs": false, "top_logprobs": 0 }),
        json!({ "temperature": 0, "top_p": 0, "top_k": -1, "min_p": 0, "repetition_penalty": 1 }),
        json!({ "temperature": 2, "top_p": 1, "top_k": 50, "min_p": 1, "seed": -5 }),
        json!({ "seed": 18446744073709551615_u64 }),
        json!({ "stream": false }),
    ] {
        let answer = posted(&router, CHAT, &asking(more.clone())).await;
        assert_eq!(answer.status, 200, "{more}: {}", answer.text);
    }
}

#[tokio::test]
async fn conversations_of_every_shape_reach_the_model() {
    let model = ScriptedModel::new("seen", |heard: &Heard| {
        format!("{}/{}", heard.text, heard.images)
    });
    let limits = ScheduleLimits::default();
    let router = served(vec![own(model, limits, Faults::default())]);
    let image = |detail: &str| json!({ "type": "image_url", "image_url": { "url": picture(), "detail": detail } });
    let shout = picture().replace("data:image/png;base64", "DATA:IMAGE/PNG;x=y;BASE64");
    for (messages, seen) in [
        (
            json!([{ "role": "user", "content": "hi", "name": "ann" }]),
            "hi/0",
        ),
        (
            json!([
                { "role": "developer", "content": "be kind" },
                { "role": "system", "content": [{ "type": "text", "text": "and short" }] },
                { "role": "user", "content": "hi" },
                { "role": "assistant", "content": "hello", "refusal": null, "tool_calls": [] },
                { "role": "assistant", "content": null, "refusal": "no" },
                { "role": "assistant", "content": [{ "type": "refusal", "refusal": "no" }] },
                { "role": "user", "content": [
                    image("auto"),
                    { "type": "text", "text": "look " },
                    image("high"),
                    { "type": "text", "text": "here" },
                    { "type": "image_url", "image_url": { "url": shout, "detail": null } },
                ] },
            ]),
            "look here/3",
        ),
    ] {
        let json = posted(&router, CHAT, &json!({ "messages": messages }))
            .await
            .json();
        assert_eq!(json["choices"][0]["message"]["content"], seen, "{messages}");
    }
}

#[test]
fn what_is_asked_of_the_model_is_what_the_request_says() {
    let api = api_of(Vec::new());
    let read = |more| crate::api::chat::conversation(&asking(more), &api).unwrap();
    let plain = read(json!({}));
    let sampling = plain.parameters.sampling;
    // OpenAI's defaults.
    assert_eq!((sampling.temperature, sampling.top_p), (1.0, 1.0));
    assert_eq!((sampling.top_k, sampling.min_p), (0, 0.0));
    assert_eq!(sampling.repetition_penalty, 1.0);
    assert_eq!(plain.parameters.max_tokens, None);
    assert_eq!(plain.logprobs, None);
    assert_eq!(plain.form, crate::ask::Form::Free);
    // Without a seed, draws differ.
    assert_ne!(sampling.seed, read(json!({})).parameters.sampling.seed);

    let full = read(json!({
        "temperature": 0.5, "top_p": 0.25, "top_k": 7, "min_p": 0.125, "repetition_penalty": 1.5,
        "seed": 9, "n": 2, "stop": ["a", "b"], "max_tokens": 5, "logprobs": true, "top_logprobs": 3,
        "response_format": { "type": "json_object" },
    }));
    let sampling = full.parameters.sampling;
    assert_eq!((sampling.temperature, sampling.top_p), (0.5, 0.25));
    assert_eq!((sampling.top_k, sampling.min_p), (7, 0.125));
    assert_eq!((sampling.repetition_penalty, sampling.seed), (1.5, 9));
    assert_eq!(
        (full.parameters.n, full.parameters.max_tokens),
        (2, Some(5))
    );
    assert_eq!(
        (full.logprobs, full.form),
        (Some(3), crate::ask::Form::Json)
    );
    assert_eq!(full.parameters.stop, ["a", "b"]);

    // The engine wants a share above 0.
    assert!(read(json!({ "top_p": 0 })).parameters.sampling.top_p > 0.0);
    assert_eq!(
        read(json!({ "seed": -1 })).parameters.sampling.seed,
        u64::MAX
    );
    assert_eq!(read(json!({ "logprobs": true })).logprobs, Some(0));

    let schema = json!({ "type": "object", "properties": { "b": {}, "a": {} } });
    let named = json!({ "name": "a-b_1", "description": "d", "strict": true, "schema": schema });
    let form = json!({ "response_format": { "type": "json_schema", "json_schema": named } });
    assert_eq!(read(form).form, crate::ask::Form::Schema(schema));
    let form =
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "a" } } });
    assert_eq!(read(form).form, crate::ask::Form::Json);

    let body = json!({ "prompt": "x" });
    let plain = crate::api::completions::completion(&body, &api).unwrap();
    assert_eq!(plain.parameters.max_tokens, Some(16));
}

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let named = |id: &str| {
        let model = ScriptedModel::echo(id);
        own(model, ScheduleLimits::default(), Faults::default())
    };
    let router = served(vec![named("tiny"), named("org/large")]);
    let list = answer(&router, get("/v1/models")).await.json();
    assert_eq!(list["object"], "list");
    let tiny = json!({
        "id": "tiny", "object": "model", "created": 1_700_000_000, "owned_by": "math-llava",
        "max_model_len": 4096, "reads_images": true, "description": "follows a script",
    });
    assert_eq!(list["data"][0], tiny);
    assert_eq!(list["data"][1]["id"], "org/large");
    assert_eq!(answer(&router, get("/v1/models/tiny")).await.json(), tiny);
    for path in ["/v1/models/org/large", "/v1/models/org%2Flarge"] {
        assert_eq!(
            answer(&router, get(path)).await.json(),
            list["data"][1],
            "{path}"
        );
    }
    let second = posted(&router, CHAT, &asking(json!({ "model": "org/large" }))).await;
    assert_eq!(second.json()["model"], "org/large");
    let first = posted(&router, PLAIN, &json!({ "prompt": "x" })).await;
    assert_eq!(first.json()["model"], "tiny");
}

#[tokio::test]
async fn answers_are_compared_as_mathematics() {
    let router = served(Vec::new());
    let body = json!({ "pairs": [{ "a": "1/2", "b": "0.5" }, { "a": "1/2", "b": "1/3" }] });
    let pairs = posted(&router, SCORE, &body).await.json();
    assert_eq!(
        (&pairs["object"], &pairs["same"]),
        (&json!("list"), &json!(1))
    );
    assert_eq!(pairs["data"][0]["same"], true);
    assert_eq!(pairs["data"][1]["same"], false);
    assert_eq!(pairs["data"][1]["index"], 1);
    assert!(!pairs["data"][1]["reason"].as_str().unwrap().is_empty());

    let body = json!({ "reference": "x = 5", "candidate": ["5", "6", "x=5"] });
    let list = posted(&router, SCORE, &body).await.json();
    let same: Vec<&Value> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["same"])
        .collect();
    assert_eq!(same, [&json!(true), &json!(false), &json!(true)]);
    // What is the candidate and what the reference matters.
    let body = json!({ "reference": "1 < x < 2", "candidate": "(1, 2)" });
    assert_eq!(posted(&router, SCORE, &body).await.json()["same"], 1);
    let body = json!({ "reference": "(1, 2)", "candidate": "1 < x < 2" });
    assert_eq!(posted(&router, SCORE, &body).await.json()["same"], 0);
    let body = json!({ "pairs": [
        { "a": "1 < x < 2", "b": "(1, 2)" },
        { "a": "(1, 2)", "b": "1 < x < 2" },
    ] });
    let pairs = posted(&router, SCORE, &body).await.json();
    assert_eq!(pairs["data"][0]["same"], true);
    assert_eq!(pairs["data"][1]["same"], false);
}

#[tokio::test]
async fn those_who_watch_the_server_find_health_and_metrics() {
    let router = served(vec![echo()]);
    let health = answer(&router, get("/health")).await;
    assert_eq!(health.json()["status"], "ok");
    assert_eq!(health.json()["models"][0]["id"], "echo");
    let metrics = answer(&router, get("/metrics")).await;
    let media = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(metrics.headers["content-type"], media);
}
