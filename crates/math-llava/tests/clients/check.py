"""Speaks to a server with OpenAI's own Python client and checks what it makes of the answers.

    python check.py BASE_URL MODEL KEY

The server must know KEY, read images and have a queue of at most 8 requests, so that it can be made to refuse.
Whatever the model says is right, as long as it is said in the right form; so any model will do.
"""

import base64
import concurrent.futures
import io
import json
import struct
import sys
import zlib
from typing import Literal

import openai
from pydantic import BaseModel

base_url, model, key = sys.argv[1:4]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=120)
failures = []


def check(what, holds, detail=""):
    if not holds:
        failures.append(what)
        print(f"FAILED: {what} {detail!r}")


def refused(what, kind, call, code=None, param=None):
    """The call must end with this class of error."""
    try:
        call()
    except kind as error:
        check(f"{what}: status in the body", error.message != "", error)
        if code is not None:
            check(f"{what}: code", error.code == code, error.code)
        if param is not None:
            check(f"{what}: param", error.param == param, error.param)
    except Exception as error:
        check(what, False, error)
    else:
        check(what, False, "no error")


def png(width, height, shade):
    """A grey PNG."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    out.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)))
    rows = b"".join(b"\0" + bytes([shade]) * width for _ in range(height))
    out.write(chunk(b"IDAT", zlib.compress(rows)))
    out.write(chunk(b"IEND", b""))
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def ask(text="What is 2+3?", images=(), **options):
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    content = [*parts, {"type": "text", "text": text}] if parts else text
    options = {"model": model, "temperature": 0, "max_tokens": 16, **options}
    return client.chat.completions.create(messages=[{"role": "user", "content": content}], **options)


def models():
    ids = [served.id for served in client.models.list()]
    check("models are listed", model in ids, ids)
    check("a model is found", client.models.retrieve(model).id == model)
    refused("no such model is listed", openai.NotFoundError, lambda: client.models.retrieve("none"))


def plain():
    reply = ask()
    choice = reply.choices[0]
    check("one choice", len(reply.choices) == 1 and choice.index == 0)
    check("an assistant speaks", choice.message.role == "assistant")
    check("content is text", isinstance(choice.message.content, str))
    check("an end", choice.finish_reason in ("stop", "length"), choice.finish_reason)
    usage = reply.usage
    check("usage adds up", usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage)
    check("no more than asked for", 0 < usage.completion_tokens <= 16, usage)
    check("an object of its kind", (reply.object, reply.model) == ("chat.completion", model), reply)
    check("greedy replies repeat", ask().choices[0].message.content == choice.message.content)
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "2+3"}]},
        {"role": "assistant", "content": "5"},
        {"role": "user", "content": "and 1?"},
    ]
    longer = client.chat.completions.create(model=model, messages=turns, max_completion_tokens=4)
    check("several turns", longer.usage.completion_tokens <= 4, longer.usage)


def streams():
    whole = ask()
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    check("one id", len({chunk.id for chunk in chunks}) == 1)
    check("chunks", {chunk.object for chunk in chunks} == {"chat.completion.chunk"})
    check("a role first", chunks[0].choices[0].delta.role == "assistant", chunks[0])
    check("usage last, without choices", chunks[-1].choices == [] and chunks[-1].usage == whole.usage, chunks[-1])
    check("and not before", all(chunk.usage is None for chunk in chunks[:-1]))
    said = [chunk.choices[0] for chunk in chunks[:-1]]
    text = "".join(choice.delta.content or "" for choice in said)
    check("a stream says the same", text == whole.choices[0].message.content, text)
    ends = [choice.finish_reason for choice in said if choice.finish_reason]
    check("one end", ends == [whole.choices[0].finish_reason], ends)
    check("no usage unasked", all(chunk.usage is None for chunk in ask(stream=True)))
    with ask(stream=True, max_tokens=200) as stream:
        next(iter(stream))
    check("a stream given up disturbs nobody", ask().choices[0].message.content == whole.choices[0].message.content)


def draws():
    def drawn(**options):
        return [choice.message.content for choice in ask(temperature=1.5, **options).choices]

    several = ask(temperature=1.5, seed=5, n=3)
    texts = [choice.message.content for choice in sorted(several.choices, key=lambda choice: choice.index)]
    check("n replies", [choice.index for choice in several.choices] == [0, 1, 2], several.choices)
    check("a seed repeats them", drawn(seed=5, n=3) == texts)
    check("the second is drawn with the next seed", drawn(seed=6) == texts[1:2], texts)
    check("other seeds draw others", len({*drawn(seed=11), *drawn(seed=12), *drawn(seed=13)}) > 1)
    by_choice = {0: "", 1: "", 2: ""}
    for chunk in ask(temperature=1.5, seed=5, n=3, stream=True):
        for choice in chunk.choices:
            by_choice[choice.index] += choice.delta.content or ""
    check("n replies stream side by side", list(by_choice.values()) == texts, by_choice)


def stops():
    text = ask(max_tokens=64).choices[0].message.content
    marks = [letter for letter in text[1:] if letter.isascii() and letter.isprintable()]
    check("the reply has a letter to stop at", marks != [], text)
    for stop in (marks[-1:], [marks[0], "never said"]) if marks else ():
        choice = ask(max_tokens=64, stop=stop if len(stop) > 1 else stop[0]).choices[0]
        check("a stop string ends a reply", choice.message.content == text.split(stop[0])[0], choice)
        check("as a stop", choice.finish_reason == "stop", choice)
        pieces = [chunk.choices[0].delta.content or "" for chunk in ask(max_tokens=64, stop=stop, stream=True)]
        check("in a stream too", "".join(pieces) == choice.message.content, pieces)


def logprobs():
    choice = ask(logprobs=True, top_logprobs=3).choices[0]
    tokens = choice.logprobs.content
    check("a log-probability a token", 0 < len(tokens) <= 16, tokens)
    for token in tokens:
        top = token.top_logprobs
        check("as many likely ones as asked for", len(top) == 3, top)
        check("the likeliest first", [one.logprob for one in top] == sorted((one.logprob for one in top), reverse=True))
        check("greedy takes the likeliest", token.logprob == top[0].logprob <= 0, token)
        check("bytes", all(0 <= byte < 256 for byte in token.bytes), token)
    said = b"".join(bytes(token.bytes) for token in tokens)
    check("the tokens make the text", said.decode(errors="replace").startswith(choice.message.content), said)
    streamed = []
    for chunk in ask(logprobs=True, top_logprobs=0, stream=True):
        lists = chunk.choices[0].logprobs
        streamed += lists.content if lists and lists.content else []
    check("streamed alike", [t.bytes for t in streamed] == [t.bytes for t in tokens], streamed)
    check("none unasked", ask().choices[0].logprobs is None)


class Verdict(BaseModel):
    choice: Literal["A", "B", "C"]
    certain: bool
    stars: Literal[1, 2, 3]


def forms():
    messages = [{"role": "user", "content": "Which?"}]
    for temperature in (0, 1.5):
        parsed = client.chat.completions.parse(
            model=model, messages=messages, response_format=Verdict, max_tokens=200, temperature=temperature, seed=1
        )
        verdict = parsed.choices[0].message.parsed
        check("a reply of the schema", isinstance(verdict, Verdict), parsed)
    with client.chat.completions.stream(
        model=model, messages=messages, response_format=Verdict, max_tokens=200, temperature=0
    ) as stream:
        final = stream.get_final_completion()
    check("streamed too", isinstance(final.choices[0].message.parsed, Verdict), final)
    choice = ask(response_format={"type": "json_object"}, max_tokens=100).choices[0]
    if choice.finish_reason == "stop":
        check("an object", isinstance(json.loads(choice.message.content), dict), choice)
    else:
        check("an object begun", choice.message.content.lstrip().startswith("{"), choice)
    check("any text", ask(response_format={"type": "text"}).choices[0].message.content == ask().choices[0].message.content)
    wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    refused("a schema that is none", openai.BadRequestError, lambda: ask(response_format=wrong))


def images():
    bare = ask().usage.prompt_tokens
    one = ask(images=[png(40, 30, 90)])
    two = ask(images=[png(40, 30, 90), png(30, 40, 200)])
    taken = one.usage.prompt_tokens - bare
    check("an image takes tokens", taken > 0, (bare, one.usage))
    check("two take twice as many", two.usage.prompt_tokens - bare >= 2 * taken - 2, (bare, two.usage))
    again = ask(images=[png(40, 30, 90)])
    check("the same image, the same reply", again.choices[0].message.content == one.choices[0].message.content)
    cached = again.usage.prompt_tokens_details.cached_tokens
    check("and less work", cached is not None and cached >= taken, again.usage)
    broken = {
        "no image": "data:image/png;base64,bm9wZQ==",
        "no base64": "data:image/png;base64,!!",
        "not an image type": "data:text/html;base64,bm9wZQ==",
        "a remote image": "https://example.com/a.png",
        "a file": "file:///etc/passwd",
        "no address": "x",
    }
    for what, url in broken.items():
        refused(what, openai.BadRequestError, lambda url=url: ask(images=[url]))


def errors():
    refused("too hot", openai.BadRequestError, lambda: ask(temperature=9), param="temperature")
    refused("nothing said", openai.BadRequestError, lambda: client.chat.completions.create(model=model, messages=[]), param="messages")
    refused("n of nothing", openai.BadRequestError, lambda: ask(n=0), param="n")
    refused("a word for a number", openai.BadRequestError, lambda: ask(max_tokens="many"), param="max_tokens")
    refused("longer than the context", openai.BadRequestError, lambda: ask("word " * 100_000), code="context_length_exceeded")
    refused("no such model", openai.NotFoundError, lambda: ask(model="none"), code="model_not_found")
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    refused("tools", openai.BadRequestError, lambda: ask(tools=tools), param="tools")
    refused("no such route", openai.NotFoundError, lambda: client.embeddings.create(model=model, input="x"))
    stranger = openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0)
    refused("a wrong key", openai.AuthenticationError, lambda: stranger.models.list())

    def crowded(number):
        try:
            ask(f"question {number}", max_tokens=200, temperature=1)
        except openai.RateLimitError as refusal:
            check("when to come again", refusal.response.headers.get("retry-after", "").isdigit(), refusal)
            return "told to wait"
        except openai.OpenAIError as error:
            return repr(error)
        return "answered"

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        outcomes = set(pool.map(crowded, range(64)))
    check("of a crowd some are answered and some told to wait", outcomes == {"answered", "told to wait"}, outcomes)


def completions():
    reply = client.completions.create(model=model, prompt="2+3=", max_tokens=8, temperature=0)
    text = reply.choices[0].text
    check("a text goes on", isinstance(text, str) and reply.object == "text_completion", reply)
    check("usage adds up", reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens)
    stream = client.completions.create(model=model, prompt="2+3=", max_tokens=8, temperature=0, stream=True)
    streamed = "".join(choice.text for chunk in stream for choice in chunk.choices)
    check("streamed alike", streamed == text, streamed)
    both = client.completions.create(model=model, prompt=["2+3=", "1+1="], max_tokens=8, temperature=0)
    check("a prompt each", [choice.index for choice in both.choices] == [0, 1], both)
    check("the first as alone", both.choices[0].text == text, both)
    likely = client.completions.create(model=model, prompt="2+3=", max_tokens=4, temperature=0, logprobs=2).choices[0]
    check("log-probabilities", len(likely.logprobs.tokens) == len(likely.logprobs.token_logprobs) > 0, likely)


for part in (models, plain, streams, draws, stops, logprobs, forms, images, errors, completions):
    try:
        part()
    except Exception as error:
        check(part.__name__, False, error)
print(f"openai {openai.__version__} for Python: {len(failures)} failures")
sys.exit(bool(failures))
