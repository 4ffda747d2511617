//! Fetching from servers on the loopback, where 127.0.0.1 is called public and 127.0.0.2 private.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{FetchConfig, FetchError, Fetcher, World, is_redirect};
use crate::loopback::Loopback;

const PUBLIC: &str = "127.0.0.1";
const PRIVATE: &str = "127.0.0.2";

fn called_public(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::LOCALHOST)
}

fn fetcher_with(
    config: FetchConfig,
    lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
) -> Fetcher {
    let world = World {
        lookup: Arc::new(lookup),
        is_public: called_public,
        is_open: |_| true,
        https: false,
    };
    Fetcher::within(world, config).unwrap()
}

/// Names that end in `.in` are private, and `mixed.in` both; others are public, but `gone.example` is not there.
fn names(name: &str) -> io::Result<Vec<IpAddr>> {
    let (public, private) = (PUBLIC.parse().unwrap(), PRIVATE.parse().unwrap());
    match name {
        "gone.example" => Err(io::Error::other("no such name")),
        "empty.example" => Ok(Vec::new()),
        "mixed.in" => Ok(vec![public, private]),
        name if name.ends_with(".in") => Ok(vec![private]),
        _ => Ok(vec![public]),
    }
}

fn fetcher(config: FetchConfig) -> Fetcher {
    fetcher_with(config, names)
}

async fn say(stream: &mut TcpStream, text: impl AsRef<[u8]>) {
    let _ = stream.write_all(text.as_ref()).await;
}

/// A server that gives every request the same bytes, and then ends the connection.
async fn always(on: &str, whole: impl Into<Vec<u8>>) -> Loopback {
    let whole: Arc<[u8]> = whole.into().into();
    Loopback::start(on, move |_, mut stream| {
        let whole = whole.clone();
        async move { say(&mut stream, whole).await }
    })
    .await
}

fn moved(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nimage";

fn port(server: &Loopback) -> u16 {
    server.address.port()
}

#[tokio::test]
async fn an_image_comes_from_a_name_and_from_a_literal_without_telling_who_asks() {
    let server = always(PUBLIC, GOOD).await;
    let fetcher = fetcher(FetchConfig::default());
    for host in ["www.example", PUBLIC] {
        let url = format!("http://{host}:{}/a/b.png?x=1#there", port(&server));
        assert_eq!(fetcher.fetch(&url).await.unwrap(), "image");
        let asked = server.last();
        assert_eq!(
            (asked.path.as_str(), asked.query.as_str()),
            ("/a/b.png", "x=1")
        );
        let mut names: Vec<_> = asked
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "host", "user-agent"]);
    }
}

#[tokio::test]
async fn names_that_lead_inside_and_names_that_are_not_there_look_the_same() {
    let inside = always(PRIVATE, GOOD).await;
    let fetcher = fetcher(FetchConfig::default());
    let mut said = Vec::new();
    for host in [
        "secret.in",
        "mixed.in",
        "gone.example",
        "empty.example",
        PRIVATE,
        "[::1]",
    ] {
        let url = format!("http://{host}:{}/", port(&inside));
        said.push(fetcher.fetch(&url).await.unwrap_err());
    }
    said.dedup();
    assert!(
        matches!(said.as_slice(), [FetchError::Refused(_)]),
        "{said:?}"
    );
    assert_eq!(inside.count(), 0);
}

#[tokio::test]
async fn a_redirect_is_followed_to_the_public_and_nowhere_else() {
    let inside = always(PRIVATE, GOOD).await;
    let good = always(PUBLIC, GOOD).await;
    let outside = always(PUBLIC, moved(&format!("//other.example:{}/", port(&good)))).await;
    let fetcher = fetcher(FetchConfig::default());
    let url = format!("http://www.example:{}/", port(&outside));
    assert_eq!(fetcher.fetch(&url).await.unwrap(), "image");
    for to in [
        format!("http://{PRIVATE}:{}/", port(&inside)),
        format!("http://secret.in:{}/", port(&inside)),
        format!("http://mixed.in:{}/", port(&inside)),
        format!("http://user:word@www.example:{}/", port(&inside)),
        "file:///etc/passwd".to_owned(),
        "http://[::ffff:127.0.0.1]/".to_owned(),
        "http://0x7f.1/".to_owned(),
        "http://[".to_owned(),
    ] {
        let trap = always(PUBLIC, moved(&to)).await;
        let refused = fetcher
            .fetch(&format!("http://www.example:{}/", port(&trap)))
            .await;
        assert!(
            matches!(refused, Err(FetchError::Refused(_))),
            "{to}: {refused:?}"
        );
        assert_eq!(trap.count(), 1);
    }
    assert_eq!(inside.count(), 0);
}

