//! Redirects from an endpoint that is not on a private network. Every server here is, so the client
//! is told otherwise.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use super::*;

/// Answers every request with `reply`, and passes on its first line.
fn server(reply: impl Fn(u16) -> String + Send + 'static) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let _ = seen.send(String::from_utf8_lossy(&head[..read]).into_owned());
            let _ = stream.write_all(reply(port).as_bytes());
        }
    });
    (port, lines)
}

fn redirect(to: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

fn client(port: u16, private: bool) -> Client {
    let client = Client::new(&Settings {
        endpoint: format!("http://127.0.0.1:{port}"),
        token: Token::new("hf_secret"),
        cache: "unused".into(),
        patience: Patience::default(),
    })
    .unwrap();
    client.endpoint_is_private.set(private).unwrap();
    client
}

fn get(client: &Client) -> Result<Response<Body>, Fault> {
    let repository = Repository::new(RepoKind::Model, "a/b", "main").unwrap();
    let url = client.file(&repository, "c", "f").unwrap();
    client.get(&repository, &url, "f", None)
}

#[test]
fn a_redirect_from_outside_reaches_no_private_address_however_it_is_named() {
    let ok = |_| "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx".to_owned();
    let (target, heard) = server(ok);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let (port, _) = server(move |_| redirect(&format!("http://{host}:{target}/x")));
        let fault = get(&client(port, false)).err().unwrap();
        let Fault::Final(Error::Answer(said)) = fault else {
            panic!("{host}: {fault:?}");
        };
        assert!(said.contains("private network"), "{host}: {said}");
        assert!(heard.try_recv().is_err(), "{host} was asked");
    }
    // A mirror on a private network may send on within it, without the token.
    let (port, asked) = server(move |_| redirect(&format!("http://localhost:{target}/x")));
    assert_eq!(get(&client(port, true)).unwrap().status(), 200);
    assert!(asked.recv().unwrap().contains("Bearer hf_secret"));
    assert!(!heard.recv().unwrap().contains("hf_secret"));
}

#[test]
fn a_redirect_never_leaves_encryption() {
    let mut client = client(1, true);
    client.endpoint = Url::parse("https://hub.example").unwrap();
    let http = Url::parse("http://hub.example/x").unwrap();
    let said = client.allowed(&http).unwrap_err().to_string();
    assert!(said.contains("which is not https"), "{said}");
    assert!(
        client
            .allowed(&Url::parse("https://store.example/x").unwrap())
            .is_ok()
    );
    // Another port or scheme of the same host is another origin, and is not told the token.
    assert!(!client.is_endpoint(&http));
    assert!(!client.is_endpoint(&Url::parse("https://hub.example:8443/").unwrap()));
}

#[test]
fn addresses_of_files_are_built_of_whole_segments() {
    let client = client(1, true);
    let repository = Repository::new(RepoKind::Dataset, "a/b", "main").unwrap();
    let url = client.file(&repository, "c0", "d e/f#g?h%2e.json").unwrap();
    assert_eq!(
        url.as_str(),
        "http://127.0.0.1:1/datasets/a/b/resolve/c0/d%20e/f%23g%3Fh%252e.json"
    );
    assert_eq!(
        shown(&Url::parse("https://a.b/c?sig=1").unwrap()),
        "https://a.b/c"
    );
}

#[test]
fn waits_are_seconds_or_dates_by_the_servers_clock() {
    let wait = |pairs: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        retry_after(&headers).map(|wait| wait.as_secs())
    };
    let date = ("date", "Sun, 06 Nov 1994 08:49:30 GMT");
    let then = ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(wait(&[("retry-after", "17")]), Some(17));
    assert_eq!(wait(&[then, date]), Some(7));
    assert_eq!(wait(&[then]), None);
    assert_eq!(wait(&[("retry-after", "-1"), date]), None);
    assert_eq!(wait(&[]), None);
}
