"""Requests a second of the official `openai` client with asyncio, on the load of
`crates/chat/examples/throughput.rs`: the same images, each read and encoded for the request that shows
it, the same prompts, as many on their way at once. Nothing is recorded.

    python openai_asyncio.py URL REQUESTS CONCURRENCY IMAGES
"""

import asyncio
import base64
import pathlib
import resource
import sys
import time

import openai

TEXT = (
    "Write up to five new questions about the image, different from the given one and "
    "from each other, that can be answered by looking at it. Examples of questions "
    "about other images follow. What is the area of the shaded region? "
) * 2


async def main(url: str, requests: int, concurrency: int, images: pathlib.Path) -> None:
    client = openai.AsyncOpenAI(
        base_url=url,
        api_key="none",
        max_retries=0,
    )
    slots = asyncio.Semaphore(concurrency)

    async def ask(n: int) -> int:
        async with slots:
            image, question = divmod(n, 4)
            data = (images / f"{image}.jpg").read_bytes()
            encoded = base64.b64encode(data).decode()
            completion = await client.chat.completions.create(
                model="test",
                max_tokens=512,
                temperature=0,
                seed=0,
                messages=[
                    {
                        "role": "system",
                        "content": "You write questions for a mathematics examination.",
                    },
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "image_url",
                                "image_url": {"url": f"data:image/jpeg;base64,{encoded}"},
                            },
                            {
                                "type": "text",
                                "text": f"{TEXT} Question {question} of image {image}.",
                            },
                        ],
                    },
                ],
                extra_headers={"Idempotency-Key": f"python-{n}"},
            )
            return len(completion.choices[0].message.content)

    began = time.perf_counter()
    lengths = await asyncio.gather(*(ask(n) for n in range(requests)))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    print(
        f"{sum(length > 0 for length in lengths)} answered in {seconds:.2f} s: "
        f"{requests / seconds:.0f} requests/s; peak memory {peak} MB; "
        f"openai {openai.__version__}, Python {sys.version.split()[0]}"
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])))
