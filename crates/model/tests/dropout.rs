//! Dropout while an adapter is trained. By itself in a program of its own: its numbers come from
//! libtorch's generator, which all tests of a program share.

// A panic is how a test fails; clippy allows it only inside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use model::{Adapter, Llava, LlavaConfig, TextConfig};
use tch::{Device, Kind, Tensor};

fn config() -> LlavaConfig {
    LlavaConfig::text_only(TextConfig {
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        vocab_size: 64,
        ..TextConfig::default()
    })
}

/// A model with an adapter whose B is not zero.
fn with(dropout: f64, trainable: bool) -> Llava {
    let adapter = Adapter::new(&config(), 4, 8.0, &["all-linear"], 3, Device::Cpu).unwrap();
    let adapter = adapter.with_dropout(dropout).unwrap();
    for (name, mut tensor) in adapter.parameters() {
        if name.ends_with("lora_B") {
            let count = tensor.numel() as i64;
            let values = Tensor::arange(count, (Kind::Float, Device::Cpu)).sin() * 0.3;
            tensor.copy_(&values.reshape(tensor.size()));
        }
    }
    let model = Llava::new(&config(), 1, Device::Cpu).unwrap();
    model.with_adapter(adapter, trainable).unwrap()
}

/// What comes out after the generator has been seeded.
fn seeded(model: &Llava, seed: i64) -> Tensor {
    let ids = Tensor::arange(10, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let rows = model.rows(&ids, &ids.full_like(10)).unwrap();
    tch::manual_seed(seed);
    let hidden = model.embed(&ids).unwrap();
    model.decoder_layer(1, &hidden, &rows).unwrap().detach()
}

#[test]
fn dropout_is_drawn_anew_by_each_seed_while_training_and_never_else() {
    let (none, some) = (with(0.0, true), with(0.5, true));
    let plain = seeded(&none, 1);
    assert!(seeded(&some, 1).equal(&seeded(&some, 1)));
    assert!(!seeded(&some, 1).equal(&seeded(&some, 2)));
    assert!(!seeded(&some, 1).equal(&plain));
    // A layer that is run again, with or without gradients, draws the same.
    let again = tch::no_grad(|| seeded(&some, 1));
    let off = (again - seeded(&some, 1)).abs().max().double_value(&[]);
    assert!(off < 1e-5, "{off}");
    // Nor is anything dropped where the decoder's updates are frozen, or the model is for answering.
    for still in [with(0.5, false), some.frozen(Kind::Float).unwrap()] {
        assert!(seeded(&still, 3).equal(&plain));
    }
    some.set_trainable(false, false, false).unwrap();
    assert!(seeded(&some, 3).equal(&plain));
    for share in [-0.1, 1.0, f64::NAN] {
        let adapter = Adapter::new(&config(), 4, 8.0, &["q_proj"], 3, Device::Cpu).unwrap();
        assert!(adapter.with_dropout(share).is_err());
    }
}
