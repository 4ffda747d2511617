//! More than a request may hold: bytes, pixels, tokens.

use std::io::Write;

use base64::Engine as _;
use serde_json::{Value, json};

use super::process::{MODEL, Server, picture};
use super::wire::Answer;

/// What a refused body may cost for the moment, in MiB, beside the 8 MiB that one may have here.
const MOMENT: u64 = 160;
/// What each of the images here may cost for the moment, in MiB: none of them shows much.
const DECODED: u64 = 256;

#[test]
fn a_body_of_a_gigabyte_is_refused_by_its_length_or_when_it_passes_the_limit() {
    let server = Server::start(&["--max-body", "8"]);
    let before = server.peak();
    server.undisturbed(|| {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        for expect in ["", "expect: 100-continue\r\n"] {
            let mut wire = server.wire();
            let announced = format!("{head}{expect}content-length: {}\r\n\r\n", 1 << 30);
            wire.send(announced.as_bytes()).unwrap();
            let answer = wire.answer().unwrap();
            assert_eq!(answer.status, 413, "{}", answer.text());
            assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
        }
        let mut wire = server.wire();
        wire.send(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).unwrap();
        let mut writer = wire.writer().unwrap();
        let sending = std::thread::spawn(move || {
            let mut piece = b"10000\r\n".to_vec();
            piece.resize(piece.len() + 0x10000, b'[');
            piece.extend(b"\r\n");
            for _ in 0..(1 << 30) / 0x10000 {
                if writer.write_all(&piece).is_err() {
                    break;
                }
            }
        });
        let answer = wire.answer().unwrap();
        assert_eq!(answer.status, 413, "{}", answer.text());
        drop(wire);
        // The rest is thrown away for a while, so that the client comes to see the answer.
        sending.join().unwrap();
    });
    let after = server.peak();
    assert!(after <= before + MOMENT, "{before} MiB became {after} MiB");
}

/// A zlib stream that inflates to `length` zeros: one literal, then copies of 258 bytes of distance 1, in the
/// fixed code of RFC 1951, 13 bits each.
fn zeros(length: usize) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let (mut bits, mut count) = (0_u64, 0);
    let mut push = |out: &mut Vec<u8>, value: u64, width: u32| {
        bits |= value << count;
        count += width;
        while count >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            count -= 8;
        }
    };
    // The last block, of fixed codes.
    push(&mut out, 0b011, 3);
    // Literal 0: code 00110000, the highest bit first.
    push(&mut out, 0b0000_1100, 8);
    for _ in 0..length / 258 {
        // Length 258: code 285 is 11000101, the highest bit first; distance 1: code 0, five bits.
        push(&mut out, 0b1010_0011, 8);
        push(&mut out, 0, 5);
    }
    // The end, and padding.
    push(&mut out, 0, 7);
    push(&mut out, 0, 7);
    // Adler-32 of zeros: the sum stays 1, its sum is their number.
    let zeros = (length / 258 * 258 + 1) as u64;
    out.extend(u32::to_be_bytes((((zeros % 65521) as u32) << 16) | 1));
    out
}

fn png_chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let mut sum = !0_u32;
    for byte in kind.iter().chain(data) {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
    }
    out.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    out.extend(kind);
    out.extend(data);
    out.extend((!sum).to_be_bytes());
}

fn png(width: u32, height: u32, before: &[(&[u8; 4], Vec<u8>)], pixels: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 0, 0, 0, 0]);
    png_chunk(&mut out, b"IHDR", &header);
    for (kind, data) in before {
        png_chunk(&mut out, kind, data);
    }
    png_chunk(&mut out, b"IDAT", pixels);
    png_chunk(&mut out, b"IEND", b"");
    out
}

