"""PyTorch and transformers as a peer of `model_speed`: one measurement for each line read.

    speed_torch.py SHAPE THREADS

Prints `ready`; then for each line TASK on standard input the seconds that it took. Random weights in
bf16. Tasks: prefill (640 tokens), decode (16 tokens after these), encode (one image through the
tower), questions (32 questions about 4 images, 16 new tokens each, 8 in a batch).
"""

import sys
import time

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

SHAPES = {
    "small": (1024, 12, 16, 16, 2816),
    "tinyllama": (2048, 22, 32, 4, 5632),
}
IMAGE = 32000


def main():
    shape, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    width, layers, heads, kv_heads, mlp = SHAPES[shape]
    text = LlamaConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
        intermediate_size=mlp, vocab_size=32064, max_position_embeddings=4096,
    )
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336,
        patch_size=14, projection_dim=768,
    )
    torch.set_default_dtype(torch.bfloat16)
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE)
    ).eval()
    torch.set_default_dtype(torch.float32)
    decoder = model.language_model
    ids = torch.randint(3, 32000, (1, 640))
    pixels = torch.randn(1, 3, 336, 336, dtype=torch.bfloat16)
    state = {}

    def prefill():
        out = decoder(ids, use_cache=True)
        state["logits"] = model.lm_head(out.last_hidden_state[:, -1])
        state["cache"] = out.past_key_values

    def decode():
        cache, token = state["cache"], torch.tensor([[5]])
        for _ in range(16):
            out = decoder(token, past_key_values=cache, use_cache=True)
            token = model.lm_head(out.last_hidden_state[:, -1:]).argmax(-1)

    def encode():
        model.get_image_features(pixels, vision_feature_layer=-2, vision_feature_select_strategy="default")

    def questions():
        for _ in range(4):
            rows = torch.randint(3, 32000, (8, 5 + 576 + 40))
            rows[:, 5 : 5 + 576] = IMAGE
            model.generate(
                input_ids=rows, pixel_values=pixels.expand(8, -1, -1, -1), attention_mask=torch.ones_like(rows),
                max_new_tokens=16, min_new_tokens=16, do_sample=False, pad_token_id=0,
            )

    tasks = {"prefill": prefill, "decode": decode, "encode": encode, "questions": questions}
    print("ready", flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            task = line.strip()
            if task == "decode":
                # A cache of its own, at the same length each time.
                prefill()
            started = time.perf_counter()
            tasks[task]()
            print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
