"""Clients of a server that speaks OpenAI's protocol: how many tokens a second they get, and when.

Python's own library only; one thread, so that the clients take little from what they measure. Replies are
streamed, and a chunk with text counts as a token's arrival (servers may put several tokens into one).

    python bench/serve/load.py prompts 128 > prompts.json
    python bench/serve/load.py throughput http://127.0.0.1:8000 --model M --prompts prompts.json --clients 64
    python bench/serve/load.py behind http://127.0.0.1:8000 --model M --runs 9

`throughput`: each client sends its next prompt when it has its last reply. `behind`: a short question is
sent 30 ms after one of some 1,500 tokens, and its first token is compared with that of the same question
sent by itself; the same with 32 replies being written, whose longest gap between tokens is shown.
"""

import argparse
import asyncio
import json
import statistics
import time
import urllib.parse

WORDS = (
    "triangle square circle angle side height area ratio sum product number apple train hour metre "
    "price ticket square root prime factor even odd line point graph value table row column"
).split()


def prompt(number, words):
    """A question of so many words that no other number's begins like."""
    said, state = [], number * 2654435761 % 2**32
    for _ in range(words):
        state = (1664525 * state + 1013904223) % 2**32
        said.append(WORDS[(state >> 16) % len(WORDS)])
    return f"{number}. Write a long story about: {' '.join(said)}."


async def chat(address, model, text, tokens, options=None):
    """One streamed reply: seconds from sending to each chunk with text, and the usage at its end."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **(options or {}),
    }
    data = json.dumps(body).encode()
    host, port = address.hostname, address.port
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    begun = time.perf_counter()
    writer.write(head.encode() + data)
    await writer.drain()
    status = (await reader.readline()).split()
    if len(status) < 2 or status[1] != b"200":
        said = (await reader.read()).decode(errors="replace")
        raise RuntimeError(f"{status}: {said[-300:]}")
    times, usage, text = [], None, []
    # Chunk headers and blank lines are passed over: events are lines of their own.
    async for line in reader:
        if not line.startswith(b"data: "):
            continue
        if line.startswith(b"data: [DONE]"):
            break
        event = json.loads(line[6:])
        if "error" in event:
            raise RuntimeError(event)
        usage = event.get("usage") or usage
        piece = "".join((c.get("delta") or {}).get("content") or "" for c in event.get("choices", []))
        if piece:
            times.append(time.perf_counter() - begun)
            text.append(piece)
    writer.close()
    # A reply without text has its end for a first token.
    times = times or [time.perf_counter() - begun]
    return {"times": times, "usage": usage, "text": "".join(text), "whole": time.perf_counter() - begun}


def share(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))] if values else float("nan")


def ms(seconds):
    return f"{seconds * 1000:.0f} ms"


async def throughput(address, arguments):
    with open(arguments.prompts) as file:
        waiting = json.load(file)
    total = len(waiting)
    waiting = iter(waiting)
    replies = []

    async def client():
        for text in waiting:
            replies.append(await chat(address, arguments.model, text, arguments.tokens, arguments.options))

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(arguments.clients)))
    seconds = time.perf_counter() - begun
    assert len(replies) == total
    written = sum(reply["usage"]["completion_tokens"] for reply in replies)
    read = sum(reply["usage"]["prompt_tokens"] for reply in replies)
    gaps = [b - a for reply in replies for a, b in zip(reply["times"], reply["times"][1:])]
    first = [reply["times"][0] for reply in replies]
    print(
        f"{total} requests, {arguments.clients} clients: {seconds:.1f} s, {written} tokens written, "
        f"{read} read: {written / seconds:.1f} tokens/s; first token p50 {ms(share(first, 0.5))}, "
        f"p95 {ms(share(first, 0.95))}; between tokens p50 {ms(share(gaps, 0.5))}, "
        f"p95 {ms(share(gaps, 0.95))}, most {ms(max(gaps, default=0))}",
        flush=True,
    )


async def behind(address, arguments):
    def ask(text, tokens):
        return chat(address, arguments.model, text, tokens)

    number = iter(range(int(time.time()) % 100_000 * 1000, 2**40))
    for busy in (0, 32):
        alone, after, whole, gaps = [], [], [], []
        for _ in range(arguments.runs):
            others = [
                asyncio.create_task(ask(prompt(next(number), 20), arguments.live_tokens))
                for _ in range(busy)
            ]
            if busy:
                await asyncio.sleep(arguments.settle)
            alone.append((await ask(prompt(next(number), 8), 2))["times"][0])
            long = asyncio.create_task(ask(prompt(next(number), arguments.words), 2))
            await asyncio.sleep(0.03)
            short = await ask(prompt(next(number), 8), 2)
            after.append(short["times"][0])
            reply = await long
            whole.append(reply["times"][0])
            read = reply["usage"]["prompt_tokens"]
            for other in others:
                reply = await other
                gaps.append(max((b - a for a, b in zip(reply["times"], reply["times"][1:])), default=0))
        middle = statistics.median
        print(
            f"{busy} replies being written, long prompt of {read} tokens: first token of a short question "
            f"{ms(middle(alone))} by itself, {ms(middle(after))} behind the long one (most "
            f"{ms(max(after))}); of the long one {ms(middle(whole))}"
            + (f"; longest gap in the others' replies {ms(max(gaps))}" if gaps else ""),
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["prompts", "throughput", "behind"])
    parser.add_argument("where", help="the server's address, or how many prompts")
    parser.add_argument("--model", default="")
    parser.add_argument("--prompts")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--words", type=int, default=1400, help="of the long prompt, or of each prompt")
    parser.add_argument("--live-tokens", type=int, default=200)
    parser.add_argument("--settle", type=float, default=3.0, help="seconds until the others write")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--options", type=json.loads, default={}, help="more fields of requests, as JSON")
    arguments = parser.parse_args()
    if arguments.what == "prompts":
        words = min(arguments.words, 60)
        print(json.dumps([prompt(n, words) for n in range(int(arguments.where))]))
        return
    address = urllib.parse.urlparse(arguments.where)
    run = throughput if arguments.what == "throughput" else behind
    asyncio.run(run(address, arguments))


if __name__ == "__main__":
    main()
