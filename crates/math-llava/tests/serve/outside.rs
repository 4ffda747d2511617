//! Addresses that clients give: what the server may be made to speak to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::process::{MODEL, Server, picture};
use super::wire::Answer;

/// A server of images and of pointers elsewhere, which counts who comes.
struct Site {
    address: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl Site {
    /// Answers `/image` with a picture, and `/to/X` with a pointer to the X that `pointers` names.
    fn start(pointers: Vec<String>) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = visits.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                counted.fetch_add(1, Ordering::Relaxed);
                let mut head = [0; 4096];
                let length = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let number = path
                    .strip_prefix("/to/")
                    .and_then(|number| number.parse::<usize>().ok());
                let mut answer = match number.and_then(|number| pointers.get(number)) {
                    Some(to) => {
                        format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
                            .into_bytes()
                    }
                    None => format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                        picture().len()
                    )
                    .into_bytes(),
                };
                if number.is_none() {
                    answer.extend(picture());
                }
                let _ = stream.write_all(&answer);
            }
        });
        Site { address, visits }
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }
}

fn shown(server: &Server, url: &str) -> Answer {
    let content =
        json!([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}]);
    server.post(
        "/v1/chat/completions",
        &json!({"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": content}]}),
    )
}

#[test]
fn no_address_leads_the_server_inside() {
    let inside = Site::start(Vec::new());
    let port = inside.address.port();
    let traps = vec![
        format!("http://127.0.0.1:{port}/image"),
        format!("http://localhost:{port}/image"),
        "http://localhost/image".to_owned(),
        "http://[::1]/image".to_owned(),
        "http://[::ffff:127.0.0.1]/image".to_owned(),
        "http://0x7f.1/image".to_owned(),
        "http://2130706433/image".to_owned(),
        "http://0/image".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1:6379/_INFO".to_owned(),
    ];
    let outside = Site::start(traps.clone());
    let allowed = format!("127.0.0.1:{}", outside.address.port());
    let server = Server::start(&["--allow-remote-images", "--allow-image-host", &allowed]);
    let image = format!("http://{allowed}/image");
    let answer = shown(&server, &image);
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.undisturbed(|| {
        for (number, trap) in traps.iter().enumerate() {
            // Straight, and by a server that may be asked.
            for url in [trap.clone(), format!("http://{allowed}/to/{number}")] {
                let answer = shown(&server, &url);
                assert_eq!(answer.status, 400, "{url} to {trap}: {}", answer.text());
                let message = answer.json()["error"]["message"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                assert!(
                    !message.contains("root:") && !message.contains("refused"),
                    "{message}"
                );
            }
        }
    });
    assert_eq!(inside.visits(), 0);
    assert_eq!(outside.visits(), 1 + traps.len());
}

#[test]
fn without_leave_no_address_is_asked_at_all() {
    let site = Site::start(Vec::new());
    let server = Server::start(&[]);
    let answer = shown(&server, &format!("http://{}/image", site.address));
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("--allow-remote-images"),
        "{}",
        answer.text()
    );
    assert_eq!(site.visits(), 0);
}
