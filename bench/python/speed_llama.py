"""llama.cpp, by llama-cpp-python, as a peer of `model_speed`: one measurement for each line read.

    speed_llama.py MODEL.gguf THREADS [MMPROJ.gguf]

Prints `ready`; then for each line TASK on standard input the seconds that it took. Tasks: prefill (640
tokens), decode (16 tokens after these), and with MMPROJ encode (one image through the tower) and
questions (32 questions about 4 images, 16 new tokens each, one after the other).
"""

import ctypes
import sys
import time

import llama_cpp as llama
import numpy

TOKENS = 640
# Kept for as long as the library may call it.
SILENT = llama.llama_log_callback(lambda *_: None)
llama.llama_log_set(SILENT, ctypes.c_void_p(0))


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    mmproj = sys.argv[3] if len(sys.argv) > 3 else None
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = 1024, 1024, 640
    params.n_threads = params.n_threads_batch = threads
    context = llama.llama_init_from_model(model, params)
    memory = llama.llama_get_memory(context)
    prompt = (llama.llama_token * TOKENS)(*[3 + (i * 37) % 31000 for i in range(TOKENS)])

    def run(tokens, count):
        assert llama.llama_decode(context, llama.llama_batch_get_one(tokens, count)) == 0
        llama.llama_synchronize(context)

    def prefill():
        llama.llama_memory_clear(memory, True)
        run(prompt, TOKENS)

    def decode():
        token = (llama.llama_token * 1)(5)
        for _ in range(16):
            run(token, 1)

    tasks = {"prefill": prefill, "decode": decode}
    if mmproj:
        import llama_cpp.mtmd_cpp as mtmd

        how = mtmd.mtmd_context_params_default()
        how.use_gpu, how.n_threads, how.print_timings = False, threads, False
        eye = mtmd.mtmd_init_from_file(mmproj.encode(), model, how)
        assert eye, "the mmproj file was not read"
        random = numpy.random.default_rng(0)

        def chunks_of(image, text):
            bitmap = mtmd.mtmd_bitmap_init(336, 336, (ctypes.c_uint8 * image.size)(*image.ravel()))
            chunks = mtmd.mtmd_input_chunks_init()
            marker = mtmd.mtmd_get_marker(eye)
            prompt = mtmd.mtmd_input_text()
            prompt.text = b"w1 w2 " + marker + b" " + text
            prompt.text_len = len(prompt.text)
            prompt.add_special = True
            prompt.parse_special = True
            status = mtmd.mtmd_tokenize(
                eye, chunks, ctypes.byref(prompt), (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap), 1
            )
            assert status == 0, status
            return bitmap, chunks

        images = [random.integers(0, 255, (336, 336, 3), dtype=numpy.uint8) for _ in range(4)]
        one = chunks_of(images[0], b"w5")

        def encode():
            for index in range(mtmd.mtmd_input_chunks_size(one[1])):
                chunk = mtmd.mtmd_input_chunks_get(one[1], index)
                if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE:
                    assert mtmd.mtmd_encode_chunk(eye, chunk) == 0

        asked = [
            chunks_of(image, b" ".join(b"w%d" % (7 + 11 * q + i) for i in range(38)))
            for image in images
            for q in range(8)
        ]

        def questions():
            past = llama.llama_pos()
            for _, chunks in asked:
                llama.llama_memory_clear(memory, True)
                status = mtmd.mtmd_helper_eval_chunks(eye, context, chunks, 0, 0, 640, True, ctypes.byref(past))
                assert status == 0, status
                decode()

        tasks |= {"encode": encode, "questions": questions}
    print("ready", flush=True)
    for line in sys.stdin:
        task = line.strip()
        if task == "decode":
            prefill()
        started = time.perf_counter()
        tasks[task]()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
