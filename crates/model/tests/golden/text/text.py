"""Makes the goldens of this folder: what transformers and LLaVA's training code make of text.

    pip install torch==2.11.0 transformers==4.57.1 sentencepiece==0.2.3 protobuf jinja2==3.1.6
    python text.py ../../../../../../shared/data/tokenizer/llama

`templates.json`: chat templates in the manner of published ones (written here from what those are
known to produce: LLaVA-1.5 of llava-hf, Vicuna, LLaMA-2, LLaMA-3, ChatML with and without a default
system, Mistral, and one that tries Jinja's corners) and what `apply_chat_template` renders.

`masks.json`: conversations of our own, and the ids and labels that LLaVA-1.5 trains on. The three
functions below do what `preprocess_multimodal`, `preprocess_v1` and `preprocess_plain` of
haotian-liu/LLaVA's `llava/train/train.py` do with LLaMA's slow tokenizer; their numbers are kept as
ids only, no part of the vocabulary is.
"""

import json
import pathlib
import sys

import transformers
from transformers import LlamaTokenizer, PreTrainedTokenizerFast

assert transformers.__version__ == "4.57.1", transformers.__version__
HERE = pathlib.Path(__file__).parent
IGNORE, IMAGE = -100, -200

TEMPLATES = {
    "llava_hf": {
        "parts": True,
        "source": "{% for message in messages %}"
        "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
        "{# images first #}"
        "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
        "{{ '<image>\n' }}{% endfor %}"
        "{% if message['role'] != 'assistant' %}"
        "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
        "{{ content['text'] + ' '}}{% endfor %}{% else %}"
        "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
        "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    },
    "vicuna": {
        "source": "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
        "{% set system = messages[0]['content'].strip() + ' ' %}{% else %}"
        "{% set rest = messages %}{% set system = 'A chat. ' %}{% endif %}"
        "{{ bos_token + system }}{% for message in rest %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Roles must take turns') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ 'USER: ' + message['content'].strip() + ' ' }}"
        "{% else %}{{ 'ASSISTANT: ' + message['content'].strip() + eos_token }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    },
    "llama2": {
        "source": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}"
        "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
        "{% for message in loop_messages %}"
        "{% if loop.index0 == 0 and system_message != false %}"
        "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
        "{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}"
        "{% endif %}{% endfor %}",
    },
    "llama3": {
        "source": "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
        " + message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
        "{{ content }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    },
    "chatml": {
        "source": "{% for message in messages %}"
        "{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    },
    "chatml_lines": {
        "source": "{%- if tools %}\n    {{- tools | tojson }}\n{%- else %}\n"
        "    {%- if messages[0].role == 'system' %}\n"
        "        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}\n"
        "    {%- endif %}\n{%- endif %}\n"
        "{%- for message in messages %}\n"
        "    {%- if (message.role == 'user') or (message.role == 'assistant') %}\n"
        "        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
        "    {%- endif %}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n",
    },
    "mistral": {
        "source": "{%- if messages[0]['role'] == 'system' %}\n"
        "    {%- set system_message = messages[0]['content'] %}\n"
        "    {%- set loop_messages = messages[1:] %}\n{%- else %}\n"
        "    {%- set loop_messages = messages %}\n{%- endif %}\n"
        "{{- bos_token }}\n"
        "{%- for message in loop_messages %}\n"
        "    {%- if message['role'] == 'user' %}\n"
        "        {%- if loop.last and system_message is defined %}\n"
        "            {{- '[INST] ' + system_message + '\\n\\n' + message['content'] + '[/INST]' }}\n"
        "        {%- else %}\n"
        "            {{- '[INST] ' + message['content'] + '[/INST]' }}\n"
        "        {%- endif %}\n"
        "    {%- elif message['role'] == 'assistant' %}\n"
        "        {{- ' ' + message['content'] + eos_token}}\n"
        "    {%- endif %}\n{%- endfor %}\n",
    },
    "llama32": {
        "parts": True,
        "source": "{{- bos_token }}\n"
        "{%- set image_ns = namespace(has_images=false) %}\n"
        "{%- for message in messages %}\n"
        "    {%- if message['content'] is not string %}\n"
        "    {%- for content in message['content'] %}\n"
        "        {%- if content['type'] == 'image' %}\n"
        "            {%- set image_ns.has_images = true %}\n"
        "        {%- endif %}\n    {%- endfor %}\n    {%- endif %}\n{%- endfor %}\n"
        "{%- if image_ns.has_images %}\n    {{- '(with images)' }}\n{%- endif %}\n"
        "{%- for message in messages %}\n"
        "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}\n"
        "    {%- if message['content'] is string %}\n"
        "        {{- message['content'] }}\n"
        "    {%- else %}\n"
        "        {%- for content in message['content'] %}\n"
        "            {%- if content['type'] == 'image' %}\n"
        "                {{- '<image>' }}\n"
        "            {%- elif content['type'] == 'text' %}\n"
        "                {{- content['text'] }}\n"
        "            {%- endif %}\n        {%- endfor %}\n    {%- endif %}\n"
        "    {{- '<|eot_id|>' }}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n"
        "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n",
    },
    "corners": {
        "source": "{%- macro say(role, text='nothing') -%}\n<{{ role|capitalize }}> {{ text }}\n"
        "{%- endmacro -%}\n"
        "  {% for m in messages %}\n"
        "    {% if m.role == 'system' %}{% continue %}{% endif %}\n"
        "{{ say(m.role, m.content.split(' ')[0].lstrip('H')) }}|{{ m.content.upper().startswith('W') }}"
        "|{{ none }}|{{ m.content.replace('a', 'o').rstrip() | length }}|{{ m | tojson }}\n"
        "    {% if loop.index0 > 4 %}{% break %}{% endif %}\n"
        "  {% endfor %}\n"
        "{% set ns = namespace(n=0) %}{% for k, v in {'b': 1, 'a': [1, 2.5, true, none]}.items() %}"
        "{% set ns.n = ns.n + loop.index %}{{ k }}={{ v | tojson }};{% endfor %}{{ ns.n }}\n"
        "{{ {'é<&': ['x', {}], 'q': '\"'} | tojson(indent=2) }} {{ messages[-1].content[:3] }}"
        "{{ messages | map(attribute='role') | join(',') }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 'a' in 'bab' }}"
        "{{ undefined_name }}{{ messages[1:] | length }}{{ 'x' ~ 3 ~ 'y' }}"
        "{{ 'odd' if messages | length is odd else 'even' }}\n\n",
    },
}
CONVERSATIONS = [
    [("user", "What is 12 + 30?")],
    [("user", "  How many bars? "), ("assistant", " The answer is 7 ")],
    [
        ("system", "You read charts."),
        ("user", "Hint: one word.\nQuestion: which?"),
        ("assistant", "blue"),
        ("user", "Höhe <b>&</b> \"größer\" 角?"),
    ],
]


def word_tokenizer():
    from tokenizers import Tokenizer, models

    inner = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def templates():
    tokenizer = word_tokenizer()
    found = []
    for name, entry in TEMPLATES.items():
        cases = []
        for index, conversation in enumerate(CONVERSATIONS):
            if name in ("llava_hf",) and index == 2:
                conversation = conversation[1:]
            messages = []
            for role, text in conversation:
                content = text
                if entry.get("parts"):
                    content = [{"type": "text", "text": text}]
                    if role == "user":
                        content.insert(0, {"type": "image"})
                messages.append({"role": role, "content": content})
            reply = conversation[-1][0] == "user"
            text = tokenizer.apply_chat_template(
                messages, chat_template=entry["source"], tokenize=False, add_generation_prompt=reply
            )
            cases.append({"turns": conversation, "text": text})
        parts = bool(entry.get("parts"))
        found.append({"name": name, "source": entry["source"], "parts": parts, "cases": cases})
    return found


SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)


def image_ids(prompt, tokenizer):
    """Chunks between images are tokenised apart; only the first keeps the first token."""
    ids = [tokenizer.bos_token_id]
    for index, chunk in enumerate(prompt.split("<image>")):
        if index:
            ids.append(IMAGE)
        ids += tokenizer(chunk).input_ids[1:]
    return ids


def multimodal(value):
    if "<image>" not in value:
        return value
    return ("<image>\n" + value.replace("<image>", "").strip()).strip()


def prompt_v1(conversation):
    text = SYSTEM + " "
    for index, value in enumerate(conversation):
        role = ["USER", "ASSISTANT"][index % 2]
        text += f"{role}: {value}{[' ', '</s>'][index % 2]}" if value else f"{role}:"
    return text


def v1(conversation, tokenizer, max_length):
    """`preprocess_v1`: labels are -100 but for replies and the `</s>` after them."""
    has_image = any("<image>" in value for value in conversation)
    prompt = prompt_v1([multimodal(value) for value in conversation])

    def ids_of(text):
        return image_ids(text, tokenizer) if has_image else tokenizer(text).input_ids

    ids = ids_of(prompt)
    if not has_image:
        ids = ids[:max_length]
    labels = list(ids)
    total = len(ids)
    labels[:1] = [IGNORE]
    at = 1
    for text in prompt.split("</s>"):
        if text == "":
            break
        parts = text.split(" ASSISTANT: ")
        if len(parts) != 2:
            break
        asked = len(ids_of(parts[0] + " ASSISTANT: ")) - 2
        for place in range(at, min(at + asked, len(labels))):
            labels[place] = IGNORE
        at += len(ids_of(text))
    for place in range(at, len(labels)):
        labels[place] = IGNORE
    if at < max_length and at != total:
        labels = [IGNORE] * len(labels)
    return ids[:max_length], labels[:max_length]


def plain(conversation, tokenizer, _):
    """`preprocess_plain`: an image, its caption and a line break."""
    ids = image_ids("<image>" + conversation[1] + "\n", tokenizer)
    asked = len(image_ids("<image>", tokenizer))
    return ids, [IGNORE] * asked + ids[asked:]


MASKS = [
    ["What is 12 + 30?", "42"],
    ["<image>\nWhat is 12 + 30?", "The answer is 42"],
    ["How many bars are there?\n<image>", "There are 7 bars."],
    ["<image>\n Is it larger? \n", "Yes"],
    ["<image>", "A red square."],
    [
        "<image>\nHint: Please answer with the option letter.\nQuestion: Which?\n(A) 7\n(B) 0.5",
        "The answer is B",
        "Why so?",
        "Because 0.5 < 7.\nIndeed.",
        "  Are you sure?  ",
        " Quite.",
    ],
    ["Name a prime.", "7", "Another?", "11", "And one more?", "13"],
    ["<image>\nFirst", "one", "<image>\nSecond", "two"],
    ["Größe in Grad? 角度", "45° 🦙", "π?", "≈ 3.14"],
    ["What does USER: say?", "It says ASSISTANT: hello"],
    ["A question with no reply yet"],
    ["<image>\nOne", "two", "and three"],
    ["Nothing to say?", "", "Now?", "Yes."],
    ["Spaces   inside\t and\n\nlines", "\nA line first"],
    ["x", "  two spaces"],
]


def masks(folder):
    tokenizer = LlamaTokenizer(str(folder / "tokenizer.model"), legacy=True)
    cases = []
    for conversation in MASKS:
        for limit in (2048, 64, 45):
            ids, labels = v1(conversation, tokenizer, limit)
            if limit != 2048 and len(cases[-1]["ids"]) == len(ids):
                continue
            cases.append(
                {"form": "v1", "limit": limit, "turns": conversation, "ids": ids, "labels": labels}
            )
        if len(conversation) == 2 and "<image>" in conversation[0]:
            ids, labels = plain(conversation, tokenizer, None)
            cases.append(
                {"form": "plain", "limit": 2048, "turns": conversation, "ids": ids, "labels": labels}
            )
    for case in cases:
        # Where a label is, it is the token itself.
        labels = case.pop("labels")
        assert all(l in (IGNORE, i) for l, i in zip(labels, case["ids"]))
        case["labelled"] = [place for place, l in enumerate(labels) if l != IGNORE]
    return cases


def write(name, value):
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in value)
    (HERE / name).write_text("[\n" + lines + "\n]\n")


def main():
    write("templates.json", templates())
    write("masks.json", masks(pathlib.Path(sys.argv[1])))


main()
