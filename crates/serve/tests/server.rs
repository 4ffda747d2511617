//! The socket's limits, tried byte by byte.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serve::{Server, ServerLimits, upload_timed_out};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Far more than anything here takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);

fn limits() -> ServerLimits {
    ServerLimits {
        head_time: Duration::from_secs(20),
        stall_time: Duration::from_secs(20),
        body_time: Duration::from_secs(20),
        write_time: Duration::from_secs(20),
        grace: Duration::from_secs(20),
        ..ServerLimits::default()
    }
}

/// Counts how many there are.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(held: &Arc<AtomicUsize>) -> Held {
        held.fetch_add(1, SeqCst);
        Held(Arc::clone(held))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

struct Running {
    address: SocketAddr,
    /// Streams being written.
    streams: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    /// `/hello`; `/peer`; `/upload`, which reads its body; `/refuse`, which does not; `/ticks`, ten pieces,
    /// one each 20 ms; `/endless`, as much as is taken; `/never`, which does not answer.
    async fn start(limits: ServerLimits) -> Running {
        let streams = Arc::<AtomicUsize>::default();
        let counted = |make: fn() -> Body| {
            let streams = Arc::clone(&streams);
            get(move || async move {
                let held = Held::new(&streams);
                let body = futures::stream::unfold(
                    (make().into_data_stream(), held),
                    |(mut body, held)| async {
                        let next = futures::StreamExt::next(&mut body).await?;
                        Some((next, (body, held)))
                    },
                );
                Body::from_stream(body)
            })
        };
        let never = Arc::clone(&streams);
        let router = Router::new()
            .route("/hello", get(|| async { "hello" }))
            .route(
                "/peer",
                get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
            )
            .route("/upload", post(upload))
            .route(
                "/refuse",
                post(|| async { (StatusCode::PAYLOAD_TOO_LARGE, "too large") }),
            )
            .route(
                "/ticks",
                counted(|| pieces(10, Duration::from_millis(20), "tick ")),
            )
            .route(
                "/endless",
                counted(|| pieces(usize::MAX, Duration::ZERO, PIECE)),
            )
            .route(
                "/never",
                get(move || async move {
                    let _held = Held::new(&never);
                    std::future::pending::<()>().await;
                }),
            );
        let server = Server::bind(([127, 0, 0, 1], 0).into(), limits)
            .await
            .unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(router, async {
            let _ = stopped.await;
        }));
        Running {
            address,
            streams,
            stop: Some(stop),
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn send(&self, bytes: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    async fn until_streams(&self, count: usize) {
        let start = Instant::now();
        while self.streams.load(SeqCst) != count {
            assert!(
                start.elapsed() < LONG,
                "{} streams and not {count}",
                self.streams.load(SeqCst)
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

const PIECE: &str = match std::str::from_utf8(&[b'x'; 16 << 10]) {
    Ok(piece) => piece,
    Err(_) => "",
};

fn pieces(count: usize, pause: Duration, piece: &'static str) -> Body {
    Body::from_stream(futures::stream::unfold(0, move |number| async move {
        if number > 0 && !pause.is_zero() {
            sleep(pause).await;
        }
        (number < count).then_some((Ok::<_, Infallible>(Bytes::from(piece)), number + 1))
    }))
}

async fn upload(request: Request) -> (StatusCode, String) {
    match to_bytes(request.into_body(), usize::MAX).await {
        Ok(bytes) => (StatusCode::OK, format!("{} bytes", bytes.len())),
        Err(error) if upload_timed_out(&error) => (StatusCode::REQUEST_TIMEOUT, error.to_string()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// All that comes until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes))
        .await
        .expect("the server closes")
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads until this has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0; 1024];
    while !text.contains(end) {
        let count = timeout(LONG, stream.read(&mut bytes))
            .await
            .expect("more comes")
            .unwrap();
        assert!(count > 0, "closed after {text}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    text
}

const HELLO: &str = "GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test]
async fn one_connection_answers_one_request_after_the_other() {
    let running = Running::start(limits()).await;
    let mut stream = running.connect().await;
    for _ in 0..3 {
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        assert!(
            read_until(&mut stream, "hello")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }
    let own = stream.local_addr().unwrap().to_string();
    stream
        .write_all(b"GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, &own).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let running = Running::start(limits()).await;
    let ticks = "GET /ticks HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut stream = running.send(&[HELLO, ticks, HELLO, last].concat()).await;
    let text = rest(&mut stream).await;
    assert_eq!(text.matches("HTTP/1.1 200").count(), 4, "{text}");
    let order: Vec<usize> = ["hello", "tick ", "hello"]
        .iter()
        .scan(0, |from, word| {
            let at = *from + text[*from..].find(word)?;
            *from = at + word.len();
            Some(at)
        })
        .collect();
    assert_eq!(order.len(), 3);
    assert_eq!(text.matches("tick ").count(), 10);
}

#[tokio::test]
async fn a_slow_head_ends_the_connection_and_no_other() {
    let limits = ServerLimits {
        head_time: Duration::from_millis(200),
        ..limits()
    };
    let running = Running::start(limits).await;
    let mut slow = [
        running.connect().await,
        running.send("GET /hello HT").await,
        running.send(HELLO).await,
    ];
    // The last sent a whole request, and then nothing: the wait for its next one ends too.
    read_until(&mut slow[2], "hello").await;
    for stream in &mut slow {
        rest(stream).await;
    }
    let mut ticks = running
        .send("GET /ticks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(
        rest(&mut ticks).await.matches("tick ").count(),
        10,
        "an answer may take longer than a head"
    );
}

#[tokio::test]
async fn a_head_that_drips_ends_all_the_same() {
    let limits = ServerLimits {
        head_time: Duration::from_millis(200),
        ..limits()
    };
    let running = Running::start(limits).await;
    let mut stream = running.send("GET /hello HTTP/1.1\r\nhost: ").await;
    let ended = timeout(LONG, async {
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    ended.await.expect("the server closes");
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let running = Running::start(limits()).await;
    let long = format!(
        "GET /hello HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "y".repeat(40 << 10)
    );
    let many = format!(
        "GET /hello HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
        "x: y\r\n".repeat(200)
    );
    for head in [long, many] {
        let mut stream = running.connect().await;
        // The server may close before all is written.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut start = [0; 12];
        timeout(LONG, stream.read_exact(&mut start))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&start, b"HTTP/1.1 431");
    }
}

#[tokio::test]
async fn a_body_that_stalls_or_drips_is_answered_in_time() {
    for (limits, drips) in [
        (
            ServerLimits {
                stall_time: Duration::from_millis(200),
                ..limits()
            },
            false,
        ),
        (
            ServerLimits {
                body_time: Duration::from_millis(300),
                ..limits()
            },
            true,
        ),
    ] {
        let running = Running::start(limits).await;
        let head = "POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\nx";
        let (mut reader, mut writer) = running.send(head).await.into_split();
        let dripping = tokio::spawn(async move {
            while drips && writer.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
            // Kept open.
            sleep(LONG).await;
            drop(writer);
        });
        let mut start = [0; 12];
        timeout(LONG, reader.read_exact(&mut start))
            .await
            .expect("an answer")
            .unwrap();
        assert_eq!(&start, b"HTTP/1.1 408", "drips: {drips}");
        dripping.abort();
    }
}

#[tokio::test]
async fn a_body_is_read_whole_with_a_length_and_in_chunks() {
    let running = Running::start(limits()).await;
    let body = "x".repeat(300_000);
    let length = format!(
        "POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let chunks = format!(
        "POST /upload HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let mut stream = running.connect().await;
    for request in [length, chunks] {
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "300000 bytes").await;
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_reaches_a_client_that_sends_all_first() {
    let running = Running::start(limits()).await;
    let length = 64 << 20;
    let head =
        format!("POST /refuse HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    let mut stream = running.send(&head).await;
    let block = vec![b'x'; 1 << 20];
    for _ in 0..length >> 20 {
        timeout(LONG, stream.write_all(&block))
            .await
            .unwrap()
            .unwrap();
    }
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_answer_with_it() {
    let running = Running::start(limits()).await;
    for path in ["/never", "/ticks"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let stream = running.send(&head).await;
        running.until_streams(1).await;
        drop(stream);
        running.until_streams(0).await;
        let mut half = running.send(&head).await;
        running.until_streams(1).await;
        half.shutdown().await.unwrap();
        running.until_streams(0).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let limits = ServerLimits {
        write_time: Duration::from_millis(200),
        ..limits()
    };
    let running = Running::start(limits).await;
    let idle = running
        .send("GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    running.until_streams(1).await;
    running.until_streams(0).await;
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_connections_over_the_bound_are_told_so_or_closed_and_the_others_served() {
    let limits = ServerLimits {
        connections: 8,
        ..limits()
    };
    let running = Arc::new(Running::start(limits).await);
    let mut inside = Vec::new();
    for _ in 0..8 {
        let mut stream = running.send(HELLO).await;
        read_until(&mut stream, "hello").await;
        inside.push(stream);
    }
    let mut told = 0;
    for _ in 0..20 {
        let over = (0..100).map(|_| {
            let running = Arc::clone(&running);
            tokio::spawn(async move {
                let mut stream = running.connect().await;
                let _ = stream.write_all(HELLO.as_bytes()).await;
                let mut bytes = Vec::new();
                let ended = timeout(LONG, stream.read_to_end(&mut bytes)).await;
                let _ = ended.expect("nobody is left waiting");
                String::from_utf8(bytes).unwrap()
            })
        });
        for answer in over.collect::<Vec<_>>() {
            let answer = answer.await.unwrap();
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 503"),
                "{answer}"
            );
            told += usize::from(!answer.is_empty());
        }
        let stream = &mut inside[0];
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        read_until(stream, "hello").await;
    }
    assert!(told >= 64, "{told} were told");
    // Once one leaves there is room again.
    drop(inside);
    let start = Instant::now();
    loop {
        let mut stream = running.send(HELLO).await;
        if read_until(&mut stream, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200")
        {
            break;
        }
        assert!(start.elapsed() < LONG);
    }
}

#[tokio::test]
async fn a_stop_lets_answers_end_and_takes_no_more() {
    let mut running = Running::start(limits()).await;
    let idle = running.connect().await;
    let mut open = running.send(HELLO).await;
    read_until(&mut open, "hello").await;
    let mut ticks = running
        .send("GET /ticks HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    let first = read_until(&mut ticks, "tick ").await;
    running.stop.take().unwrap().send(()).unwrap();
    assert_eq!(
        rest(&mut open).await,
        "",
        "a connection without a request is closed"
    );
    let text = first + &rest(&mut ticks).await;
    assert_eq!(text.matches("tick ").count(), 10, "{text}");
    assert!(text.ends_with("0\r\n\r\n"), "the answer is whole");
    timeout(LONG, running.task).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn after_the_grace_nothing_is_left() {
    let limits = ServerLimits {
        grace: Duration::from_millis(100),
        ..limits()
    };
    let mut running = Running::start(limits).await;
    let _never = running
        .send("GET /never HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    let _endless = running
        .send("GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    running.until_streams(2).await;
    running.stop.take().unwrap().send(()).unwrap();
    timeout(LONG, &mut running.task)
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(running.streams.load(SeqCst), 0);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let running = Running::start(limits()).await;
    let error = Server::bind(running.address, limits()).await.err().unwrap();
    assert!(
        error.to_string().contains(&running.address.to_string()),
        "{error}"
    );
}
