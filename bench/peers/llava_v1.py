"""LLaVA's training sequence of one pair: template v1, image tokens, labels.

What `preprocess_v1` and `tokenizer_image_token` of LLaVA's training code give, read from their
description and held against our own tokens: the text before and after the image is tokenised apart,
labels begin one token before the end of the prompt (the space before the answer belongs to the
answer's first word) and end with `</s>`.
"""

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
ANSWER_MARK = " ASSISTANT: "
IMAGE = "<image>"
IGNORED = -100


def open_tokenizer(folder):
    """LLaMA's tokenizer from a folder with `tokenizer.json`."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(f"{folder}/tokenizer.json")


def encode(tokenizer, human, gpt, image_tokens, image_id):
    """Ids and labels of one pair, the image as `image_tokens` times `image_id`."""
    asked = human.replace(IMAGE, "").strip()
    before = f"{SYSTEM} USER: "
    prompt = f"\n{asked}{ANSWER_MARK}"

    def after(text):
        # The first token of a text, which the tokenizer adds to each.
        return tokenizer.encode(text).ids[1:]

    head = tokenizer.encode(before).ids + [image_id] * image_tokens
    whole = head + after(f"{prompt}{gpt}</s>")
    masked = len(head) + len(after(prompt)) - 1
    return whole, [IGNORED] * masked + whole[masked:]


def tree_tokens(sequences):
    """Tokens of the sequences when each shared prefix counts once."""
    distinct = set()
    for ids in sequences:
        node = 0
        for token in ids:
            node = hash((node, token))
            distinct.add(node)
    return len(distinct)