#[tokio::test]
async fn redirects_end() {
    let round = always(PUBLIC, moved("/again")).await;
    for redirects in [0, 3] {
        let before = round.count();
        let config = FetchConfig {
            redirects,
            ..FetchConfig::default()
        };
        let failed = fetcher(config)
            .fetch(&format!("http://www.example:{}/", port(&round)))
            .await;
        assert!(matches!(failed, Err(FetchError::Failed(_))), "{failed:?}");
        assert_eq!(round.count() - before, redirects + 1);
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_a_connection_and_what_was_vetted_is_asked() {
    let inside = always(PRIVATE, GOOD).await;
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    // Public the first time, private ever after.
    let rebinding = move |_: &str| {
        let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(vec![if first { PUBLIC } else { PRIVATE }.parse().unwrap()])
    };
    let server = always(PUBLIC, moved("/b")).await;
    let fetcher = fetcher_with(FetchConfig::default(), rebinding);
    let fetched = fetcher
        .fetch(&format!("http://www.example:{}/", port(&server)))
        .await;
    // The first answer came from the vetted address; its redirect meets the second lookup and is refused.
    assert!(
        matches!(fetched, Err(FetchError::Refused(_))),
        "{fetched:?}"
    );
    assert_eq!(lookups.load(Ordering::Relaxed), 2);
    assert_eq!((server.count(), inside.count()), (1, 0));
}

#[tokio::test]
async fn an_allowed_host_is_asked_although_it_is_private() {
    let inside = always(PRIVATE, GOOD).await;
    let own = port(&inside);
    let config = FetchConfig {
        allow_hosts: vec![format!("secret.in:{own}"), format!("{PRIVATE}:{own}")],
        ..FetchConfig::default()
    };
    let fetcher = fetcher(config);
    for host in ["secret.in", "SECRET.IN", PRIVATE] {
        let url = format!("http://{host}:{own}/");
        assert_eq!(fetcher.fetch(&url).await.unwrap(), "image", "{host}");
    }
    let other = fetcher.fetch(&format!("http://other.in:{own}/")).await;
    assert!(matches!(other, Err(FetchError::Refused(_))));
    // A stranger's redirect reaches what is allowed, and from there nothing more.
    let trap = always(PUBLIC, moved(&format!("http://secret.in:{own}/"))).await;
    let url = format!("http://www.example:{}/", port(&trap));
    assert_eq!(fetcher.fetch(&url).await.unwrap(), "image");
    let config = FetchConfig {
        allow_hosts: vec!["no/host".to_owned()],
        ..FetchConfig::default()
    };
    assert!(Fetcher::new(config).is_err());
}

#[tokio::test]
async fn no_answer_is_read_beyond_its_limit() {
    let config = || FetchConfig {
        max_bytes: 5,
        ..FetchConfig::default()
    };
    let cases = [
        (GOOD.to_owned(), true),
        ("HTTP/1.1 200 OK\r\n\r\nimage".to_owned(), true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nimages".to_owned(), false),
        // A promise is enough.
        ("HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n".to_owned(), false),
        ("HTTP/1.1 200 OK\r\n\r\nimages".to_owned(), false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n".to_owned(), false),
    ];
    for (whole, fits) in cases {
        let server = always(PUBLIC, whole.as_str()).await;
        let fetched = fetcher(config())
            .fetch(&format!("http://a.example:{}/", port(&server)))
            .await;
        match fetched {
            Ok(bytes) => assert!(fits && bytes == "image", "{whole}"),
            Err(FetchError::TooLarge(5)) => assert!(!fits, "{whole}"),
            Err(other) => panic!("{whole}: {other}"),
        }
    }
    let endless = Loopback::start(PUBLIC, |_, mut stream| async move {
        say(&mut stream, "HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
    })
    .await;
    let config = FetchConfig {
        max_bytes: 1 << 20,
        ..FetchConfig::default()
    };
    let fetched = fetcher(config)
        .fetch(&format!("http://a.example:{}/", port(&endless)))
        .await;
    assert_eq!(fetched, Err(FetchError::TooLarge(1 << 20)));
}

#[tokio::test]
async fn a_server_that_fails_is_named_without_its_address() {
    let cases = [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nimage",
            "broke off",
        ),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "404"),
        ("HTTP/1.1 206 Partial\r\ncontent-length: 1\r\n\r\nx", "206"),
        ("HTTP/1.1 304 Same\r\nlocation: /\r\n\r\n", "304"),
        ("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", "302"),
        (
            "HTTP/1.1 302 Found\r\nlocation: \u{e9}\r\ncontent-length: 0\r\n\r\n",
            "none",
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n", "reached"),
        ("", "reached"),
    ];
    for (whole, word) in cases {
        let server = always(PUBLIC, whole).await;
        let failed = fetcher(FetchConfig::default())
            .fetch(&format!("http://a.example:{}/", port(&server)))
            .await;
        let Err(FetchError::Failed(detail)) = failed else {
            panic!("{whole}: {failed:?}");
        };
        assert!(
            detail.contains(word) && !detail.contains(PUBLIC),
            "{whole}: {detail}"
        );
    }
}

#[tokio::test]
async fn slow_servers_and_slow_names_cost_no_more_than_the_time() {
    let time = Duration::from_millis(100);
    let config = || FetchConfig {
        time,
        ..FetchConfig::default()
    };
    let drip = Loopback::start(PUBLIC, |_, mut stream| async move {
        say(&mut stream, "HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let silent = Loopback::start(PUBLIC, |_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    for server in [&drip, &silent] {
        let began = Instant::now();
        let failed = fetcher(config())
            .fetch(&format!("http://a.example:{}/", port(server)))
            .await;
        assert!(matches!(failed, Err(FetchError::Failed(_))), "{failed:?}");
        assert!(began.elapsed() >= time);
    }
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let stuck = move |_: &str| {
        let _ = held.lock().unwrap().recv();
        Ok(vec![PUBLIC.parse().unwrap()])
    };
    let fetcher = fetcher_with(config(), stuck);
    let failed = fetcher.fetch("http://a.example/").await;
    assert!(matches!(failed, Err(FetchError::Failed(_))), "{failed:?}");
    drop(release);
}

#[test]
fn only_answers_that_move_are_redirects() {
    let moves: Vec<u16> = (300..400)
        .filter(|code| is_redirect(reqwest::StatusCode::from_u16(*code).unwrap()))
        .collect();
    assert_eq!(moves, [301, 302, 303, 307, 308]);
}