/// A GIF of so many frames of one pixel, on a screen of this size.
fn gif(side: u16, frames: usize) -> Vec<u8> {
    let mut out = b"GIF89a".to_vec();
    out.extend([side.to_le_bytes(), side.to_le_bytes()].concat());
    out.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    for _ in 0..frames {
        out.extend(b"\x21\xf9\x04\x00\x00\x00\x00\x00");
        out.extend(b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00");
    }
    out.push(0x3b);
    out
}

fn shown(server: &Server, media: &str, image: &[u8]) -> Answer {
    let encoded = base64::engine::general_purpose::STANDARD.encode(image);
    let url = format!("data:image/{media};base64,{encoded}");
    let content =
        json!([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}]);
    server.post(
        "/v1/chat/completions",
        &json!({"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": content}]}),
    )
}

#[test]
fn images_that_would_unfold_are_refused_before_they_do() {
    let server = Server::start(&[]);
    let large = zeros(400_000_000);
    let jpeg = b"\xff\xd8\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\x00\xff\xd9";
    let mut bmp = b"BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00".to_vec();
    bmp.extend([60_000_u32.to_le_bytes(), 60_000_u32.to_le_bytes()].concat());
    bmp.extend(b"\x01\x00\x18\x00\x00\x00\x00\x00");
    bmp.resize(200, 0);
    let webp = b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\xff\xff\xff\x0f\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let text = [b"Comment\0\0".to_vec(), large.clone()].concat();
    let profile = [b"profile\0\0".to_vec(), large.clone()].concat();
    let small = zeros(11 * 10);
    let cases: Vec<(&str, &str, Vec<u8>, &[u16])> = vec![
        (
            "pixels beyond all",
            "png",
            png(60_000, 60_000, &[], &large),
            &[400],
        ),
        (
            "pixels beyond the limit",
            "png",
            png(16_384, 16_384, &[], &large),
            &[400],
        ),
        ("no pixels", "png", png(0, 10, &[], &small), &[400]),
        (
            "more inflates than is wanted",
            "png",
            png(10, 10, &[], &large),
            &[200, 400],
        ),
        (
            "a comment that inflates",
            "png",
            png(10, 10, &[(b"zTXt", text)], &small),
            &[200, 400],
        ),
        (
            "a profile that inflates",
            "png",
            png(10, 10, &[(b"iCCP", profile)], &small),
            &[200, 400],
        ),
        ("a large screen", "gif", gif(u16::MAX, 1), &[400]),
        ("frames without end", "gif", gif(10, 200_000), &[200, 400]),
        ("a large jpeg", "jpeg", jpeg.to_vec(), &[400]),
        ("a large bitmap", "bmp", bmp, &[400]),
        ("a large webp", "webp", webp.to_vec(), &[400]),
        (
            "no image",
            "svg+xml",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
            &[400],
        ),
    ];
    assert_eq!(shown(&server, "png", &picture()).status, 200);
    let before = server.peak();
    server.undisturbed(|| {
        for (what, media, image, expected) in &cases {
            let answer = shown(&server, media, image);
            assert!(
                expected.contains(&answer.status),
                "{what}: {} {}",
                answer.status,
                answer.text()
            );
            let after = server.peak();
            assert!(
                after <= before + DECODED,
                "{what}: {before} MiB became {after} MiB"
            );
        }
    });
}

#[test]
fn a_prompt_over_the_context_is_told_so_in_openais_words() {
    let server = Server::start(&[]);
    let chat = |text: String| {
        let body = json!({"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": text}]});
        server.post("/v1/chat/completions", &body)
    };
    let plain = |text: String| {
        server.post(
            "/v1/completions",
            &json!({"model": MODEL, "max_tokens": 4, "prompt": text}),
        )
    };
    server.undisturbed(|| {
        for words in [600, 20_000, 400_000] {
            let text = "word ".repeat(words);
            for answer in [chat(text.clone()), plain(text)] {
                let error = &answer.json()["error"];
                assert_eq!(answer.status, 400, "{words} words: {}", answer.text());
                assert_eq!(
                    error["code"],
                    Value::from("context_length_exceeded"),
                    "{error}"
                );
                assert!(
                    error["message"].as_str().unwrap().contains("512"),
                    "{error}"
                );
            }
        }
    });
    assert_eq!(chat("word".into()).status, 200);
}
