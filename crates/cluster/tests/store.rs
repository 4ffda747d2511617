//! Images in a store that speaks S3: read from a real server, and from one that fails half the reads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster::store::S3;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use object_store::aws::AmazonS3Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use sample::pixels::{Fault, MAX_FILE, Store};

/// What is read again and again, in one answer and in many parts.
const SIZES: [usize; 3] = [1, 70_000, 3_000_000];

fn image(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 31 % 251) as u8).collect()
}

/// A server over a folder; every `failing`th read is answered with 503 where that is not 0.
fn serve(folder: &Path, failing: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    service.set_auth(SimpleAuth::from_single("key", "secret"));
    let service = service.build();
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (service, reads) = (service.clone(), counted.clone());
                let answering = hyper::service::service_fn(move |request| {
                    answer(service.clone(), reads.clone(), failing, request)
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answering);
                tokio::spawn(connection);
            }
        });
    });
    (told.recv().unwrap(), reads)
}

async fn answer(
    service: S3Service,
    reads: Arc<AtomicUsize>,
    failing: usize,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, s3s::HttpError> {
    if request.method() == Method::GET {
        let number = reads.fetch_add(1, Ordering::SeqCst);
        if failing > 0 && number.is_multiple_of(failing) {
            let mut no = Response::new(s3s::Body::empty());
            *no.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Ok(no);
        }
    }
    service.call(request.map(s3s::Body::from)).await
}

fn store(address: SocketAddr, secret: &str) -> S3 {
    S3::new(
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{address}"))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_access_key_id("key")
            .with_secret_access_key(secret),
    )
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("images/charts")).unwrap();
    for size in SIZES {
        let path = folder.path().join(format!("images/charts/{size} ä.png"));
        std::fs::write(path, image(size)).unwrap();
    }
    folder
}

#[test]
fn a_store_that_fails_half_the_reads_gives_the_same_bytes() {
    let folder = folder();
    for failing in [0, 2] {
        let (address, reads) = serve(folder.path(), failing);
        let store = Arc::new(store(address, "secret"));
        // From several threads at once, as an executor's tasks do.
        let readers: Vec<_> = SIZES
            .map(|size| {
                let store = store.clone();
                std::thread::spawn(move || store.read("images", &format!("charts/{size} ä.png")))
            })
            .into();
        for (reader, size) in readers.into_iter().zip(SIZES) {
            assert_eq!(
                reader.join().unwrap().unwrap(),
                image(size),
                "{failing} {size}"
            );
        }
        let asked = reads.load(Ordering::SeqCst);
        assert!(asked >= SIZES.len() + failing, "{asked} reads");
    }
}

#[test]
fn what_is_not_there_not_allowed_or_too_long_is_said_without_trying_for_long() {
    let folder = folder();
    let long = std::fs::File::create(folder.path().join("images/long.png")).unwrap();
    long.set_len(MAX_FILE + 1).unwrap();
    let (address, _) = serve(folder.path(), 0);
    let open = store(address, "secret");
    assert!(matches!(
        open.read("images", "charts/none.png"),
        Err(Fault::Missing)
    ));
    assert!(matches!(open.read("nowhere", "a"), Err(Fault::Missing)));
    let too_long = open.read("images", "long.png");
    assert!(matches!(too_long, Err(Fault::TooLong(size)) if size == MAX_FILE + 1));
    let stranger = store(address, "guessed");
    let refused = stranger.read("images", "charts/1 ä.png");
    assert!(matches!(refused, Err(Fault::Unreadable(_))), "{refused:?}");
    // Inside a runtime too, where blocking on another would be a panic.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let bytes = runtime.block_on(async { open.read("images", "charts/1 ä.png") });
    assert_eq!(bytes.unwrap(), image(1));
}

#[test]
fn every_reader_of_images_reads_from_the_store() {
    let folder = folder();
    let (address, _) = serve(folder.path(), 3);
    assert!(sample::pixels::set_store(Box::new(store(
        address, "secret"
    ))));
    let root = Path::new("s3://images");
    let bytes = sample::pixels::read_bytes(&root.join("charts/70000 ä.png")).unwrap();
    assert_eq!(bytes, image(70_000));
    // Not an image, and found out where images are.
    let opened = sample::pixels::open(&root.join("charts/70000 ä.png"));
    assert!(matches!(opened, Err(Fault::Broken(_))), "{opened:?}");
}
